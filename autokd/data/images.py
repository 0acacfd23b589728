"""Images as the rest of autokd sees them: uint8, all of one size, in memory or read when asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

CHUNK = 1024  # images resized or copied at a time


class ImageSource(Protocol):
    """Images of one split, by their place in it. Picklable."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor:
        """uint8 (C, H, W). Raises DataError that names the image when it can't be read."""
        ...


class ImageReader(Protocol):
    """Images as a source stores them, by row number. Picklable."""

    def __len__(self) -> int: ...

    def read(self, row: int) -> Tensor:
        """uint8 (1 or 3, H, W), of any size. Raises DataError that names the image."""
        ...

    def identity(self) -> str:
        """Equal for equal content; what is cheap to know without decoding every image."""
        ...


@dataclass(frozen=True, eq=False)
class MemoryImages:
    """A split held in memory, or in a memory-mapped file."""

    pixels: Tensor  # uint8 (N, C, H, W)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels[index]


@dataclass(frozen=True, eq=False)
class LazyImages:
    """A split too large for memory: each image is read, decoded and resized when asked for."""

    reader: ImageReader
    rows: NDArray[np.int64]  # (N,), the reader's row of each image
    image_size: int
    channels: int
    processes: int = 0  # that read it for batches; 0: the one that asks

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        stored = self.reader.read(int(self.rows[index]))
        return fit(stored, image_size=self.image_size, channels=self.channels)


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """Images that a source gives as one array."""

    pixels: Tensor  # uint8 (N, C, H, W)

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, row: int) -> Tensor:
        return self.pixels[row]

    def identity(self) -> str:
        return hash_pixels(self.pixels)


def fit(pixels: Tensor, *, image_size: int, channels: int) -> Tensor:
    """uint8 (..., C, H, W) to (..., channels, image_size, image_size).

    The short side is resized to `image_size` (bilinear, antialiased), then the centre is cut out,
    so nothing is squashed. Grey from colour is the luma of ITU-R 601; colour from grey repeats it.
    """
    if channels == 1 and pixels.shape[-3] == 3:
        pixels = transforms.rgb_to_grayscale_image(pixels)
    height, width = pixels.shape[-2:]
    if (height, width) != (image_size, image_size):
        scale = image_size / min(height, width)
        size = [max(image_size, round(height * scale)), max(image_size, round(width * scale))]
        pixels = transforms.resize_image(pixels, size, antialias=True)
        pixels = transforms.center_crop_image(pixels, [image_size, image_size])
    if channels == 3 and pixels.shape[-3] == 1:
        pixels = pixels.expand(*pixels.shape[:-3], 3, -1, -1)
    return pixels


def fit_rows(reader: ArrayReader, images: LazyImages) -> Tensor:
    """The rows of an array at one size, uint8 (N, C, H, W), resized many at a time."""
    rows = torch.from_numpy(images.rows)
    parts = [
        fit(reader.pixels[part], image_size=images.image_size, channels=images.channels)
        for part in torch.split(rows, CHUNK)
    ]
    return torch.cat(parts)


def hash_pixels(pixels: Tensor) -> str:
    """SHA-256 of an array's shape and bytes, 64 hex digits."""
    digest = hashlib.sha256(str(tuple(pixels.shape)).encode())
    for part in torch.split(pixels, CHUNK):
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()
