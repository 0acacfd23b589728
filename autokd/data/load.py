"""From a search file's data section to three splits with their statistics and their hash."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from autokd.class_order import places_in
from autokd.config import DataConfig
from autokd.data.array_file import array_file
from autokd.data.copies import APART, REST, drop_copies
from autokd.data.cut import Cut, Rows, cut_rows, describe_drawn, draw_evenly
from autokd.data.image_data import ImageData
from autokd.data.images import (
    CHUNK,
    ArrayReader,
    ImageSource,
    LazyImages,
    MemoryImages,
    fit_rows,
    hash_pixels,
)
from autokd.data.labels import describe_hidden
from autokd.data.metadata import number_clusters, number_groups, read_metadata
from autokd.data.sources import read_source
from autokd.data.split import Split
from autokd.data.statistics import channel_statistics
from autokd.data.stored_set import SPLITS, StoredSet
from autokd.data.unlabelled import add_unlabelled, read_unlabelled, without_labels
from autokd.errors import DataError
from autokd.records import UNLABELLED, DataInfo, content_hash

__all__ = ["ImageData", "Split", "load_data"]

log = logging.getLogger(__name__)

MEMORY_LIMIT = 2**30  # bytes of all splits as uint8; what is larger is read when asked for
_THREADS = 4  # that decode files; Pillow releases the interpreter's lock


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
    rows, more = _divide(config, stored, clusters, seed)
    notes += more
    lazy = _lazy_images(config, stored, rows)
    if config.unlabelled:
        lazy[APART], more = read_unlabelled(config.unlabelled, lazy["train"], cache)
        notes += more
    images = into_memory(lazy, cache)
    groups = config.metadata.groups if config.metadata else ()
    numbers = number_groups(metadata, groups) if metadata is not None and groups else None
    splits = {name: _split(stored, images[name], rows[name], metadata, numbers) for name in SPLITS}
    unlabelled = {
        name: without_labels(images[name], torch.from_numpy(rows[name]) if name in rows else None)
        for name in images
        if name not in SPLITS
    }
    mean, std = channel_statistics(splits["train"].images, seed)
    return ImageData(
        info=_info(config, stored, splits, lazy["train"], unlabelled),
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        mean=mean,
        std=std,
        flip=config.flip and stored.mirrors,
        join=join,
        seed=seed,
        view_count=config.views,
        groups=groups,
        cluster=cluster,
        files=stored.files,
        unlabelled=unlabelled,
        transfer=add_unlabelled(splits["train"], *unlabelled.values()) if unlabelled else None,
        notes=notes,
    )


def _divide(
    config: DataConfig, stored: StoredSet, clusters: Rows | None, seed: int
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Row numbers of train, val and test, and of train's rest where that is to be shown without labels; and notes."""
    cut = Cut(
        labels=stored.labels,
        class_names=stored.class_names,
        own_split=stored.own_split,
        clusters=clusters,
        seed=seed,
    )
    notes: tuple[str, ...] = ()
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
        rows, notes = drop_copies(rows, stored)
    if config.per_class:
        rows["train"], rest = draw_evenly(cut, rows["train"], config.per_class)
        notes += tuple(describe_drawn(cut, rows["train"], config.per_class))
        if len(rest) and config.rest == "unlabelled":
            rows[REST] = rest
    return rows, notes


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
    config: DataConfig, stored: StoredSet, rows: dict[str, Rows]
) -> dict[str, LazyImages]:
    image_size = config.image_size or stored.image_size
    if image_size is None:
        raise DataError(f"{stored.name}: images are not square; set data.image_size to crop them")
    channels = config.channels or stored.channels
    return {
        name: LazyImages(stored.reader, rows[name], image_size, channels, config.loader_processes)
        for name in rows
    }


def into_memory(lazy: Mapping[str, LazyImages], cache: Path) -> dict[str, ImageSource]:
    """Splits as tensors when all of them fit together; decoded files are kept for other processes."""
    one = next(iter(lazy.values()))
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
    rows: Rows,
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
    unlabelled: Mapping[str, Split],
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
        unlabelled_count=sum(map(len, unlabelled.values())),
    )


def _hash(
    stored: StoredSet,
    splits: dict[str, Split],
    one: LazyImages,
    unlabelled: Mapping[str, Split],
) -> str:
    """Of pixels in memory, or of the source's identity and how it is loaded; of labels and rows."""
    record: dict[str, object] = {"classes": stored.class_names}
    for name, split in splits.items():
        if isinstance(split.images, MemoryImages):
            record[f"{name} pixels"] = hash_pixels(split.images.pixels)
        record[name] = [split.labels.tolist(), split.rows.tolist()]
    if isinstance(splits["train"].images, LazyImages):
        record["source"] = [stored.reader.identity(), one.image_size, one.channels]
    for name, split in unlabelled.items():
        images = split.images
        if isinstance(images, MemoryImages):
            record[name] = hash_pixels(images.pixels)
        elif isinstance(images, LazyImages):
            record[name] = images.reader.identity()
    if REST in unlabelled:
        record[f"{REST}, rows"] = unlabelled[REST].rows.tolist()
    return content_hash(record)
