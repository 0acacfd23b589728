"""From a search file's data section to three splits with their statistics and their hash."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from autokd.class_order import places_in
from autokd.config import DataConfig
from autokd.data.array_file import array_file
from autokd.data.copies import Part, describe_copies, drop_copies
from autokd.data.cut import Cut, cut_rows
from autokd.data.images import (
    CHUNK,
    ArrayReader,
    ImageSource,
    LazyImages,
    MemoryImages,
    fit_rows,
    hash_pixels,
)
from autokd.data.join import Join
from autokd.data.labels import describe_hidden
from autokd.data.metadata import number_clusters, number_groups, read_metadata
from autokd.data.sources import read_source
from autokd.data.split import Split
from autokd.data.statistics import channel_statistics
from autokd.data.stored_set import StoredSet
from autokd.data.unlabelled import add_unlabelled, read_unlabelled, unlabelled_images
from autokd.data.views import Views
from autokd.errors import DataError
from autokd.records import UNLABELLED, DataInfo, content_hash

__all__ = ["ImageData", "Split", "load_data"]

log = logging.getLogger(__name__)

MEMORY_LIMIT = 2**30  # bytes of all splits as uint8; what is larger is read when asked for
_THREADS = 4  # that decode files; Pillow releases the interpreter's lock


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageData:
    """A labelled image set, ready to be trained on."""

    info: DataInfo
    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]  # of train's pixels, per channel, on 0..1
    std: tuple[float, ...]
    flip: bool  # whether a mirrored image keeps its label
    join: Join | None  # images and rows of the metadata table that met; None: no table
    seed: int  # of the splits and of the views
    view_count: int  # augmented versions of each training image
    groups: tuple[str, ...] = ()  # columns of the splits' metadata that audits compare
    cluster: str | None = None  # and the one of what no split shares: patient, writer
    files: tuple[str, ...] | None = None  # by the row in the set; None: the set has no files
    transfer: Split | None = None  # train and images without labels; None: there are none
    notes: tuple[str, ...] = ()  # on how files were read

    def ids(self, split: Split) -> list[str]:
        """What a person finds each image by: its file, or else its row in the set."""
        rows = split.rows.tolist()
        return [self.files[row] if self.files else str(row) for row in rows]

    def say(self) -> None:
        """Log what was left out in reading, what a person might not expect, and which images occur twice."""
        parts = {"train": self._part(self.train)}
        if self.transfer:
            images = unlabelled_images(self.transfer, len(self.train))
            ids = [f"image {place} of data.unlabelled" for place in range(len(images))]
            parts["unlabelled"] = Part(images, [UNLABELLED] * len(images), ids)
        parts |= {"val": self._part(self.val), "test": self._part(self.test)}
        for note in (*self.notes, *describe_copies(self.info.name, parts)):
            log.warning("%s", note)

    def _part(self, split: Split) -> Part:
        return Part(split.images, split.labels.tolist(), self.ids(split))

    def people_hash(self) -> str:
        """Of the columns that audits and splits go by; the images' own hash knows nothing of them."""
        columns = [*self.groups, *([self.cluster] if self.cluster else [])]
        tables = [split.metadata for split in (self.train, self.val, self.test)]
        return content_hash([None if t is None else t[columns].to_numpy().tolist() for t in tables])

    def drawing(self) -> list[object]:
        """What decides which pixels are seen in training, but for the augmentation."""
        return [self.info.hash, self.flip, self.seed, self.view_count]

    def shown(self, *, taught: bool) -> Split:
        """What a stage trains on. Images without labels are for those that have a teacher."""
        return self.transfer if taught and self.transfer else self.train

    def views(self, augmentation: str, *, cache: Path, taught: bool = False) -> Views:
        """The augmented versions of what a stage trains on, drawn once for all trials and kept under `cache`."""
        return Views(
            split=self.shown(taught=taught),
            augmentation=augmentation,
            count=self.view_count,
            seed=self.seed,
            flip=self.flip,
            cache=cache,
            data_hash=self.info.hash,
        )


def load_data(config: DataConfig, *, seed: int, cache: Path) -> ImageData:
    """Read, join, cut and resize. The same arguments give the same data in every process.

    `cache` keeps downloads, decompressed files and decoded pixels. Raises ConfigError for what is
    wrong in the search file, DataError for what is wrong in the data.
    """
    stored = read_source(config, cache)
    notes = (*stored.notes, *describe_hidden(stored))
    if config.classes:
        stored = _with_classes(stored, config.classes)
    metadata, join = read_metadata(config.metadata, stored)
    cluster = config.metadata.cluster if config.metadata else None
    clusters = number_clusters(metadata, cluster) if metadata is not None and cluster else None
    cut = Cut(
        labels=stored.labels,
        class_names=stored.class_names,
        own_split=stored.own_split,
        clusters=clusters,
        seed=seed,
    )
    try:
        rows = cut_rows(
            cut,
            val_fraction=config.val_fraction,
            test_fraction=config.test_fraction,
            limit=config.limit,
        )
    except DataError as error:
        raise DataError(f"data {config.name or config.root or stored.name}: {error}") from None
    if config.copies == "drop":
        rows, more = drop_copies(rows, stored)
        notes += more
    lazy = _lazy_images(config, stored, rows)
    if config.unlabelled:
        lazy["unlabelled"], more = read_unlabelled(config.unlabelled, lazy["train"], cache)
        notes += more
    images = _into_memory(lazy, cache)
    groups = config.metadata.groups if config.metadata else ()
    numbers = number_groups(metadata, groups) if metadata is not None and groups else None
    splits = {name: _split(stored, images[name], rows[name], metadata, numbers) for name in rows}
    mean, std = channel_statistics(splits["train"].images, seed)
    unlabelled = images.get("unlabelled")
    return ImageData(
        info=_info(config, stored, splits, lazy["train"], unlabelled),
        **splits,
        mean=mean,
        std=std,
        flip=config.flip and stored.mirrors,
        join=join,
        seed=seed,
        view_count=config.views,
        groups=groups,
        cluster=cluster,
        files=stored.files,
        transfer=add_unlabelled(splits["train"], unlabelled) if unlabelled else None,
        notes=notes,
    )


