"""Which row of a table is about which image: by the image's path, or by its row number. Reads no files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autokd.errors import DataError

Ints = NDArray[np.int64]
Parts = tuple[str, ...]  # of a path

_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_WHOLE = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Join:
    """Images and rows that found each other."""

    rows: Ints  # (N,): the table's row of each image, -1 where it has none
    table: int  # rows of the table
    example: str  # "cat/7.png ← id 7"; of an image that has a row

    @property
    def matched(self) -> int:
        return int((self.rows >= 0).sum())

    @property
    def is_complete(self) -> bool:
        return self.matched == len(self.rows) == self.table

    def to_dict(self) -> dict[str, int | str]:
        """What audits tell of it."""
        return {
            "images": len(self.rows),
            "metadata": self.table,
            "matched": self.matched,
            "without_metadata": len(self.rows) - self.matched,
            "metadata_unused": self.table - self.matched,
            "example": self.example,
        }

    def describe(self) -> str:
        """``34 of 36 images have a row (cat/7.png ← id 7); 2 have none; 1 row names no image``."""
        without, unused = len(self.rows) - self.matched, self.table - self.matched
        told = [f"{self.matched} of {len(self.rows)} images have a row ({self.example})"]
        if without:
            told.append(f"{without} {'has' if without == 1 else 'have'} none")
        if unused:
            told.append(f"{unused} {'row names' if unused == 1 else 'rows name'} no image")
        return "; ".join(told)


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """One way to read the column."""

    rows: Ints
    table: int
    double: str | None = None  # why it can't be meant: what names two images, or is named twice

    @property
    def matched(self) -> int:
        return int((self.rows >= 0).sum())

    @property
    def complete(self) -> int:
        """2: every image has a row, and every row an image; 1: one of both."""
        return (self.matched == len(self.rows)) + (self.matched == self.table)


def join_rows(
    keys: Sequence[str], *, key: str, files: Sequence[str] | None, count: int, where: str, name: str
) -> Join:
    """Rows of `count` images. `keys` is the table's column `key`; `files` are relative to the set's root.

    A column that can be read as paths and as row numbers is taken for what joins more completely. Raises DataError for
    one that could still be both, that names an image twice or no image at all.
    """
    by_number = _as_numbers(keys, count)
    by_path = _as_paths(keys, files or ())
    found = [each for each in (by_path, by_number) if each.matched]
    if not found:
        raise DataError(_nothing(keys, key, files, count, where, name))
    chosen = max(found, key=lambda each: each.complete)
    is_open = len(found) == 2 and by_path.complete == by_number.complete
    if files and is_open and not np.array_equal(by_path.rows, by_number.rows):
        raise DataError(_two_ways(keys, key, files, by_path, by_number, where))
    if chosen.double:
        raise DataError(f"{where}: {chosen.double}")
    image = int((chosen.rows >= 0).argmax())
    shown = files[image] if files is not None else f"image {image}"
    if chosen is by_number and files is not None:
        shown = f"image {image} ({shown})"
    return Join(
        rows=chosen.rows, table=len(keys), example=f"{shown} ← {key} {keys[chosen.rows[image]]}"
    )


def _as_numbers(keys: Sequence[str], count: int) -> _Reading:
    rows, double = np.full(count, -1), None
    if not all(_WHOLE.fullmatch(each) for each in keys):
        return _Reading(rows, len(keys))
    for row, number in enumerate(map(int, keys)):
        if 0 <= number < count:
            if rows[number] >= 0:
                double = f"'{keys[rows[number]]}' and '{keys[row]}' name image {number} twice"
            rows[number] = row
    return _Reading(rows, len(keys), double)


def _as_paths(keys: Sequence[str], files: Sequence[str]) -> _Reading:
    """In the strictest spelling that joins the most."""
    readings = []
    for spelling in _SPELLINGS:
        reading = _paired(keys, files, spelling)
        readings.append(reading)
        if reading.complete and not reading.double:
            break
    return max(readings, key=lambda each: (each.matched > 0, not each.double, each.matched))


def _paired(
    keys: Sequence[str], files: Sequence[str], spelling: Callable[[str], Parts]
) -> _Reading:
    """A key and a file meet where one is the end of the other, as roots differ: /data/cat/7.png, cat/7.png, 7.png."""
    by_key = _places([spelling(each) for each in keys])
    by_file = _places([spelling(each) for each in files])
    rows, double = np.full(len(files), -1), None
    images = np.full(len(keys), -1)
    pairs = [
        (image, row)
        for file, places in by_file.items()
        for row in by_key.get(next((end for end in _ends(file) if end in by_key), ()), ())
        for image in places
    ]
    taken = {row for _, row in pairs}
    pairs += [
        (image, row)
        for parts, places in by_key.items()
        for image in by_file.get(next((end for end in _ends(parts) if end in by_file), ()), ())
        for row in places
        if row not in taken
    ]
    for image, row in pairs:
        if images[row] >= 0:
            double = (
                f"'{keys[row]}' is the name of more than one image; give names relative to the root, "
                f"as in {files[image]}"
            )
        elif rows[image] >= 0:
            double = f"'{keys[rows[image]]}' and '{keys[row]}' are both {files[image]}"
        rows[image], images[row] = row, image
    return _Reading(rows, len(keys), double)


def _places(names: Sequence[Parts]) -> dict[Parts, list[int]]:
    places: dict[Parts, list[int]] = {}
    for place, parts in enumerate(names):
        places.setdefault(parts, []).append(place)
    return places


def _ends(parts: Parts) -> list[Parts]:
    """Longest first."""
    return [parts[start:] for start in range(len(parts))]


def _split(path: str) -> Parts:
    """However the system writes it: Windows' \\, ./ before it, é as one character or as two."""
    text = unicodedata.normalize("NFC", path).replace("\\", "/")
    return tuple(part for part in text.split("/") if part not in ("", "."))


