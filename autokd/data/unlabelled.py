"""Images that nobody labelled: students learn what their teachers say about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autokd.data.arrays import read_npz_images
from autokd.data.folder import read_any_folder
from autokd.data.images import ImageReader, ImageSource, LazyImages, MemoryImages
from autokd.data.split import Split
from autokd.errors import DataError
from autokd.records import UNLABELLED


def read_unlabelled(
    path: Path, like: LazyImages, cache: Path
) -> tuple[LazyImages, tuple[str, ...]]:
    """The images of a folder, at any depth of it, or of an .npz file's array `images`; of the size and channels of `like`.

    With them what a person should know of how they were read.

    Raises DataError in one line where there are none, or one can't be read.
    """
    reader: ImageReader
    notes: tuple[str, ...] = ()
    if path.is_dir():
        reader, notes = read_any_folder(path, cache)
    elif path.suffix == ".npz":
        reader = read_npz_images(path)
    else:
        raise DataError(
            f"data.unlabelled: {path} is neither a folder of images nor an .npz file with an array images"
        )
    rows = np.arange(len(reader))
    return LazyImages(reader, rows, like.image_size, like.channels, like.processes), notes


@dataclass(frozen=True, eq=False)
class JoinedImages:
    """One set of images after another, neither of them in memory."""

    first: LazyImages
    second: LazyImages

    @property
    def processes(self) -> int:
        return self.first.processes

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: int) -> Tensor:
        beyond = index - len(self.first)
        return self.first[index] if beyond < 0 else self.second[beyond]


def add_unlabelled(train: Split, unlabelled: ImageSource) -> Split:
    """Train's images, each in its place, and then those without a label. Both are in memory, or neither."""
    images: ImageSource
    if isinstance(train.images, MemoryImages) and isinstance(unlabelled, MemoryImages):
        images = MemoryImages(torch.cat([train.images.pixels, unlabelled.pixels]))
    else:
        assert isinstance(train.images, LazyImages)
        assert isinstance(unlabelled, LazyImages)
        images = JoinedImages(train.images, unlabelled)
    none = torch.full((len(unlabelled),), UNLABELLED)
    return Split(
        images=images,
        labels=torch.cat([train.labels, none]),
        rows=torch.cat([train.rows, none]),
        metadata=None,
    )


def unlabelled_images(transfer: Split, train_count: int) -> ImageSource:
    """Those behind train's."""
    if isinstance(transfer.images, JoinedImages):
        return transfer.images.second
    assert isinstance(transfer.images, MemoryImages)
    return MemoryImages(transfer.images.pixels[train_count:])