def _with_classes(stored: StoredSet, classes: tuple[str, ...]) -> StoredSet:
    """Classes in another order, and without those that have no image; or names for those that have only numbers, from 0."""
    names = stored.class_names
    numbered = stored.files is None and all(name.isdecimal() for name in names)
    if numbered and not set(names) & set(classes) and max(map(int, names)) < len(classes):
        return stored.renumbered(np.array([int(name) for name in names]), classes)
    counts = np.bincount(stored.labels[stored.labels != UNLABELLED], minlength=len(names))
    kept = [name for name, n in zip(names, counts, strict=True) if n or name in classes]
    place = dict(zip(kept, places_in(kept, classes, "data.classes"), strict=True))
    return stored.renumbered(np.array([place.get(name, UNLABELLED) for name in names]), classes)


def _lazy_images(
    config: DataConfig, stored: StoredSet, rows: dict[str, NDArray[np.int64]]
) -> dict[str, LazyImages]:
    image_size = config.image_size or stored.image_size
    if image_size is None:
        raise DataError(f"{stored.name}: images are not square; set data.image_size to crop them")
    channels = config.channels or stored.channels
    return {
        name: LazyImages(stored.reader, rows[name], image_size, channels, config.loader_processes)
        for name in rows
    }


def _into_memory(lazy: dict[str, LazyImages], cache: Path) -> dict[str, ImageSource]:
    """Splits as tensors when all of them fit together; decoded files are kept for other processes."""
    one = lazy["train"]
    pixels_each = one.channels * one.image_size**2
    if pixels_each * sum(len(images) for images in lazy.values()) > MEMORY_LIMIT:
        return dict(lazy)
    return {name: MemoryImages(_decoded(images, cache)) for name, images in lazy.items()}


def _decoded(images: LazyImages, cache: Path) -> Tensor:
    """uint8 (N, C, H, W); of a split that lies in files decoded by the first process that asks."""
    if isinstance(images.reader, ArrayReader):
        return fit_rows(images.reader, images)
    shape = (len(images), images.channels, images.image_size, images.image_size)
    name = content_hash([images.reader.identity(), shape, images.rows.tolist()])

    def chunks() -> Iterator[np.ndarray]:
        log.info("decoding %d images", len(images))
        with ThreadPoolExecutor(_THREADS) as threads:
            for start in range(0, len(images), CHUNK):
                part = range(start, min(start + CHUNK, len(images)))
                yield torch.stack(list(threads.map(images.__getitem__, part))).numpy()

    return array_file(cache / f"decoded-{name}.npy", shape=shape, dtype=np.uint8, make=chunks)


def _split(
    stored: StoredSet,
    images: ImageSource,
    rows: NDArray[np.int64],
    metadata: pd.DataFrame | None,
    groups: NDArray[np.int64] | None,
) -> Split:
    return Split(
        images=images,
        labels=torch.from_numpy(stored.labels[rows]),
        rows=torch.from_numpy(rows),
        metadata=None if metadata is None else metadata.iloc[rows].reset_index(drop=True),
        groups=None if groups is None else torch.from_numpy(groups[rows]),
    )


def _info(
    config: DataConfig,
    stored: StoredSet,
    splits: dict[str, Split],
    one: LazyImages,
    unlabelled: ImageSource | None,
) -> DataInfo:
    return DataInfo(
        name=stored.name,
        source=config.source,
        hash=_hash(stored, splits, one, unlabelled),
        class_names=stored.class_names,
        channels=one.channels,
        image_size=one.image_size,
        train_count=len(splits["train"]),
        val_count=len(splits["val"]),
        test_count=len(splits["test"]),
        unlabelled_count=len(unlabelled) if unlabelled else 0,
    )


def _hash(
    stored: StoredSet,
    splits: dict[str, Split],
    one: LazyImages,
    unlabelled: ImageSource | None,
) -> str:
    """Of pixels in memory, or of the source's identity and how it is loaded; of labels and rows."""
    record: dict[str, object] = {"classes": stored.class_names}
    for name, split in splits.items():
        if isinstance(split.images, MemoryImages):
            record[f"{name} pixels"] = hash_pixels(split.images.pixels)
        record[name] = [split.labels.tolist(), split.rows.tolist()]
    if isinstance(splits["train"].images, LazyImages):
        record["source"] = [stored.reader.identity(), one.image_size, one.channels]
    if isinstance(unlabelled, MemoryImages):
        record["unlabelled"] = hash_pixels(unlabelled.pixels)
    elif isinstance(unlabelled, LazyImages):
        record["unlabelled"] = unlabelled.reader.identity()
    return content_hash(record)
