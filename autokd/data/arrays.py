"""Sets that come as arrays: scikit-learn's digits and .npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from autokd.config import DataConfig
from autokd.data.images import ArrayReader
from autokd.data.labels import number_labels
from autokd.data.npz_file import load_arrays
from autokd.data.split_names import split_of
from autokd.data.stored_set import SPLITS, StoredSet
from autokd.errors import ConfigError, DataError


def read_digits(config: DataConfig, cache: Path) -> StoredSet:  # noqa: ARG001 - one signature
    """1,797 handwritten digits, 8 x 8 grey, bundled with scikit-learn; 16 levels become 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8))
    return StoredSet(
        name="digits",
        reader=ArrayReader(pixels.unsqueeze(1)),
        labels=digits.target.astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        channels=1,
        image_size=8,
        mirrors=False,
    )


def read_npz(config: DataConfig, cache: Path) -> StoredSet:  # noqa: ARG001 - one signature
    """Arrays `images` (N, H, W[, C]) uint8 and `labels` or `label` (N,), in the file at data.root.

    `split` (N,) of train, val and test is used where it is there; every other array of N values is
    a metadata column. Nothing in the file is unpickled.
    """
    if config.root is None:
        raise ConfigError("data.root is missing: source 'npz' needs the path of a .npz file")
    arrays = load_arrays(config.root)
    label_key = "labels" if "labels" in arrays else "label"
    if "images" not in arrays or label_key not in arrays:
        raise DataError(
            f"{config.root}: needs the arrays images and labels, has {', '.join(arrays) or 'none'}"
        )
    pixels = _check_images(config.root, arrays.pop("images"))
    given = arrays.pop(label_key)
    if given.shape != (len(pixels),):
        raise DataError(
            f"{config.root}: labels must be {len(pixels)} whole numbers or texts, one for each image, "
            f"got {given.dtype} {given.shape}"
        )
    labels, class_names = number_labels(
        given, f"{config.root}: labels", classes=config.classes or ()
    )
    split = arrays.pop("split", None)
    columns = {key: a for key, a in arrays.items() if a.ndim == 1 and len(a) == len(pixels)}
    if unused := set(arrays) - set(columns):
        raise DataError(
            f"{config.root}: array {min(unused)} is neither images, labels nor split, nor has it "
            f"one value for each of the {len(pixels)} images; leave it out"
        )
    height, width = pixels.shape[-2:]
    return StoredSet(
        name=config.root.stem,
        reader=ArrayReader(pixels),
        labels=labels,
        class_names=class_names,
        channels=pixels.shape[1],
        image_size=height if height == width else None,
        own_split=None if split is None else _check_split(config.root, split, len(pixels)),
        columns=pd.DataFrame(columns) if columns else None,
    )


def read_npz_images(path: Path) -> ArrayReader:
    """The array `images` alone, of the same shape as in `read_npz`."""
    arrays = load_arrays(path, only=("images",))
    if "images" not in arrays:
        raise DataError(f"{path}: needs the array images, has {', '.join(arrays) or 'none'}")
    return ArrayReader(_check_images(path, arrays["images"]))


def _check_images(path: Path, images: NDArray[np.generic]) -> Tensor:
    """uint8 (N, C, H, W)."""
    grey = images.ndim == 3
    if images.dtype != np.uint8 or not (grey or (images.ndim == 4 and images.shape[3] in (1, 3))):
        raise DataError(
            f"{path}: images must be uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), "
            f"got {images.dtype} {images.shape}"
        )
    if images.size == 0:
        raise DataError(f"{path}: holds no image")
    pixels = torch.from_numpy(images)
    return pixels.unsqueeze(1) if grey else pixels.permute(0, 3, 1, 2).contiguous()


def _check_split(path: Path, split: NDArray[np.generic], count: int) -> NDArray[np.str_]:
    values = np.unique(split).tolist() if split.shape == (count,) else []
    meant = {value: split_of(str(value)) for value in values}
    if "train" not in meant.values() or None in meant.values():
        raise DataError(
            f"{path}: split must be {count} texts of {', '.join(SPLITS)}, with train among them, "
            f"got {split.dtype} {split.shape} {sorted(map(str, values))[:5]}"
        )
    return np.array([meant[value] for value in split.tolist()])
