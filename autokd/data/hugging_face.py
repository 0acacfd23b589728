"""Image sets of the Hugging Face hub, or on disk in its formats, through the package `datasets`."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from autokd.config import DataConfig
from autokd.data.decode import UNREADABLE, decode, explain, refuse_deep
from autokd.data.folder import DEFAULT_SIZE
from autokd.data.hub_columns import find_columns, plain_columns
from autokd.data.labels import number_labels
from autokd.data.split_names import split_of
from autokd.data.stored_set import SPLITS, StoredSet
from autokd.errors import ConfigError, DataError, one_line
from autokd.records import UNLABELLED, content_hash
from autokd.whole_file import write_whole

_GREY = ("L", "1")
_SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk leaves in a folder

Parts = dict[str, Any]  # datasets.Dataset by the name of a split


@dataclass(frozen=True)
class HuggingFaceReader:
    """The image files of a set's splits, one split after the other."""

    name: str
    parts: Parts  # of the image column alone, not decoded
    column: str
    fingerprints: tuple[str, ...]  # `datasets` names a table's content and all done to it by one
    channels: int = 3

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts.values())

    def read(self, row: int) -> Tensor:
        with self.open(row) as file:
            return decode(file, self.channels)

    def header(self, row: int) -> tuple[str, tuple[int, int]]:
        """Mode, and width and height in pixels."""
        with self.open(row) as file, Image.open(file) as image:
            refuse_deep(image)
            return image.mode, image.size

    @contextmanager
    def open(self, row: int) -> Iterator[BinaryIO]:
        """The image's file; what goes wrong with it is a DataError that names it."""
        ends = list(accumulate(map(len, self.parts.values())))
        number = bisect_right(ends, row)
        split, part = list(self.parts.items())[number]
        place = row - ends[number] + len(part)
        try:
            stored = part[place][self.column] or {"bytes": None, "path": None}
            if stored["bytes"] is None and stored["path"] is None:
                raise ValueError("there is none")
            content = stored["bytes"] or Path(stored["path"]).read_bytes()
            yield io.BytesIO(content)
        except UNREADABLE as error:
            raise DataError(
                f"{self.name}: image {place} of split {split} {explain(error)}"
            ) from None

    def identity(self) -> str:
        return content_hash(list(self.fingerprints))


def read_hugging_face(config: DataConfig, cache: Path) -> StoredSet:
    """The set `data.name` of the hub, kept under data.root (None: the hub's own cache folder), or the folder of that name.

    Image and label column are found by their kind, or named by data.image_column and label_column;
    other columns of plain values are metadata. Grey where all images are, loaded at the size that
    all share, else at 224 pixels.
    """
    if config.name is None:
        raise ConfigError(
            "data.name is missing: source 'hf' needs the name of a data set on the hub, or a folder"
        )
    if importlib.util.find_spec("datasets") is None:
        raise ConfigError(
            "source 'hf' needs the package datasets: pip install 'autokd[huggingface]'"
        )
    name = config.name
    loaded = _load(name, config.subset, str(config.root) if config.root else None)
    splits, notes = _choose_splits(name, loaded)
    parts = {split: loaded[own] for split, own in splits.items()}
    features = parts["train"].features
    image, label = find_columns(config, features)
    reader = _make_reader(name, {own: loaded[own] for own in splits.values()}, image)
    channels, image_size = _survey(reader, cache)
    labels, class_names = _read_labels(config, label, parts)
    return StoredSet(
        name=name,
        reader=replace(reader, channels=channels),
        labels=labels,
        class_names=class_names,
        channels=channels,
        image_size=image_size or DEFAULT_SIZE,
        own_split=np.repeat(list(parts), [len(part) for part in parts.values()]),
        columns=_read_columns(parts, plain_columns(features, used=(image, label))),
        notes=notes if image_size or config.image_size else (*notes, _of_no_size(name)),
    )


