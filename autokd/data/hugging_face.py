"""Image sets of the Hugging Face hub, or on disk in its formats, through timm's reader."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from autokd.config import DataConfig
from autokd.data.decode import UNREADABLE, decode
from autokd.data.folder import DEFAULT_SIZE
from autokd.data.stored_set import StoredSet
from autokd.errors import ConfigError, DataError
from autokd.records import content_hash

log = logging.getLogger(__name__)

_SPLITS = {"train": ("train",), "val": ("validation", "valid", "val"), "test": ("test",)}


@dataclass(frozen=True)
class HuggingFaceReader:
    """timm's readers of a set's splits, one after the other."""

    name: str
    parts: tuple[Any, ...]  # timm.data.readers.reader_hfds.ReaderHfds

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def read(self, row: int) -> Tensor:
        place = row
        for part in self.parts:
            if place < len(part):
                break
            place -= len(part)
        try:
            file, _ = part[place]
            with file:
                return decode(file, 3)
        except UNREADABLE as error:
            raise DataError(
                f"{self.name}: image {place} of split {part.split} is not readable: {error}"
            ) from None

    def identity(self) -> str:
        """`datasets` names a table's content and all that was done to it by a fingerprint."""
        return content_hash([part.dataset._fingerprint for part in self.parts])


def read_hugging_face(config: DataConfig, cache: Path) -> StoredSet:  # noqa: ARG001 - one signature
    """The set `data.name`, kept under data.root (None: the hub's own cache folder).

    The image column is the only one of type Image, the label column the only ClassLabel; other
    columns of plain values are metadata. Splits named train, validation (valid, val) and test.
    """
    if config.name is None:
        raise ConfigError("data.name is missing: source 'hf' needs the name of a data set")
    if importlib.util.find_spec("datasets") is None:
        raise ConfigError(
            "source 'hf' needs the package datasets: pip install 'autokd[huggingface]'"
        )
    name = config.name
    root = str(config.root) if config.root else None
    columns = _find_columns(name, root)
    train = _open(name, root, "train", columns)
    available = set(train.dataset.info.splits or {"train"})
    parts = {"train": train}
    for split in ("val", "test"):
        if found := [n for n in _SPLITS[split] if n in available]:
            parts[split] = _open(name, root, found[0], columns)
    labels = np.concatenate([part.dataset[columns[1]] for part in parts.values()])
    if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        raise DataError(f"{name}: column '{columns[1]}' must hold class numbers from 0")
    classes = sorted(train.class_to_idx, key=train.class_to_idx.get)
    return StoredSet(
        name=name,
        reader=HuggingFaceReader(name, tuple(parts.values())),
        labels=labels.astype(np.int64),
        class_names=tuple(classes or (str(number) for number in range(labels.max() + 1))),
        channels=3,
        image_size=DEFAULT_SIZE,
        own_split=np.repeat(list(parts), [len(part) for part in parts.values()]),
        columns=_read_columns(parts, columns),
    )


def _find_columns(name: str, root: str | None) -> tuple[str, str]:
    """Names of the image and the label column."""
    datasets = importlib.import_module("datasets")  # optional, so not known to mypy
    try:
        features = datasets.load_dataset_builder(name, cache_dir=root).info.features or {}
    except Exception as error:  # noqa: BLE001 - the hub's errors have no common base
        raise _not_there(name, error) from None
    images = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if features and (len(images) != 1 or (len(labels) != 1 and "label" not in features)):
        raise DataError(
            f"{name}: needs one column of images and one of classes, "
            f"has {', '.join(f'{key} ({type(f).__name__})' for key, f in features.items())}"
        )
    label = labels[0] if len(labels) == 1 else "label"
    return (images[0] if images else "image"), label


def _open(name: str, root: str | None, split: str, columns: tuple[str, str]) -> Any:
    from timm.data.dataset_factory import create_dataset

    try:
        image, label = columns
        return create_dataset(
            f"hfds/{name}", root=root, split=split, input_key=image, target_key=label
        ).reader
    except Exception as error:  # noqa: BLE001 - the hub's errors have no common base
        raise _not_there(name, error) from None


def _not_there(name: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(
        f"{name}: can't be loaded from the hub ({type(error).__name__}: {reason}); check data.name "
        "and the network, or set data.root to a cache folder that holds it"
    )


def _read_columns(parts: dict[str, Any], used: tuple[str, str]) -> pd.DataFrame | None:
    """Numbers and texts beside image and label."""
    tables = []
    for part in parts.values():
        features = part.dataset.features
        plain = [k for k, f in features.items() if k not in used and hasattr(f, "dtype")]
        tables.append(pd.DataFrame({key: list(part.dataset[key]) for key in plain}))
    table = pd.concat(tables, ignore_index=True)
    return table if len(table.columns) else None
