"""MNIST, Fashion-MNIST, QMNIST and CIFAR through torchvision's readers: downloaded, or from files that are there."""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from autokd.config import DataConfig
from autokd.data.images import ArrayReader
from autokd.data.stored_set import StoredSet
from autokd.errors import DataError
from autokd.records import content_hash

log = logging.getLogger(__name__)

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
QMNIST_FILES = ("qmnist-test-images-idx3-ubyte", "qmnist-test-labels-idx2-int")
_BOTH = ({"train": True}, {"train": False})  # torchvision's words for its two parts
_TIMEOUT = 20.0  # seconds without an answer until a download is given up


def read_mnist(config: DataConfig, cache: Path) -> StoredSet:
    """70,000 handwritten digits, 28 x 28 grey; the last 10,000 are test."""
    return _read_idx("MNIST", "mnist", config.root, cache, mirrors=False)


def read_fashion_mnist(config: DataConfig, cache: Path) -> StoredSet:
    """70,000 pieces of clothing, 28 x 28 grey; the last 10,000 are test.

    Debian has it: `apt install dataset-fashion-mnist`, root /usr/share/datasets/fashion-mnist.
    """
    return _read_idx("FashionMNIST", "fashion_mnist", config.root, cache, mirrors=True)


def read_qmnist(config: DataConfig, cache: Path) -> StoredSet:
    """60,000 handwritten digits, 28 x 28 grey, with who wrote them: QMNIST's reconstruction of MNIST's test set.

    Metadata: `writer`, and `hsf`, the NIST series that the form belongs to (4: high-school pupils, others:
    employees). Yadav & Bottou (2019), arXiv 1905.10498.
    """
    options = ({"what": "test", "compat": False},)
    (part,) = _open_idx("QMNIST", "qmnist", config.root, cache, QMNIST_FILES, options)
    # class, series, writer, then numbers within NIST's own files
    if part.targets.shape[1] < 3 or len(part.targets) != len(part.data):
        raise DataError(
            f"qmnist: {len(part.data)} images and labels of shape {tuple(part.targets.shape)}; "
            "fetch the files again"
        )
    labels, series, writers = part.targets[:, :3].numpy().T
    return StoredSet(
        name="qmnist",
        reader=ArrayReader(part.data.unsqueeze(1)),
        labels=_checked("qmnist", labels, part.classes),
        class_names=tuple(part.classes),
        channels=1,
        image_size=part.data.shape[2],
        columns=pd.DataFrame({"hsf": series, "writer": writers}),
        mirrors=False,
    )


def read_cifar10(config: DataConfig, cache: Path) -> StoredSet:
    """60,000 photographs, 32 x 32 colour; the last 10,000 are test."""
    return _read_cifar("CIFAR10", "cifar10", "cifar-10-python.tar.gz", config.root, cache)


def read_cifar100(config: DataConfig, cache: Path) -> StoredSet:
    """60,000 photographs of 100 classes, 32 x 32 colour; the last 10,000 are test."""
    return _read_cifar("CIFAR100", "cifar100", "cifar-100-python.tar.gz", config.root, cache)


def _read_idx(
    reader: str, name: str, root: Path | None, cache: Path, *, mirrors: bool
) -> StoredSet:
    parts = _open_idx(reader, name, root, cache, IDX_FILES, _BOTH)
    pixels = [part.data.unsqueeze(1) for part in parts]
    return _stored(name, pixels, [p.targets for p in parts], parts[0].classes, mirrors=mirrors)


def _open_idx(
    reader: str,
    name: str,
    root: Path | None,
    cache: Path,
    files: Sequence[str],
    options: Sequence[dict[str, Any]],
) -> tuple[Any, ...]:
    folder = _folder(root, cache)
    found = find_idx_files(root, reader, files) if root is not None else None
    if found is not None:
        folder = _lay_out(found, files, reader, cache)
    try:
        return _open(reader, folder, options)
    except (ValueError, IndexError, AssertionError, TypeError) as error:
        raise _unreadable(reader, root or folder, error) from None
    except (OSError, RuntimeError) as error:
        if found is not None:  # nothing was downloaded
            raise _unreadable(reader, root or folder, error) from None
        raise _not_there(name, _missing(folder, files), root, folder, error) from None


def _folder(root: Path | None, cache: Path) -> Path:
    if root is not None and root.exists() and not root.is_dir():
        raise DataError(f"{root}: is a file; data.root must be the folder that holds the files")
    return root or cache / "downloads"


def _missing(folder: Path, files: Sequence[str]) -> str:
    """Which files are not there; in short where none is."""
    absent = [name for name in files if not any(folder.rglob(f"{name}*"))]
    if 0 < len(absent) < len(files):
        return ", ".join(f"{name}[.gz]" for name in absent)
    others = {2: "its labels", 4: "its three companions"}[len(files)]
    return f"{files[0]}[.gz] and {others}"


