"""Who belongs to which group: columns of any type become attributes with named groups. Reads no files."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autokd.errors import DataError

EVERYONE = "all images"  # the group of all rows
MISSING = "(missing)"  # the group of rows that have no value
CLASS = "class"  # the attribute's name where classes are the groups
MANY_NUMBERS = 20  # different numbers of a column, above which it has to be banded
MOST_ATTRIBUTES = 100  # columns and crossings of one audit: each takes a fifth of a second
MANY_NAMES = 500  # different names, above which a column is an id and makes no groups

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One way to part the rows. An intersection of two is named ``sexxsite``, its groups ``F|C``."""

    name: str
    parts: tuple[str, ...]  # the attributes that it crosses; itself alone: no intersection
    groups: tuple[str, ...]  # sorted, none of them empty
    codes: Codes  # (N,): which group each row is in
    missing: int  # rows without a value in any of its parts

    @property
    def is_class(self) -> bool:
        return self.parts == (CLASS,)


def one_a_row(values: Any, where: str) -> NDArray[np.object_]:
    """(N,) of single values."""
    array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        raise DataError(f"{where}: must hold one value a row, got an array of shape {array.shape}")
    if (
        row := next((v for v in array if isinstance(v, (list, set, dict, np.ndarray))), None)
    ) is not None:
        raise DataError(f"{where}: must hold one value a row, got {row}")
    return array


def everyone(rows: int) -> Attribute:
    """All rows as one group: figures over all are those of this group."""
    codes = np.zeros(rows, dtype=np.int64)
    return Attribute(name=EVERYONE, parts=(EVERYONE,), groups=(EVERYONE,), codes=codes, missing=0)


def class_attribute(labels: Codes, class_names: Sequence[str]) -> Attribute:
    """Classes as groups, for data that say nothing else of their rows."""
    present, codes = np.unique(labels, return_inverse=True)
    names = tuple(class_names[label] for label in present)
    return Attribute(name=CLASS, parts=(CLASS,), groups=names, codes=codes, missing=0)


def read_attributes(columns: Any, rows: int, *, intersections: int) -> tuple[Attribute, ...]:
    """Every column of a mapping or DataFrame, then their crossings up to so many columns at once, or as many as can be
    afforded.

    A plain sequence is one column, named ``group``.
    """
    if not isinstance(columns, (Mapping, pd.DataFrame)):
        columns = {"group": columns}
    names = list(columns)  # of a DataFrame too, whose length is its rows
    if len(names) > MOST_ATTRIBUTES:
        raise DataError(
            f"groups: {len(names)} columns, of which an audit compares {MOST_ATTRIBUTES} at most; name those that make "
            "groups (--groups, or data.metadata.groups)"
        )
    singles = []
    for name in names:
        texts = _texts(columns[name], str(name))
        if len(texts) != rows:
            raise DataError(f"groups: column '{name}' has {len(texts)} values for {rows} rows")
        singles.append(_attribute(str(name), texts))
    crossed = [
        _cross(parts)
        for size in range(2, affordable(len(singles), intersections) + 1)
        for parts in itertools.combinations(singles, size)
    ]
    attributes = (*singles, *crossed)
    called = [attribute.name for attribute in attributes]
    if double := next((name for name in called if called.count(name) > 1), None):
        raise DataError(
            f"groups: two attributes would be called '{double}', as crossings are named after their columns "
            "(sex, site: sexxsite); rename a column"
        )
    return attributes


def affordable(columns: int, intersections: int) -> int:
    """Columns that are crossed at most, `intersections` or so many that all attributes stay within MOST_ATTRIBUTES."""
    total = 0
    for size in range(1, intersections + 1):
        total += math.comb(columns, size)
        if total > MOST_ATTRIBUTES:
            return max(1, size - 1)
    return intersections


def cluster_codes(values: Any, rows: int) -> Codes | None:
    """(N,) of 0..K-1; None where every row is its own cluster, which is no clustering."""
    if len(values) != rows:
        raise DataError(f"cluster: {len(values)} values for {rows} rows")
    column = pd.Series(one_a_row(values, "cluster"))
    if column.isna().any():
        raise DataError(
            f"cluster: {int(column.isna().sum())} of {rows} rows have no value; "
            "give each of them a cluster of its own, or leave the rows out"
        )
    codes, names = pd.factorize(column.astype(str))
    return None if len(names) == rows else codes.astype(np.int64)


def band(values: Iterable[Any], edges: Sequence[float]) -> list[str | None]:
    """``18 to under 40`` for each number, None for a missing one; an edge belongs to the band above it."""
    cuts = list(edges)
    if not cuts or not all(low < high for low, high in itertools.pairwise(cuts)):
        raise DataError(f"bands: the edges must rise, got {', '.join(map(str, cuts))}")
    shown = [f"{cut:g}" for cut in cuts]
    between = [f"{low} to under {high}" for low, high in itertools.pairwise(shown)]
    names = [f"under {shown[0]}", *between, f"{shown[-1]} and over"]
    numbers = pd.to_numeric(pd.Series(list(values), dtype=object)).to_numpy(dtype=np.float64)
    places = np.searchsorted(cuts, numbers, side="right")
    return [
        None if np.isnan(number) else names[place]
        for number, place in zip(numbers, places, strict=True)
    ]


def _texts(values: Any, name: str) -> pd.Series[str]:
    column = pd.Series(one_a_row(values, f"groups: column '{name}'"))
    texts = column.map(_text).astype(object)
    known = column[texts != MISSING].infer_objects()
    different = known.nunique()
    if different > MANY_NUMBERS and pd.api.types.is_numeric_dtype(known):
        raise DataError(
            f"groups: column '{name}' has {different} different numbers; cut it into bands "
            f"(--bands {name}=18,40,65, or data.metadata.bands), or turn the numbers into names"
        )
    if different > MANY_NAMES:
        raise DataError(
            f"groups: column '{name}' has {different} different values and makes no groups; "
            "is it the cluster?"
        )
    return texts


def _text(value: Hashable) -> str:
    if value is None or value is pd.NaT or value is pd.NA or value == "" or value != value:
        return MISSING
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers beside a missing one came as floats
    return str(value)


def _attribute(name: str, texts: pd.Series[str]) -> Attribute:
    groups, codes = np.unique(texts.to_numpy(dtype=str), return_inverse=True)
    names = tuple(str(group) for group in groups)
    missing = int((texts == MISSING).sum())
    return Attribute(name=name, parts=(name,), groups=names, codes=codes, missing=missing)


def _cross(parts: Sequence[Attribute]) -> Attribute:
    shape = [len(part.groups) for part in parts]
    cells, codes = np.unique(
        np.ravel_multi_index([part.codes for part in parts], shape), return_inverse=True
    )
    places = np.stack(np.unravel_index(cells, shape), axis=1)
    names = tuple(
        "|".join(part.groups[place] for part, place in zip(parts, cell, strict=True))
        for cell in places
    )
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"groups: two groups of {' x '.join(part.name for part in parts)} would be called '{double}'; "
            "write another sign than | in the values"
        )
    is_missing = np.array([MISSING in name.split("|") for name in names])
    return Attribute(
        name="x".join(part.name for part in parts),
        parts=tuple(part.name for part in parts),
        groups=names,
        codes=codes,
        missing=int(is_missing[codes].sum()),
    )


def group_names(columns: Mapping[str, Attribute], row: int) -> dict[str, str]:
    """What one row is in every attribute."""
    return {name: attribute.groups[attribute.codes[row]] for name, attribute in columns.items()}
