"""Image files in class folders, or in any, decoded by Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from torch import Tensor

from autokd.config import DataConfig
from autokd.data.class_folders import read_class_folders
from autokd.data.decode import UNREADABLE, decode, explain
from autokd.data.headers import describe_headers, file_facts, hash_lines, read_headers
from autokd.data.image_tree import find_images, visible_folders
from autokd.data.stored_set import StoredSet
from autokd.errors import ConfigError, DataError

DEFAULT_SIZE = 224  # pixels, where images differ in size and the user names none


@dataclass(frozen=True)
class FolderReader:
    """Files below a root."""

    root: Path
    files: tuple[str, ...]  # relative to root
    channels: int
    same: list[list[int]]  # rows of files with the same bytes

    def __len__(self) -> int:
        return len(self.files)

    def read(self, row: int) -> Tensor:
        path = self.root / self.files[row]
        try:
            with path.open("rb") as file:
                return decode(file, self.channels)
        except UNREADABLE as error:
            raise DataError(f"{path}: {explain(error)}") from None

    def identity(self) -> str:
        return self._identity

    @cached_property
    def _identity(self) -> str:
        """Every file is asked for its size, and every split for this."""
        sizes = [file_facts(self.root / name).st_size for name in self.files]
        return hash_lines(f"{name} {size}" for name, size in zip(self.files, sizes, strict=True))


def read_folder(config: DataConfig, cache: Path) -> StoredSet:
    """A folder for each class, in data.root or in its train/, val/ (or validation/, dev/) and test/.

    Every file's header is read (once for a given list of files and dates), so what is no image is
    named before anything is trained. Grey where all files are, loaded at the size that all share,
    else at 224 pixels.
    """
    if config.root is None:
        raise ConfigError("data.root is missing: source 'folder' needs a folder of class folders")
    root = config.root
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder; data.root must hold a folder for each class")
    stored = read_classes(root, cache)
    if len(stored.class_names) == 1:
        only = root / stored.class_names[0]
        inside = (
            "; if its folders are the classes, set data.root to it"
            if only.is_dir() and visible_folders(only)
            else ""
        )
        raise DataError(f"{only}: is the only class folder, a classifier needs two or more{inside}")
    return stored


def read_classes(root: Path, cache: Path, *, trained_on: bool = True) -> StoredSet:
    """A folder of class folders, of one class or more."""
    found = read_class_folders(root, trained_on=trained_on)
    headers = read_headers(root, found.files, cache)
    nested = len(set(found.inner) - {None}) > 1
    return StoredSet(
        name=root.resolve().name,
        reader=FolderReader(root, found.files, headers.channels, headers.same),
        labels=found.labels,
        class_names=found.class_names,
        channels=headers.channels,
        image_size=headers.image_size or DEFAULT_SIZE,
        own_split=found.splits,
        files=found.files,
        columns=pd.DataFrame({"folder": found.inner}) if nested else None,
        notes=(*found.notes, *describe_headers(headers, root, found.files)),
    )


def read_any_folder(root: Path, cache: Path) -> tuple[FolderReader, tuple[str, ...]]:
    """Every image below a folder, however deep it lies, and notes; folders' names mean nothing."""
    tree = find_images(root)
    if not tree.images:
        reasons = f"; left out: {', '.join(tree.left_out)}" if tree.left_out else ""
        raise DataError(f"{root}: holds no image{reasons}")
    headers = read_headers(root, tree.images, cache)
    notes = [f"{root}: left out: {', '.join(tree.left_out)}"] if tree.left_out else []
    notes += describe_headers(headers, root, tree.images)
    return FolderReader(root, tree.images, headers.channels, headers.same), tuple(notes)