def _without_extension(path: str) -> Parts:
    return _split(_EXTENSION.sub("", path))


def _without_case(path: str) -> Parts:
    return tuple(part.casefold() for part in _without_extension(path))


def _without_zeros(path: str) -> Parts:
    """A spreadsheet makes 7 of 007."""
    *folders, last = _without_case(path) or ("",)
    return (*folders, last.lstrip("0") or "0") if last.isdecimal() else (*folders, last)


# From strict to loose: a looser one joins what a stricter one does.
_SPELLINGS = (_split, _without_extension, _without_case, _without_zeros)


def _nothing(
    keys: Sequence[str],
    key: str,
    files: Sequence[str] | None,
    count: int,
    where: str,
    name: str,
) -> str:
    if files is None and not all(_WHOLE.fullmatch(each) for each in keys):
        return (
            f"{where}: column '{key}' must hold whole numbers, the images' row numbers 0..{count - 1}"
            f" in '{name}'; only sets that are files can be joined by file name"
        )
    due = "0" if files is None else files[0]
    return (
        f"{where}: no row of column '{key}' names an image of '{name}'; it has "
        f"'{keys[0]}' where '{due}' is due"
    )


def _two_ways(
    keys: Sequence[str],
    key: str,
    files: Sequence[str],
    by_path: _Reading,
    by_number: _Reading,
    where: str,
) -> str:
    image = int(((by_path.rows >= 0) & (by_path.rows != by_number.rows)).argmax())
    row = int(by_path.rows[image])
    number = int(keys[row])
    other = files[number] if 0 <= number < len(files) else "no image"
    return (
        f"{where}: column '{key}' can be read in two ways: {keys[row]} is {files[image]} by its name "
        f"({by_path.matched} of {len(files)} images have a row), and {other} by its row number "
        f"({by_number.matched} of {len(files)}); write the files' names into it, as in {files[image]}"
    )
