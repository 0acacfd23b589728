"""What is known about each image: a table read from CSV and joined, or columns that the set brings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autokd.config import MetadataConfig
from autokd.data.stored_set import StoredSet
from autokd.errors import ConfigError, DataError, nearest_name
from autokd.fairness.groups import MANY_NUMBERS, band

log = logging.getLogger(__name__)


def read_metadata(
    config: MetadataConfig | None, stored: StoredSet
) -> tuple[pd.DataFrame | None, dict[str, int] | None]:
    """One row an image in the set's order, and how many found each other where a table was joined.

    Columns are those that the source brings and those of the CSV at `config.path`; an image without
    a row has NaN in the latter. Group columns of numbers hold their bands' names instead where
    `config.bands` cuts them. Raises DataError when nothing joins or a named column is not there.
    """
    columns, join = stored.columns, None
    if config is None:
        return columns, None
    if config.path is not None:
        joined, join = _join(config.path, config.key, stored)
        if columns is not None and (double := set(columns) & set(joined)):
            raise DataError(
                f"{config.path}: column '{min(map(str, double))}' is also in the set itself"
            )
        columns = joined if columns is None else pd.concat([columns, joined], axis=1)
    if columns is None:
        raise ConfigError(
            f"data.metadata.path is missing: the set '{stored.name}' brings no columns of its own"
        )
    for name in [*config.groups, *([config.cluster] if config.cluster else [])]:
        _find_column(name, columns, config.path or stored.name)
    if join and join["matched"] < max(join["images"], join["metadata"]):
        log.warning(
            "%s: %d of %d images have a row; %d have none, and %d rows name no image",
            config.path,
            *(join[name] for name in ("matched", "images", "without_metadata", "metadata_unused")),
        )
    return _with_bands(config, columns), join


def table_columns(path: Path) -> list[str]:
    """Names of a table's columns."""
    return [str(column) for column in _read_csv(path)]


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


def _with_bands(config: MetadataConfig, columns: pd.DataFrame) -> pd.DataFrame:
    banded = {}
    for name in config.groups:
        column = columns[name]
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if name not in config.bands and numeric and column.nunique() > MANY_NUMBERS:
            raise ConfigError(
                f"data.metadata.groups: column '{name}' has {column.nunique()} different numbers; "
                f"cut it into bands with data.metadata.bands, as in {name}: [18, 40, 65]"
            )
        if name in config.bands and not numeric:
            raise ConfigError(
                f"data.metadata.bands.{name}: the column holds {column.dropna().iloc[:1].tolist()} and no "
                "numbers; leave it out of bands, or correct the table"
            )
        if name in config.bands:
            named = band(column, config.bands[name])
            banded[name] = pd.Series(named, index=columns.index, dtype=object)
    return columns.assign(**banded)


def _join(path: Path, key: str, stored: StoredSet) -> tuple[pd.DataFrame, dict[str, int]]:
    table = _read_csv(path)
    _find_column(key, table, path)
    if table[key].isna().any():
        raise DataError(f"{path}: column '{key}' is empty in {int(table[key].isna().sum())} rows")
    if (double := table[key].duplicated()).any():
        raise DataError(f"{path}: '{key}' names an image twice: {table[key][double].iloc[0]}")
    count = len(stored.labels)
    if pd.api.types.is_integer_dtype(table[key]):
        names = pd.Index(range(count))
    elif stored.files is not None:
        names = _file_names(stored.files, table[key], path)
    else:
        raise DataError(
            f"{path}: column '{key}' must hold whole numbers, the images' row numbers 0..{count - 1}"
            f" in '{stored.name}'; only sets that are files can be joined by file name"
        )
    joined = table.set_index(key, drop=False).reindex(names).reset_index(drop=True)
    found = int(names.isin(table[key]).sum())
    if not found:
        raise DataError(
            f"{path}: no row of column '{key}' names an image of '{stored.name}'; it has "
            f"'{table[key].iloc[0]}' where '{names[0]}' is due"
        )
    return joined, {
        "images": count,
        "metadata": len(table),
        "matched": found,
        "without_metadata": count - found,
        "metadata_unused": len(table) - found,
    }


def _file_names(files: tuple[str, ...], keys: pd.Series[str], path: Path) -> pd.Index:
    """The files' names as the table spells them: relative to the root, or the last part alone."""
    names = pd.Index([Path(name).as_posix() for name in files])
    if names.isin(keys).any():
        return names
    last = pd.Index([Path(name).name for name in files])
    if last.isin(keys).any() and not last.is_unique:
        double = last[last.duplicated()][0]
        raise DataError(
            f"{path}: '{double}' is the name of more than one image; "
            f"give names relative to the root, as in {names[0]}"
        )
    return last if last.isin(keys).any() else names


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path}: is not a CSV table: {' '.join(str(error).split())}") from None
    if not len(table):
        raise DataError(f"{path}: has no rows")
    return table


def _find_column(name: str, table: pd.DataFrame, where: Path | str) -> None:
    if name not in table:
        known = [str(column) for column in table]
        raise DataError(
            f"{where}: has no column '{name}'; it has {', '.join(known)}. "
            f"Correct data.metadata.{nearest_name(name, known)}"
        )