def _load(name: str, subset: str | None, root: str | None) -> Parts:
    """All splits of a set on the hub, of a folder in one of its layouts, or of one that save_to_disk wrote."""
    datasets = importlib.import_module("datasets")  # optional, so not known to mypy
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        if any((Path(name) / file).is_file() for file in _SAVED):
            loaded = datasets.load_from_disk(name)
        else:
            loaded = datasets.load_dataset(name, subset, cache_dir=root)
    except Exception as error:  # noqa: BLE001 - the hub's errors have no common base
        reason = one_line(error, length=200)
        raise DataError(f"{name}: can't be loaded ({reason}); {_cure(name, reason)}") from None
    return dict(loaded) if isinstance(loaded, Mapping) else {"train": loaded}


def _cure(name: str, reason: str) -> str:
    if "Config name is missing" in reason or "BuilderConfig" in reason:
        return "set data.subset to one of them"
    if Path(name).is_file():
        return "set data.name to the folder that holds the file"
    if Path(name).is_dir():
        return "it must hold Parquet files, class folders of images, or what save_to_disk wrote"
    return "check data.name and the network, or set data.root to a cache folder that holds the set"


def _choose_splits(name: str, loaded: Parts) -> tuple[dict[str, str], tuple[str, ...]]:
    """The set's own name of train, val and test, where it has them; and what is said of the others."""
    full = [own for own, part in loaded.items() if len(part)]
    found: dict[str, str] = {}
    for own in full:
        found.setdefault(split_of(own) or own, own)
    chosen = {split: found[split] for split in SPLITS if split in found}
    if len(full) == 1:
        chosen = {"train": full[0]}
    if "train" not in chosen:
        raise DataError(
            f"{name}: has images in the splits {', '.join(full) or 'none'}, and none is called train"
        )
    notes = [
        f"{name}: split '{own}' of {len(loaded[own]):,} images is not used"
        for own in full
        if own not in chosen.values()
    ]
    if len(full) == 1 and split_of(full[0]) != "train":
        notes.append(f"{name}: has '{full[0]}' alone, of which train, val and test are cut")
    return chosen, tuple(notes)


def _make_reader(name: str, parts: Parts, column: str) -> HuggingFaceReader:
    datasets = importlib.import_module("datasets")
    stored = {
        own: part.cast_column(column, datasets.Image(decode=False)) for own, part in parts.items()
    }
    return HuggingFaceReader(
        name=name,
        parts={own: part.select_columns([column]) for own, part in stored.items()},
        column=column,
        fingerprints=tuple(part._fingerprint for part in stored.values()),
    )


def _survey(reader: HuggingFaceReader, cache: Path) -> tuple[int, int | None]:
    """Channels, and the side in pixels where all images are square and of one size; kept in `cache`.

    It ends where nothing further can change it: most photographs differ at once.
    """
    path = cache / f"headers-{reader.identity()}.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        return known["channels"], known["image_size"]
    channels, sizes = 1, set()
    for row in range(len(reader)):
        mode, size = reader.header(row)
        channels = channels if mode in _GREY else 3
        sizes.add(size)
        if channels == 3 and len(sizes) > 1:
            break
    width, height = next(iter(sizes))
    image_size = width if len(sizes) == 1 and width == height else None
    write_whole(path, json.dumps({"channels": channels, "image_size": image_size}))
    return channels, image_size


def _of_no_size(name: str) -> str:
    return (
        f"{name}: images are not square, or of several sizes; their centres are loaded at "
        f"{DEFAULT_SIZE} pixels, unless data.image_size says otherwise"
    )


def _read_labels(
    config: DataConfig, column: str, parts: Parts
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    where = f"{config.name}: column '{column}'"
    values = [
        value for part in parts.values() for value in part.select_columns([column])[:][column]
    ]
    names = getattr(parts["train"].features[column], "names", None)
    if names is None:
        return number_labels(values, where, classes=config.classes or ())
    numbers = [UNLABELLED if value is None else value for value in values]
    labels = np.maximum(np.array(numbers, dtype=np.int64), UNLABELLED)
    if labels.max() >= len(names):
        raise DataError(f"{where} has the class number {labels.max()}, and names for {len(names)}")
    return labels, tuple(names)


def _read_columns(parts: Parts, names: list[str]) -> pd.DataFrame | None:
    """Numbers and texts beside image and label."""
    if not names:
        return None
    tables = [pd.DataFrame(part.select_columns(names)[:]) for part in parts.values()]
    return pd.concat(tables, ignore_index=True)
