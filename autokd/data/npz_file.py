"""Plain arrays out of a .npz file: nothing in it is unpickled, and no more memory is asked for than the file accounts for."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from autokd.errors import DataError


def npz_names(path: Path) -> set[str]:
    """Names of the arrays in the file."""
    return set(load_arrays(path, only=()))


def load_arrays(path: Path, only: Collection[str] | None = None) -> dict[str, Any]:
    """All arrays by name; None stands for one that is not among `only`. Raises DataError in one line."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: can't be read: it is not a file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {
                name: _read(path, archive, name, info) if only is None or name in only else None
                for name, info in members.items()
            }
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError):  # also encrypted ones
        raise DataError(f"{path}: is not a .npz file of plain arrays, or it is damaged") from None


def _read(
    path: Path, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo
) -> NDArray[np.generic]:
    try:
        with archive.open(info) as member:
            shape, dtype = _header(member)
            if dtype.hasobject:
                raise DataError(
                    f"{path}: array {name} holds Python objects, which could run code; "
                    "save it as numbers or as texts of a fixed length"
                )
            due = math.prod(shape) * dtype.itemsize
            if due > (held := info.file_size - member.tell()):
                raise DataError(
                    f"{path}: array {name} says that it is {dtype} of shape {shape}, {due:,} bytes, "
                    f"and the file holds {held:,}; it is damaged"
                )
            if due > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
                raise MemoryError  # before Linux promises what it does not have
        with archive.open(info) as member:
            return npy.read_array(member, allow_pickle=False)
    except MemoryError:
        raise DataError(
            f"{path}: array {name} of {due:,} bytes does not fit into memory; "
            "give the images as a folder, which is read image by image"
        ) from None
    except (ValueError, TypeError, SyntaxError, EOFError, OverflowError, zlib.error):
        raise DataError(
            f"{path}: {name} is not a plain array as numpy.savez writes it, or it is damaged"
        ) from None


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(member)
    return shape, dtype