def _unreadable(reader: str, folder: Path, error: Exception) -> DataError:
    return DataError(f"{folder}: not what torchvision's {reader} reads: {error}")


def _read_cifar(reader: str, name: str, archive: str, root: Path | None, cache: Path) -> StoredSet:
    folder = _folder(root, cache)
    try:
        parts = _open(reader, folder, _BOTH)
    except (OSError, RuntimeError) as error:
        wanted = f"{archive} or what is in it"
        raise _not_there(name, wanted, root, folder, error) from None
    pixels = [torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in parts]
    labels = [torch.tensor(part.targets) for part in parts]
    return _stored(name, pixels, labels, parts[0].classes, mirrors=True)


def find_idx_files(
    root: Path, reader: str, names: Sequence[str] = IDX_FILES
) -> tuple[Path, ...] | None:
    """The files of these names, plain or .gz, in `root` or a folder below it; None: not there.

    MNIST and Fashion-MNIST share these names, so a folder named after the other's reader is left out.
    """
    others = {"MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST"} - {reader}
    folders = sorted({path.parent for path in root.rglob(f"{names[0]}*")})
    for folder in folders:
        if others & set(folder.relative_to(root).parts):
            continue
        files = [
            next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
            for name in names
        ]
        if all(files):
            return tuple(file for file in files if file is not None)
    return None


def _lay_out(files: Sequence[Path], names: Sequence[str], reader: str, cache: Path) -> Path:
    """A root as torchvision's reader wants it, under `cache`; each file decompressed whole, once."""
    stats = [file.stat() for file in files]
    stamp = content_hash(
        [[str(f.resolve()), s.st_size, s.st_mtime_ns] for f, s in zip(files, stats, strict=True)]
    )
    root = cache / f"{reader}-{stamp}"
    raw = root / reader / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for source, name in zip(files, names, strict=True):
        if not (raw / name).exists():
            _copy(source, raw / name)
    return root


def _copy(source: Path, target: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as plain, source.open("rb") as stored:
            packed = source.suffix == ".gz"
            shutil.copyfileobj(gzip.GzipFile(fileobj=stored) if packed else stored, plain)
        Path(temporary).replace(target)
    except (OSError, EOFError) as error:
        raise DataError(f"{source}: can't be decompressed: {error}") from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def _open(reader: str, root: Path, options: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    """torchvision's parts of a set; files are downloaded into `root` where they are missing."""
    from torchvision import datasets

    make = getattr(datasets, reader)
    if not os.access(root, os.W_OK) and root.exists():  # nothing to lock, nowhere to download to
        return tuple(make(root, **own) for own in options)
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{reader}.lock"), _patience(), contextlib.redirect_stdout(sys.stderr):
        return tuple(make(root, download=True, **own) for own in options)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """torchvision downloads without a time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _not_there(
    name: str, wanted: str, root: Path | None, folder: Path, error: Exception
) -> DataError:
    reason = " ".join(str(error).split())[:200]
    debian = " or, on Debian, apt install dataset-fashion-mnist and set data.root: /usr/share/datasets/fashion-mnist"
    return DataError(
        f"{name}: no {wanted} in {root or folder}, and a download failed ({reason}); "
        "set data.root to a folder that holds the files"
        f"{debian if name == 'fashion_mnist' else ''}"
    )


def _stored(
    name: str, pixels: list[Tensor], labels: list[Tensor], classes: list[str], *, mirrors: bool
) -> StoredSet:
    """Of train and test."""
    for split, images, own in zip(("train", "test"), pixels, labels, strict=True):
        if len(images) != len(own) or images.shape[1:] != pixels[0].shape[1:]:
            raise DataError(
                f"{name}: {split} has {len(images)} images of {tuple(images.shape[1:])} and "
                f"{len(own)} labels, train images of {tuple(pixels[0].shape[1:])}; fetch the files again"
            )
    return StoredSet(
        name=name,
        reader=ArrayReader(torch.cat(pixels)),
        labels=_checked(name, torch.cat(labels).numpy(), classes),
        class_names=tuple(classes),
        channels=pixels[0].shape[1],
        image_size=pixels[0].shape[2],
        own_split=np.repeat(["train", "test"], [len(own) for own in labels]),
        mirrors=mirrors,
    )


def _checked(name: str, labels: NDArray[np.integer[Any]], classes: list[str]) -> NDArray[np.int64]:
    if len(wrong := labels[(labels < 0) | (labels >= len(classes))]):
        raise DataError(
            f"{name}: label {wrong[0]} is none of {len(classes)} classes; fetch the files again"
        )
    return labels.astype(np.int64)
