"""Image files in class folders, found by timm's reader and decoded by Pillow."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from autokd.config import DataConfig
from autokd.data.stored_set import StoredSet
from autokd.errors import ConfigError, DataError

log = logging.getLogger(__name__)

DEFAULT_SIZE = 224  # pixels, where images differ in size and the user names none
_FOLDERS = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
)
_GREY = ("L", "1")
_DEEP = ("I", "F")  # 16 bits and more, also I;16: Pillow would clip them to 8


@dataclass(frozen=True)
class FolderReader:
    """Files below a root."""

    root: Path
    files: tuple[str, ...]  # relative to root
    channels: int

    def __len__(self) -> int:
        return len(self.files)

    def read(self, row: int) -> Tensor:
        path = self.root / self.files[row]
        try:
            with path.open("rb") as file:
                return decode(file, self.channels)
        except UNREADABLE as error:
            raise DataError(f"{path}: is not a readable image: {error}") from None

    def identity(self) -> str:
        return self._identity

    @cached_property
    def _identity(self) -> str:
        """Every file is asked for its size, and every split for this."""
        sizes = [(self.root / name).stat().st_size for name in self.files]
        return _hash(f"{name} {size}" for name, size in zip(self.files, sizes, strict=True))


def decode(file: BinaryIO, channels: int) -> Tensor:
    """uint8 (channels, H, W). Transparency is dropped, rotation in EXIF is not applied, as in timm."""
    with Image.open(file) as image:
        if image.mode.startswith(_DEEP):
            raise ValueError(f"its mode is {image.mode}; convert it to 8 bits a channel")
        values = np.array(image.convert("L" if channels == 1 else "RGB"))
    pixels = torch.from_numpy(values)
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def read_folder(config: DataConfig, cache: Path) -> StoredSet:
    """A folder for each class, in data.root or in its train/, val/ (or validation/) and test/.

    Every file's header is read (once for a given list of files and dates), so what is no image is
    named before anything is trained. Grey where all files are, loaded at the size that all share,
    else at 224 pixels.
    """
    if config.root is None:
        raise ConfigError("data.root is missing: source 'folder' needs a folder of class folders")
    root = config.root
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder; data.root must hold a folder for each class")
    names, labels, splits, classes = _find_images(root)
    channels, image_size = _survey(root, names, cache)
    return StoredSet(
        name=root.resolve().name,
        reader=FolderReader(root, tuple(names), channels),
        labels=labels,
        class_names=classes,
        channels=channels,
        image_size=image_size or DEFAULT_SIZE,
        own_split=splits,
        files=tuple(names),
    )


def read_any_folder(root: Path, cache: Path) -> FolderReader:
    """Every image below a folder, however deep it lies; folders' names mean nothing."""
    samples, _ = _find_samples(root)
    if not samples:
        raise DataError(f"{root}: holds no image")
    names = [os.path.relpath(path, root) for path, _ in samples]
    channels, _ = _survey(root, names, cache)
    return FolderReader(root, tuple(names), channels)


def _find_images(
    root: Path,
) -> tuple[list[str], NDArray[np.int64], NDArray[np.str_] | None, tuple[str, ...]]:
    """Names relative to root, labels, splits (None: no split folders) and classes."""
    folders = {
        split: root / name
        for split, names in _FOLDERS.items()
        for name in names
        if (root / name).is_dir()
    }
    parts = folders if "train" in folders else {"all": root}
    names: list[str] = []
    labels: list[int] = []
    splits: list[str] = []
    class_to_number: dict[str, int] | None = None
    for split, folder in parts.items():
        samples, found = _find_samples(folder)
        _check_folder(folder, [path for path, _ in samples], found)
        class_to_number = class_to_number or {name: n for n, name in enumerate(sorted(found))}
        if unknown := sorted(set(found) - set(class_to_number)):
            raise DataError(
                f"{folder}: class folder '{unknown[0]}' has no like in {root / 'train'}"
            )
        numbers = {number: class_to_number[name] for name, number in found.items()}
        names += [os.path.relpath(path, root) for path, _ in samples]
        labels += [numbers[label] for _, label in samples]
        splits += [split] * len(samples)
    return (
        names,
        np.array(labels, dtype=np.int64),
        np.array(splits) if "train" in folders else None,
        tuple(class_to_number or ()),
    )


def _find_samples(folder: Path) -> tuple[list[tuple[str, int]], dict[str, int]]:
    """Paths with a number for their class, and the class folders' numbers, which differ from call to call."""
    from timm.data.readers.reader_image_folder import find_images_and_targets
    from timm.utils.misc import natural_key

    samples, found = find_images_and_targets(str(folder))
    # timm's own order leaves a.png, A.png and 1.png, 01.png as the file system has them
    return sorted(samples, key=lambda s: (natural_key(s[0]), s[0])), found  # type: ignore[no-untyped-call]


def _check_folder(folder: Path, paths: list[str], classes: dict[str, int]) -> None:
    used = {Path(path).relative_to(folder).parts[0] for path in paths}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith(".") and entry.name not in used:
            raise DataError(f"{entry}: class folder holds no image")
    if not paths:
        raise DataError(f"{folder}: holds no class folder with an image")
    if "" in classes:
        loose = next(path for path in paths if Path(path).parent == folder)
        raise DataError(f"{loose}: lies in no class folder; move it into one")


def _survey(root: Path, names: list[str], cache: Path) -> tuple[int, int | None]:
    """Channels, and the side in pixels when all images are square and of one size."""
    stats = [(root / name).stat() for name in names]
    stamp = _hash(
        f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in zip(names, stats, strict=True)
    )
    path = cache / f"headers-{stamp[:16]}.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        return known["channels"], known["image_size"]
    with ThreadPoolExecutor(8) as threads:
        headers = list(threads.map(_read_header, [root / name for name in names]))
    if bad := [header for header in headers if isinstance(header, str)]:
        more = f" (and {len(bad) - 1} more such files)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}")
    kinds = {header for header in headers if not isinstance(header, str)}
    channels = 1 if all(mode in _GREY for mode, _, _ in kinds) else 3
    sizes = {(width, height) for _, width, height in kinds}
    width, height = next(iter(sizes))
    image_size = width if len(sizes) == 1 and width == height else None
    cache.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.part")
    temporary.write_text(json.dumps({"channels": channels, "image_size": image_size}))
    temporary.replace(path)
    return channels, image_size


def _read_header(path: Path) -> tuple[str, int, int] | str:
    """Mode, width and height in pixels; or what is wrong with the file."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith(_DEEP):
                raise ValueError(f"its mode is {image.mode}; convert it to 8 bits a channel")
            return image.mode, image.width, image.height
    except UNREADABLE as error:
        return f"{path}: is not a readable image: {error}"


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
