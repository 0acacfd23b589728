"""A table from CSV or Parquet files, its cells as text or numbers; what can't be read is one line."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autokd.errors import DataError, nearest_name

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".parquet.gz")
Texts = NDArray[np.object_]  # of str, or None where a cell is empty

_NO_VALUE = (list, tuple, dict, set, bytes, np.ndarray)
_WHOLE = re.compile(r"(-?\d+)\.0+")  # an integer that went through a column with gaps


@dataclass(frozen=True, eq=False)
class Table:
    """Some rows of text and numbers, and where they were read."""

    name: str  # of the file or files, for error messages
    frame: pd.DataFrame
    hashes: tuple[str, ...]  # SHA-256 of each file

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def columns(self) -> list[str]:
        return [str(column) for column in self.frame.columns]

    def require(self, column: str, purpose: str) -> None:
        """Raises DataError that lists the columns when this one is not there."""
        if column not in self.frame:
            raise DataError(
                f"{self.name}: has no column '{column}' ({purpose}); "
                f"it has {', '.join(self.columns)}.{nearest_name(column, self.columns)}"
            )

    def text(self, column: str) -> Texts:
        """(N,) of text without blanks around it, None where the cell is empty.

        Leading zeros stay. 1.0 is written 1 where the whole column holds whole numbers: a gap turns
        integers into such in many programs. NA and nan are text like any other in a CSV.
        """
        series = self._cells(column)
        texts = series.astype(str).str.strip().to_numpy(dtype=object, copy=True)
        empty = series.isna().to_numpy() | (texts == "")
        filled = texts[~empty]
        if any(_WHOLE.fullmatch(t) for t in filled) and all(
            _WHOLE.fullmatch(t) or re.fullmatch(r"-?\d+", t) for t in filled
        ):
            texts[~empty] = [re.sub(r"\.0+$", "", t) for t in filled]
        texts[empty] = None
        return texts

    def numbers(self, column: str, keys: Texts) -> NDArray[np.float64]:
        """(N,) finite numbers. Raises DataError that names the first cell which is none."""
        cells = self._cells(column)
        values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
        if (bad := ~np.isfinite(values)).any():
            row = int(bad.argmax())
            raise DataError(
                f"{self.name}: column '{column}' must hold a number in every row, "
                f"got {_shown(cells.iloc[row])} for '{keys[row]}' "
                f"({int(bad.sum())} such rows)"
            )
        return values

    def _cells(self, column: str) -> pd.Series[Any]:
        """Raises DataError where a cell is no single value: Parquet has such."""
        series = self.frame[column]
        kinds = series.map(type).unique() if series.dtype == object else ()
        if kind := next((kind for kind in kinds if issubclass(kind, _NO_VALUE)), None):
            raise DataError(
                f"{self.name}: column '{column}' must hold one text or number a row, and holds values of "
                f"type {kind.__name__}; rewrite it, or name the columns that are to be read"
            )
        return series


def read_tables(paths: Sequence[Path]) -> Table:
    """Files with the same columns as one table, their rows one after the other."""
    parts = [_read(path) for path in paths]
    first = parts[0]
    for part in parts[1:]:
        if other := set(part.columns) ^ set(first.columns):
            raise DataError(
                f"{part.name}: must have the same columns as {first.name}; "
                f"'{min(other)}' is in one of them alone"
            )
    if len(parts) == 1:
        return first
    return Table(
        name=" + ".join(part.name for part in parts),
        # object: the same column may be text in one part and numbers in another
        frame=pd.concat([part.frame.astype(object) for part in parts], ignore_index=True),
        hashes=tuple(part.hashes[0] for part in parts),
    )


def taken(texts: Texts, rows: NDArray[np.int64]) -> Texts:
    """Values of these rows, None for row -1."""
    padded: Texts = np.append(texts, np.array([None], dtype=object))
    return padded[rows]


def _read(path: Path) -> Table:
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: must end in {', '.join(SUFFIXES)}")
    try:
        content = path.read_bytes()
        plain = gzip.decompress(content) if name.endswith(".gz") else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: can't be decompressed: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    read = _read_parquet if ".parquet" in name else _read_csv
    frame = read(path, plain)
    frame.columns = [str(column).strip() for column in frame.columns]
    if not frame.columns.is_unique:
        double = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{path}: has two columns '{double}'; rename one")
    if not len(frame):
        raise DataError(f"{path}: has no rows")
    return Table(str(path), frame, (hashlib.sha256(content).hexdigest(),))


def _read_csv(path: Path, content: bytes) -> pd.DataFrame:
    """All cells are text; only an empty one is missing."""
    options: dict[str, Any] = {
        "dtype": str,
        "keep_default_na": False,
        "na_values": [""],
        "skipinitialspace": True,
        "encoding": "utf-8-sig",
        "header": None,  # else pandas renames a second column of the same name in silence
        "index_col": False,
    }
    _refuse_separator(path, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(io.BytesIO(content), **options)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: is empty; it needs a line of column names and rows") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: is not a CSV table in UTF-8: {reason}") from None
    if pd.isna(table.iloc[0, 0]) and table.shape[1] > 1:
        table = table.iloc[:, 1:]  # row numbers, as pandas writes them
    names = table.iloc[0]
    if names.isna().any():
        raise DataError(f"{path}: a column has no name; it has {', '.join(names.dropna())}")
    rows: pd.DataFrame = table.iloc[1:].reset_index(drop=True)
    rows.columns = names.tolist()
    return rows


def _refuse_separator(path: Path, content: bytes) -> None:
    """By the line of names: below it, semicolons and decimal commas would read as rows of other lengths."""
    names = content.partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    if names.startswith("sep="):
        raise DataError(f"{path}: begins with Excel's line '{names}'; take it out")
    if "," not in names and (sign := next((s for s in ";\t|" if s in names), None)):
        raise DataError(f"{path}: has its columns separated by {sign!r}; save it with commas")


def _read_parquet(path: Path, content: bytes) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:  # what pyarrow's errors derive from
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: is not a Parquet table: {reason}") from None
    # a frame that was saved with its key as index has it as a column again
    named = [name for name in frame.index.names if name is not None and name not in frame]
    return (frame.reset_index(level=named) if named else frame).reset_index(drop=True)


def _shown(value: object) -> str:
    return "nothing" if pd.isna(value) else f"'{value}'"  # type: ignore[call-overload]
