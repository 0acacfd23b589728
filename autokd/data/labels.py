"""Labels as sources give them, made into class numbers: whole numbers or texts, and -1 or nothing where one is hidden."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autokd.data.stored_set import SPLITS, StoredSet
from autokd.errors import DataError
from autokd.records import UNLABELLED


def number_labels(
    values: Sequence[Any] | NDArray[np.generic], where: str, *, classes: Collection[str] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """An index into the names of classes for each value (N,), or UNLABELLED; and those names in order.

    Numbers stand in the order of their values, texts as Python sorts them. Hidden are None, NaN, a
    text without a character, and -1 beside 0 unless the user's `classes` have a class of that name.
    Raises DataError that begins with `where`.
    """
    # NaN alone is not equal to itself
    known = np.array([value is not None and value == value for value in values], dtype=bool)
    given = _plain(np.array([v for v, there in zip(values, known, strict=True) if there]), where)
    distinct, places = np.unique(given, return_inverse=True)
    listed = distinct.tolist()
    sentinel = UNLABELLED in listed and 0 in listed and str(UNLABELLED) not in classes
    kept = np.array([_is_class(value, sentinel) for value in listed], dtype=bool)
    names = tuple(str(value) for value in distinct[kept].tolist())
    _refuse_twins(names, where)
    number = np.full(len(listed), UNLABELLED, dtype=np.int64)
    number[kept] = np.arange(len(names))
    labels = np.full(len(known), UNLABELLED, dtype=np.int64)
    labels[known] = number[places]
    return labels, names


def describe_hidden(stored: StoredSet) -> Iterator[str]:
    """A line for each split with images that have no label. Raises DataError where train has none left."""
    splits = stored.own_split
    for split in SPLITS if splits is not None else ("train",):
        here = stored.labels if splits is None else stored.labels[splits == split]
        hidden = int((here == UNLABELLED).sum())
        if not hidden:
            continue
        of = f"{hidden:,} of {len(here):,} images{'' if splits is None else f' of {split}'}"
        lacking = f"{stored.name}: {of} have no label (-1, or nothing)"
        if hidden == len(here) and split == "train":
            raise DataError(f"{lacking}; there is nothing to train on")
        instead = f"; {split} is cut from train" if hidden == len(here) else ""
        yield f"{lacking} and are left out{instead}"


def _plain(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Whole numbers or texts."""
    kind = values.dtype.kind
    if kind == "S":
        try:
            return np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where} must be UTF-8 text: {error}") from None
    if kind == "f":
        if len(broken := values[np.isinf(values) | (np.floor(values) != values)]):
            raise DataError(f"{where} must be whole numbers or texts, not such as {broken[0]:g}")
        return values.astype(np.int64)
    if kind not in "iuUb":
        raise DataError(f"{where} must be whole numbers or texts, got {values.dtype}")
    return values


def _is_class(value: object, sentinel: bool) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return not (sentinel and value == UNLABELLED)


def _refuse_twins(names: Sequence[str], where: str) -> None:
    """'cat' and 'cat ' look like one class, and would be two."""
    first: dict[str, str] = {}
    for name in names:
        if (other := first.setdefault(name.strip(), name)) != name:
            raise DataError(f"{where} have '{other}' and '{name}', which differ in spaces alone")
