"""Further labelled sets on which a finished front is tested: read as the data is, and prepared as its images are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from autokd.config import DataConfig, MetadataConfig
from autokd.data.arrays import read_npz
from autokd.data.arrived import with_own_classes
from autokd.data.folder import read_classes
from autokd.data.image_tree import visible_folders
from autokd.data.images import LazyImages, MemoryImages, hash_pixels
from autokd.data.join import Join
from autokd.data.load import into_memory
from autokd.data.metadata import read_metadata
from autokd.data.sources import SOURCES
from autokd.data.split import FurtherSet, Split
from autokd.data.stored_set import StoredSet
from autokd.errors import ConfigError, DataError
from autokd.quantities import count_of
from autokd.records import UNLABELLED, DataInfo, content_hash

_FILES = ("folder", "npz", "digits")  # sources beside which a folder is one of class folders


def read_also_test(config: DataConfig, info: DataInfo, cache: Path) -> dict[str, FurtherSet]:
    """The sets of `data.also_test`, at the size and with the channels that `info` tells of the data.

    Of a set with a test split of its own that alone, else all of its images. What fits into memory is decoded now, so
    that a broken image is found before a search and not at its end. Raises DataError that names the set.
    """
    found = {}
    for name, each in config.also_test.items():
        try:
            found[name] = _read(name, each.root, each.metadata, config, info, cache)
        except (DataError, ConfigError) as error:
            raise DataError(f"data.also_test.{name}: {error}") from None
    return found


def _read(
    name: str,
    root: Path,
    table: Path | None,
    config: DataConfig,
    info: DataInfo,
    cache: Path,
) -> FurtherSet:
    stored = with_own_classes(
        _read_source(root, config, info, cache),
        info.class_names,
        root,
        whose="the data's",
        cure="; rename it, or take its images out",
    )
    rows, notes = _labelled_rows(stored, root)
    metadata, join, more = _read_people(config.metadata, table, stored)
    lazy = LazyImages(stored.reader, rows, info.image_size, info.channels, config.loader_processes)
    images = into_memory({name: lazy}, cache)[name]
    people = None if metadata is None else metadata.iloc[rows].reset_index(drop=True)
    split = Split(
        images=images,
        labels=torch.from_numpy(stored.labels[rows]),
        rows=torch.from_numpy(rows),
        metadata=people,
    )
    return FurtherSet(
        split=split,
        ids=tuple(stored.files[row] if stored.files else str(row) for row in rows.tolist()),
        hash=_hash(split, lazy),
        join=join,
        notes=tuple(f"data.also_test.{name}: {note}" for note in (*stored.notes, *notes, *more)),
    )


def _read_source(root: Path, config: DataConfig, info: DataInfo, cache: Path) -> StoredSet:
    """An .npz file, a folder of class folders, or what else the data's own source reads."""
    own = config.model_copy(update={"root": root, "classes": info.class_names})
    if root.suffix == ".npz":
        return read_npz(own, cache)
    if config.source == "hf":  # whose root is a cache
        return SOURCES["hf"](own.model_copy(update={"name": str(root), "root": config.root}), cache)
    if not root.exists():
        raise DataError(f"{root}: is not there; give a folder of class folders or an .npz file")
    if not root.is_dir():
        raise DataError(f"{root}: is neither a folder of class folders nor an .npz file")
    if config.source in _FILES or set(visible_folders(root)) & set(info.class_names):
        return read_classes(root, cache, trained_on=False)
    return SOURCES[config.source](own, cache)


def _labelled_rows(stored: StoredSet, root: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    own = stored.own_split
    chosen = np.ones(len(stored.labels), bool) if own is None else own == "test"
    notes: tuple[str, ...] = ()
    if own is not None and chosen.any() and not chosen.all():
        count = count_of(int(chosen.sum()), "image")
        notes = (f"{root}: its own test split alone is used, {count} of {len(chosen):,}",)
    elif not chosen.any():
        chosen[:] = True
    rows = np.flatnonzero(chosen & (stored.labels != UNLABELLED))
    if not len(rows):
        raise DataError(f"{root}: none of its images has a label")
    if lacking := int(chosen.sum()) - len(rows):
        notes += (f"{root}: {count_of(lacking, 'image')} without a label left out",)
    return rows, notes


def _read_people(
    config: MetadataConfig | None, table: Path | None, stored: StoredSet
) -> tuple[pd.DataFrame | None, Join | None, tuple[str, ...]]:
    """What is known of its images where the columns that the data's audits go by are known; and a note where they are not."""
    if config is None:
        if table:
            raise ConfigError("metadata needs data.metadata, which names the columns to read")
        return None, None, ()
    wanted = [*config.groups, *([config.cluster] if config.cluster else [])]
    missing = [name for name in wanted if stored.columns is None or name not in stored.columns]
    if table is None and missing:
        note = f"brings no column {missing[0]}, and no table of it is given (metadata): its classes are its groups"
        return None, None, (note,)
    metadata, join = read_metadata(config.model_copy(update={"path": table}), stored)
    return metadata, join, ((f"metadata: {join.describe()}",) if join else ())


def _hash(split: Split, lazy: LazyImages) -> str:
    pixels: object
    if isinstance(split.images, MemoryImages):
        pixels = hash_pixels(split.images.pixels)
    else:
        pixels = [lazy.reader.identity(), lazy.image_size, lazy.channels]
    people = None if split.metadata is None else split.metadata.to_numpy().tolist()
    return content_hash([pixels, split.labels.tolist(), split.rows.tolist(), people])
