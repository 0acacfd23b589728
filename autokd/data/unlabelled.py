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
    """Sets of images one after another, none of them in memory."""

    parts: tuple[LazyImages, ...]

    @property
    def processes(self) -> int:
        return self.parts[0].processes

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int) -> Tensor:
        for part in self.parts[:-1]:
            if index < len(part):
                return part[index]
            index -= len(part)
        return self.parts[-1][index]


def without_labels(images: ImageSource, rows: Tensor | None = None) -> Split:
    """Images of which nothing else counts; `rows`: in the set, for those that lie in it."""
    none = torch.full((len(images),), UNLABELLED)
    return Split(images=images, labels=none, rows=none if rows is None else rows, metadata=None)


def add_unlabelled(train: Split, *more: Split) -> Split:
    """Train's images, each in its place, and then those without a label. All are in memory, or none."""
    splits = (train, *more)
    sources = [split.images for split in splits]
    held = [each.pixels for each in sources if isinstance(each, MemoryImages)]
    lazy = [each for each in sources if isinstance(each, LazyImages)]
    assert len(sources) in (len(held), len(lazy))
    return Split(
        images=MemoryImages(torch.cat(held)) if held else JoinedImages(tuple(lazy)),
        labels=torch.cat([split.labels for split in splits]),
        rows=torch.cat([split.rows for split in splits]),
        metadata=None,
    )
