"""A table about the images that lies beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from autokd.config import MetadataConfig
from autokd.data.join import Join, join_rows
from autokd.data.stored_set import StoredSet
from autokd.errors import DataError
from autokd.fairness.groups import MANY_NUMBERS
from autokd.fairness.table_file import SUFFIXES, Table, read_tables, taken

NEARLY_ALL = 0.95  # of the rows of a table that is about these images name one
_CLUSTER = re.compile(r"patient|subject|person|writer|speaker|participant", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """How it would be joined, and which of its columns an audit can go by."""

    path: Path
    key: str
    join: str  # how many images have a row, with an example
    groups: tuple[str, ...]
    bands: dict[str, tuple[float, ...]]  # of groups that are numbers
    cluster: str | None
    others: tuple[str, ...] = ()  # tables beside it that name images too

    @property
    def config(self) -> MetadataConfig:
        return MetadataConfig(
            path=self.path,
            key=self.key,
            groups=self.groups,
            bands=self.bands,
            cluster=self.cluster,
        )


def find_table(root: Path, stored: StoredSet) -> FoundTable | None:
    """Of tables in the folder, or beside it, whose rows nearly all name an image: the one that tells of most images."""
    if stored.files is None:
        return None
    matches = [
        (path, *match)
        for path in [*_files_in(root), *_files_in(root.parent)]
        if path.name.lower().endswith(SUFFIXES) and path.is_file()
        for match in _joins(path, stored)
    ]
    if not matches:
        return None
    path, table, key, join = max(matches, key=lambda match: match[3].matched)  # the first of equals
    found = _describe(path, table, key, join, stored)
    others = {m[0].name: m[3].matched for m in reversed(matches) if m[0] != path}
    return replace(found, others=tuple(f"{name} ({n} images)" for name, n in others.items()))


def _files_in(folder: Path) -> list[Path]:
    """By name; none where the folder may not be listed, as that of a set that others keep."""
    try:
        return sorted(folder.iterdir())
    except PermissionError:
        return []


def _joins(path: Path, stored: StoredSet) -> Iterator[tuple[Table, str, Join]]:
    """Each column that names the images' files."""
    assert stored.files is not None
    names = {name for f in stored.files for name in (f, Path(f).name, Path(f).stem)}
    try:
        table = read_tables([path])
    except DataError:  # something else that lies there
        return
    for key in table.columns:
        keys = table.text(key).tolist()
        if len(set(keys)) < len(keys) or sum(k in names for k in keys) < NEARLY_ALL * len(keys):
            continue
        try:
            join = join_rows(
                keys,
                key=key,
                files=stored.files,
                count=len(stored.labels),
                where=str(path),
                name=stored.name,
            )
        except DataError:  # a column that can be read two ways is for a person to decide
            continue
        yield table, key, join


def _describe(path: Path, table: Table, key: str, join: Join, stored: StoredSet) -> FoundTable:
    labels = pd.Series(stored.labels)
    groups: list[str] = []
    bands: dict[str, tuple[float, ...]] = {}
    cluster = None
    for name in (column for column in table.columns if column != key):
        values = pd.Series(taken(table.text(name), join.rows))
        numbers, distinct = pd.to_numeric(values, errors="coerce"), values.nunique()
        if _CLUSTER.search(name) and distinct < values.notna().sum():
            cluster = cluster or name
        elif distinct > MANY_NUMBERS and numbers.notna().sum() == values.notna().sum():
            groups.append(name)
            bands[name] = _quarters(numbers)
        elif 1 < distinct <= MANY_NUMBERS and not _is_label(values, labels):
            groups.append(name)
    return FoundTable(
        path=path,
        key=key,
        join=join.describe(),
        groups=tuple(groups),
        bands=bands,
        cluster=cluster,
    )


def _quarters(numbers: pd.Series[float]) -> tuple[float, ...]:
    """Below these are a quarter, half and three quarters of the numbers; whole where numbers are large."""
    edges = numbers.quantile([0.25, 0.5, 0.75]).round(0 if numbers.max() > MANY_NUMBERS else 2)
    return tuple(dict.fromkeys(edges.tolist()))


def _is_label(values: pd.Series[str], labels: pd.Series[int]) -> bool:
    """Whether it says no more than the class."""
    pairs = pd.DataFrame({"value": values, "label": labels}).drop_duplicates()
    return len(pairs) == pairs["label"].nunique()
