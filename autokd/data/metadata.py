"""What is known about each image: a table joined to the images, or columns that the set brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autokd.config import MetadataConfig
from autokd.data.join import Join, join_rows
from autokd.data.stored_set import StoredSet
from autokd.errors import ConfigError, DataError
from autokd.fairness.group_columns import take_groups
from autokd.fairness.table_file import Table, Texts, read_tables, taken


def read_metadata(
    config: MetadataConfig | None, stored: StoredSet
) -> tuple[pd.DataFrame | None, Join | None]:
    """Groups and cluster, one row an image in the set's order, and who found whom where a table was joined.

    All is text, as `autokd audit` reads it; None where nothing is known. Group columns that `config.bands` cuts hold
    their bands' names. Columns are those that the source brings and those of the table at `config.path`. Raises
    DataError when nothing joins or a named column is not there.
    """
    rows, join = np.arange(len(stored.labels)), None
    own = None if stored.columns is None else Table(stored.name, stored.columns, ())
    if config is None:
        return (None if own is None else pd.DataFrame(index=range(len(rows)))), None
    if config.path is not None:
        people = read_tables([config.path])
        join = _join(people, config.key, stored)
        if own and (double := set(own.columns) & set(people.columns)):
            raise DataError(f"{people.name}: column '{min(double)}' is also in the set itself")
    elif own is None:
        raise ConfigError(
            f"data.metadata.path is missing: the set '{stored.name}' brings no columns of its own"
        )
    else:
        people = own
    columns: dict[str, Texts] = {}
    for name in (*config.groups, *((config.cluster,) if config.cluster else ())):
        brought = own is not None and name in own.columns
        table = own if own is not None and brought else people
        at = join.rows if join and not brought else rows
        if name in config.groups:
            columns |= take_groups(table, at, [name], config.bands)
        else:
            table.require(name, "data.metadata.cluster")
            columns[name] = taken(table.text(name), at)
    return pd.DataFrame(columns, dtype=object, index=range(len(rows))), join


def table_columns(path: Path) -> list[str]:
    """Names of a table's columns."""
    return read_tables([path]).columns


def number_clusters(columns: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """A number for each distinct value (N,); an image without one is a cluster of its own."""
    numbers, values = pd.factorize(columns[name])
    unknown = numbers < 0
    numbers[unknown] = len(values) + np.arange(int(unknown.sum()))
    return numbers.astype(np.int64)


def number_groups(columns: pd.DataFrame, names: Sequence[str]) -> NDArray[np.int64]:
    """A number for each combination of values (N,); not to know a value is a value of its own."""
    each = [pd.factorize(columns[name], use_na_sentinel=False)[0] for name in names]
    _, numbers = np.unique(np.stack(each, axis=1), axis=0, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def _join(people: Table, key: str, stored: StoredSet) -> Join:
    people.require(key, "data.metadata.key")
    keys = people.text(key)
    if empty := int((keys == None).sum()):  # noqa: E711 - of an array
        raise DataError(f"{people.name}: column '{key}' is empty in {empty} rows")
    if (double := pd.Series(keys).duplicated()).any():
        raise DataError(f"{people.name}: '{key}' names an image twice: {keys[double][0]}")
    return join_rows(
        keys.tolist(),
        key=key,
        files=stored.files,
        count=len(stored.labels),
        where=people.name,
        name=stored.name,
    )
