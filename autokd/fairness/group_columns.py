"""Columns of a metadata file as groups: numbers in bands, names as they are, and what makes no groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autokd.errors import DataError
from autokd.fairness.groups import MANY_NUMBERS, band
from autokd.fairness.table_file import Table, Texts, taken


def take_groups(
    people: Table,
    rows: NDArray[np.int64],
    names: Sequence[str],
    bands: Mapping[str, Sequence[float]],
    *,
    is_chosen: bool = True,
) -> dict[str, Texts]:
    """Column -> the values of these rows of the table, None where nothing is known. Columns that nobody chose may not be
    names of rows."""
    columns = {}
    for name in dict.fromkeys(names):
        people.require(name, "a group")
        texts = taken(people.text(name), rows)
        if name in bands:
            texts = _banded(texts, bands[name], f"{people.name}: column '{name}'")
        else:
            _refuse_numbers(texts, name, people.name)
            if not is_chosen:
                _refuse_names(texts, name, people.name)
        columns[name] = texts
    return columns


def _banded(texts: Texts, cuts: Sequence[float], where: str) -> Texts:
    """Which band each number is in."""
    try:
        return np.array(band([_number(text) for text in texts], cuts), dtype=object)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _number(text: str | None) -> float | None:
    try:
        number = None if text is None else float(text)
    except ValueError:
        number = np.nan
    if number is not None and not np.isfinite(number):
        raise DataError(f"bands need numbers, got '{text}'; leave such cells empty")
    return number


def _refuse_numbers(texts: Texts, name: str, where: str) -> None:
    """Ages are no groups."""
    values = _different(texts)
    if len(values) <= MANY_NUMBERS:
        return
    if pd.to_numeric(pd.Series(values), errors="coerce").notna().all():
        raise DataError(
            f"{where}: column '{name}' has {len(values)} different numbers; cut it into bands (--bands "
            f"{name}=18,40,65, or data.metadata.bands: {{{name}: [18, 40, 65]}}), or name other groups"
        )


def _refuse_names(texts: Texts, name: str, where: str) -> None:
    """File names are no groups."""
    values = _different(texts)
    if len(values) > max(MANY_NUMBERS, len(texts) / 2):
        raise DataError(
            f"{where}: column '{name}' has {len(values)} values in {len(texts)} rows and makes no "
            "groups; name those that do with --groups, or this one as --cluster"
        )


def _different(texts: Texts) -> NDArray[np.object_]:
    values: NDArray[np.object_] = pd.unique(texts[texts != None])  # noqa: E711 - of an array
    return values
