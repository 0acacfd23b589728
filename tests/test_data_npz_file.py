"""Arrays of a .npz file: plain ones alone, and never more memory than the file accounts for."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest

from autokd.data.npz_file import load_arrays, npz_names
from autokd.errors import DataError


def write(path, shape=(4, 2), dtype="|u1", body=b"01234567", version=1):
    """A file with the array `images`, whose header says what it is told to say."""
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    content = io.BytesIO()
    getattr(np.lib.format, f"write_array_header_{version}_0")(content, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", content.getvalue() + body)
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_an_array_is_what_numpy_reads(tmp_path, version):
    path = write(tmp_path / "a.npz", version=version)
    assert np.array_equal(load_arrays(path)["images"], np.load(path)["images"])
    assert npz_names(path) == {"images"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (10**6, 10**6, 3)},
         r"images says that it is uint8 of shape .*, 3,000,000,000,000 bytes, and the file holds"),
        ({"shape": (10**9, 10**9, 10**9)}, "the file holds 8; it is damaged"),
        ({"shape": (-1, 8)}, "images is not a plain array as numpy.savez writes it"),
        ({"body": b"0"}, "8 bytes, and the file holds 1; it is damaged"),
        ({"dtype": "|O"}, "array images holds Python objects, which could run code; save it as"),
    ],
)  # fmt: skip
def test_an_array_that_can_not_be_is_refused_before_memory_is_asked_for(
    tmp_path, arguments, message
):
    with pytest.raises(DataError, match=message):
        load_arrays(write(tmp_path / "a.npz", **arguments))


def test_an_array_larger_than_the_machine_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 2)
    with pytest.raises(DataError, match=r"of 8 bytes does not fit into memory; give the images as"):
        load_arrays(write(tmp_path / "a.npz"))


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match=r"pipe\.npz: can't be read: it is not a file"):
        load_arrays(tmp_path / "pipe.npz")
