"""The augmented versions of the training images that all trials of a search share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor

from autokd.data.array_file import array_file
from autokd.data.augment import augment, find_augmentation
from autokd.data.images import CHUNK, MemoryImages, hash_pixels
from autokd.data.split import Split
from autokd.errors import ConfigError
from autokd.records import content_hash

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """`count` augmented versions of each image of a split, drawn once and kept under `cache`.

    Pixels of view v are `augment` of each sample with that view number, whoever asks and whenever.
    Without augmentation there is one view, the split itself, and `count` becomes 1.
    """

    split: Split
    augmentation: str  # a key of AUGMENTATIONS
    count: int  # >= 1
    seed: int
    flip: bool  # whether a mirrored image keeps its label
    cache: Path
    data_hash: str  # DataInfo.hash

    def __post_init__(self) -> None:
        find_augmentation(self.augmentation)
        if self.count < 1:
            raise ConfigError(f"views must be at least 1, got {self.count}")
        if self.augmentation == "none":
            object.__setattr__(self, "count", 1)

    def __len__(self) -> int:
        """How many images a view has."""
        return len(self.split)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that name these pixels. `count` is not among what they depend on."""
        return content_hash(
            {
                "data": self.data_hash,
                "augmentation": self.augmentation,
                "seed": self.seed if self.augmentation != "none" else 0,
                "flip": self.flip if self.augmentation != "none" else False,
                "samples": len(self.split.images),
                "kernels": [torch.__version__, torchvision.__version__, _probe(self.augmentation)],
            }
        )

    def pixels(self, view: int) -> Tensor | None:
        """uint8 (N, C, H, W) of one view; None where the split is read lazily.

        The first call of all processes draws it, into a memory-mapped file; the others open that.
        """
        self._check(view)
        images = self.split.images
        if not isinstance(images, MemoryImages):
            return None
        if self.augmentation == "none":
            return images.pixels
        path = self.cache / f"views-{self.fingerprint}-{view}.npy"
        shape = tuple(images.pixels.shape)
        return array_file(path, shape=shape, dtype=np.uint8, make=lambda: self._draw(view))

    def sample(self, index: int, view: int) -> Tensor:
        """One image of one view, computed: uint8 (C, H, W)."""
        self._check(view)
        return self._augment(index, view)

    def _augment(self, index: int, view: int) -> Tensor:
        image = self.split.images[index]
        return augment(
            image, self.augmentation, flip=self.flip, seed=self.seed, sample=index, view=view
        )

    def _draw(self, view: int) -> Iterator[np.ndarray]:
        count = len(self.split.images)
        log.info("drawing view %d of %d of %d images", view + 1, self.count, count)
        for start in range(0, count, CHUNK):
            rows = range(start, min(start + CHUNK, count))
            yield torch.stack([self._augment(row, view) for row in rows]).numpy()

    def _check(self, view: int) -> None:
        if not 0 <= view < self.count:
            raise ValueError(f"view must be 0..{self.count - 1}, got {view}")


def _probe(augmentation: str) -> str:
    """What the augmentation makes of one picture: changes when its code does."""
    picture = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    made = [augment(picture, augmentation, flip=True, seed=0, sample=i, view=0) for i in range(8)]
    return hash_pixels(torch.stack(made))
