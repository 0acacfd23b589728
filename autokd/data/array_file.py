"""An array in a cache folder: written once and whole, checked when opened, rebuilt when it is damaged."""

from __future__ import annotations

import io
import logging
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import DTypeLike
from torch import Tensor

from autokd.errors import StorageError

log = logging.getLogger(__name__)

_CHECKSUM_BYTES = 4  # CRC-32 of the values, after the array: np.load does not mind it
_BLOCK = 1 << 24  # bytes


def array_file(
    path: Path,
    *,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    make: Callable[[], Iterable[np.ndarray]],
) -> Tensor:
    """The array kept at `path` (.npy), memory-mapped; made from `make`'s chunks where it is not there.

    Chunks follow each other along the first axis. Other processes wait for the one that makes the
    file, and never see half of one. Writing to the tensor changes memory only, not the file.
    A file of another shape, cut short or damaged is made again. Raises StorageError when the folder
    can't be written.
    """
    dtype = np.dtype(dtype)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            problem = _problem(path, shape, dtype) if path.exists() else "not made yet"
            if problem:
                if path.exists():
                    log.warning("%s is %s; it is made again", path, problem)
                _write(path, shape, dtype, make())
            path.touch()  # what is used is not what a limit on the folder takes first
    except OSError as error:
        raise StorageError(f"{path}: can't be written: {error.strerror or error}") from None
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def _write(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, chunks: Iterable[np.ndarray]
) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_header(shape, dtype))
            checksum = 0
            for chunk in chunks:
                values = np.ascontiguousarray(chunk, dtype=dtype)
                checksum = zlib.crc32(values.data, checksum)
                file.write(values.data)
            file.write(checksum.to_bytes(_CHECKSUM_BYTES, "little"))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    if problem := _problem(path, shape, dtype):  # chunks that do not add up to shape: a bug
        raise RuntimeError(f"{path}: written, and yet {problem}")


def _problem(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    """What is wrong with a file, or None."""
    header = _header(shape, dtype)
    expected = len(header) + int(np.prod(shape)) * dtype.itemsize + _CHECKSUM_BYTES
    if (size := path.stat().st_size) != expected:
        return f"of {size} bytes where {expected} are due"
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            return f"not an array of shape {shape} and type {dtype}"
        left, checksum = expected - len(header) - _CHECKSUM_BYTES, 0
        while left:
            block = file.read(min(left, _BLOCK))
            checksum, left = zlib.crc32(block, checksum), left - len(block)
        if file.read() != checksum.to_bytes(_CHECKSUM_BYTES, "little"):
            return "damaged (its checksum differs)"
    return None


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    buffer = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()
