"""A table about the images that lies beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from autokd.config import MetadataConfig
from autokd.data.metadata import read_metadata, table_columns
from autokd.data.stored_set import StoredSet
from autokd.errors import AutoKDError
from autokd.fairness.groups import MANY_NUMBERS

NEARLY_ALL = 0.95  # of the images have a row in a table that is about them
_CLUSTER = re.compile(r"patient|subject|person|writer|speaker|participant", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """How it would be joined, and which of its columns an audit can go by."""

    path: Path
    key: str
    images: int  # that have a row
    groups: tuple[str, ...]
    bands: dict[str, tuple[float, ...]]  # of groups that are numbers
    cluster: str | None

    @property
    def config(self) -> MetadataConfig:
        return MetadataConfig(path=self.path, key=self.key)


def find_table(root: Path, stored: StoredSet) -> FoundTable | None:
    """The first CSV file in the folder, or beside it, of which nearly every row names an image."""
    if stored.files is None:
        return None
    names = {name for file in stored.files for name in (Path(file).as_posix(), Path(file).name)}
    for path in [*sorted(root.glob("*.csv")), *sorted(root.parent.glob("*.csv"))]:
        for key in _keys(path, names):
            try:
                columns, join = read_metadata(MetadataConfig(path=path, key=key), stored)
            except AutoKDError:  # not the table that it looked like
                continue
            assert columns is not None
            assert join is not None
            return _describe(path, key, columns.drop(columns=key), join["matched"], stored)
    return None


def _keys(path: Path, names: set[str]) -> Iterator[str]:
    """Columns that hold nearly all the files' names."""
    try:
        columns = table_columns(path)
        table = pd.read_csv(path, usecols=columns, dtype=str)
    except (AutoKDError, ValueError, OSError):
        return
    for name in columns:
        if len(table) and table[name].isin(names).mean() >= NEARLY_ALL:
            yield name


def _describe(
    path: Path, key: str, columns: pd.DataFrame, matched: int, stored: StoredSet
) -> FoundTable:
    labels = pd.Series(stored.labels)
    groups, bands, cluster = [], {}, None
    for name in map(str, columns):
        values, distinct = columns[name], columns[name].nunique()
        if _CLUSTER.search(name) and distinct < values.notna().sum():
            cluster = cluster or name
        elif pd.api.types.is_numeric_dtype(values) and distinct > MANY_NUMBERS:
            groups.append(name)
            bands[name] = _quarters(values)
        elif 1 < distinct <= MANY_NUMBERS and not _is_label(values, labels):
            groups.append(name)
    return FoundTable(
        path=path, key=key, images=matched, groups=tuple(groups), bands=bands, cluster=cluster
    )


def _quarters(values: pd.Series[float]) -> tuple[float, ...]:
    """Where a quarter, half and three quarters of the numbers lie below, as whole numbers where they are whole."""
    edges = values.quantile([0.25, 0.5, 0.75]).round(0 if values.max() > 10 else 2)
    return tuple(dict.fromkeys(edges.tolist()))


def _is_label(values: pd.Series[str], labels: pd.Series[int]) -> bool:
    """Whether it says no more than the class."""
    pairs = pd.DataFrame({"value": values, "label": labels}).drop_duplicates()
    return len(pairs) == pairs["label"].nunique()
