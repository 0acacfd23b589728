"""A labelled set as its source stores it, before it is split and resized."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autokd.data.images import ImageReader
from autokd.records import UNLABELLED

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredSet:
    """Rows are numbered from 0 as they are read: train's first, then val's and test's where they are apart."""

    name: str
    reader: ImageReader
    labels: NDArray[np.int64]  # (N,), an index into class_names, or UNLABELLED
    class_names: tuple[str, ...]
    channels: int  # 1 or 3, as stored
    image_size: int | None  # pixels to load at unless told; None: not square, the user must say
    own_split: NDArray[np.str_] | None = None  # (N,) of SPLITS; None: all in one
    files: tuple[str, ...] | None = None  # names relative to the root
    columns: pd.DataFrame | None = None  # metadata that the source brings, N rows
    mirrors: bool = True  # False: a mirrored image is no member of its class (digits)
    notes: tuple[str, ...] = ()  # what was left out, and what a person might not expect

    def renumbered(self, places: NDArray[np.int64], class_names: tuple[str, ...]) -> StoredSet:
        """With other classes: the one at `places[k]` in place of the k-th. What has no label still has none."""
        hidden = self.labels == UNLABELLED
        labels = np.where(hidden, UNLABELLED, places[self.labels])
        return replace(self, labels=labels, class_names=class_names)
