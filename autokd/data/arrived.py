"""Images that came after a student was trained: with labels where they have any, and as the student loads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from autokd.config import DataConfig, MetadataConfig
from autokd.data.arrays import read_npz, read_npz_images
from autokd.data.folder import DEFAULT_SIZE, read_any_folder, read_classes
from autokd.data.image_tree import visible_folders
from autokd.data.images import ArrayReader, ImageSource, LazyImages, MemoryImages, fit_rows
from autokd.data.load import MEMORY_LIMIT
from autokd.data.metadata import read_metadata
from autokd.data.npz_file import npz_names
from autokd.data.split import Split
from autokd.data.stored_set import StoredSet
from autokd.errors import DataError, nearest_name
from autokd.records import UNLABELLED

_PROCESSES = 2  # that decode files, where there are MANY
_MANY = 2000
_SHOWN = 5  # class names in messages


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrived:
    """New images, and what is known of them."""

    split: Split  # labels are UNLABELLED where there are none
    source: str  # folder or npz: what a search file calls it
    labelled: bool
    ids: tuple[str, ...]  # what a person finds each image by
    notes: tuple[str, ...]  # on how they were read


def read_arrived(
    path: Path,
    *,
    class_names: Sequence[str],
    image_size: int,
    channels: int,
    cache: Path,
    metadata: MetadataConfig | None = None,
) -> Arrived:
    """A folder with one folder a class, or of images; or an .npz with images and perhaps labels.

    Labels are matched to the student's classes by name. Raises DataError in one line.
    """
    if path.is_dir():
        source = "folder"
        stored = _read_folder(path, class_names, cache)
    elif path.suffix == ".npz":
        source = "npz"
        stored = _read_npz(path, class_names, cache)
    else:
        what = "is neither a folder of images nor an .npz file with an array images"
        raise DataError(f"{path}: {what if path.exists() else 'is not there'}")
    columns, join = read_metadata(metadata, stored)
    notes = stored.notes
    if join and metadata:
        notes = (*notes, f"{metadata.path}: {join.describe()}.")
    split = Split(
        images=_images(stored, image_size, channels),
        labels=torch.from_numpy(stored.labels),
        rows=torch.arange(len(stored.labels)),
        metadata=columns,
    )
    ids = stored.files or tuple(map(str, range(len(split))))
    labelled = bool((split.labels != UNLABELLED).all())
    return Arrived(split=split, source=source, labelled=labelled, ids=ids, notes=notes)


def _read_folder(root: Path, class_names: Sequence[str], cache: Path) -> StoredSet:
    inside = visible_folders(root)
    if set(inside) & set(class_names):
        return with_own_classes(read_classes(root, cache, trained_on=False), class_names, root)
    reader, notes = read_any_folder(root, cache)
    note = f"no folder in {root} is named as one of the classes ({_some(class_names)}): no labels"
    return _without_labels(
        StoredSet(
            name=root.resolve().name,
            reader=reader,
            labels=np.empty(0, np.int64),
            class_names=tuple(class_names),
            channels=reader.channels,
            image_size=DEFAULT_SIZE,
            files=reader.files,
            notes=((note,) if inside else ()) + notes,
        )
    )


def _read_npz(path: Path, class_names: Sequence[str], cache: Path) -> StoredSet:
    if {"labels", "label"} & npz_names(path):
        config = DataConfig(source="npz", root=path, classes=tuple(class_names))
        stored = with_own_classes(read_npz(config, cache), class_names, path)
        hidden = int((stored.labels == UNLABELLED).sum())
        note = f"{path}: {hidden:,} of {len(stored.labels):,} images have no label (-1, or nothing), so that none is used"
        return replace(stored, notes=stored.notes + ((note,) if hidden else ()))
    reader = read_npz_images(path)
    stored = StoredSet(
        name=path.stem,
        reader=reader,
        labels=np.empty(0, np.int64),
        class_names=tuple(class_names),
        channels=reader.pixels.shape[1],
        image_size=None,
    )
    return _without_labels(stored)


def _without_labels(stored: StoredSet) -> StoredSet:
    return replace(stored, labels=np.full(len(stored.reader), UNLABELLED))


def with_own_classes(
    stored: StoredSet,
    class_names: Sequence[str],
    path: Path,
    *,
    whose: str = "the student's",
    cure: str = "",
) -> StoredSet:
    """Labels as the student counts them. Numbers stand for places where the classes have names that are no numbers."""
    known = {name: place for place, name in enumerate(class_names)}
    # beside a class 0 it is none already, and some new images are of no class 0
    hidden = str(UNLABELLED)
    given = [name for name in stored.class_names if name != hidden or hidden in known]
    notes = stored.notes
    if given and not set(given) & set(known) and all(name.isdecimal() for name in given):
        known = {str(place): place for place in range(len(class_names))}
        places = [f"{place} = {name}" for place, name in enumerate(class_names)]
        notes += (
            f"{path}: its label numbers are taken as places among {whose} classes: {_some(places)}",
        )
    if unknown := [name for name in given if name not in known]:
        raise DataError(
            f"{path}: class '{unknown[0]}' is none of {whose}: {_some(class_names)}{cure}."
            f"{nearest_name(unknown[0], class_names)}"
        )
    own: NDArray[np.int64] = np.array(
        [known.get(name, UNLABELLED) for name in stored.class_names], np.int64
    )
    return replace(stored.renumbered(own, tuple(class_names)), notes=notes)


def _images(stored: StoredSet, image_size: int, channels: int) -> ImageSource:
    count = len(stored.labels)
    processes = _PROCESSES if count > _MANY and not isinstance(stored.reader, ArrayReader) else 0
    lazy = LazyImages(stored.reader, np.arange(count), image_size, channels, processes)
    small = count * channels * image_size**2 <= MEMORY_LIMIT
    if isinstance(stored.reader, ArrayReader) and small:
        return MemoryImages(fit_rows(stored.reader, lazy))
    return lazy


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} … ({len(names)})"
