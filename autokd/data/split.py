"""One part of a data set: train, val or test; and a further set that is nothing but tested on."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from autokd.data.images import ImageSource
from autokd.data.join import Join


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Images with their labels and, where there is any, what else is known about each."""

    images: ImageSource  # N; a MemoryImages also gives all of them as .pixels
    labels: Tensor  # int64 (N,), an index into DataInfo.class_names
    rows: Tensor  # int64 (N,), each image's row number in the set as it was read
    metadata: pd.DataFrame | None  # N rows in the same order
    # int64 (N,), a number for each combination of the group columns' values; None: no such columns
    groups: Tensor | None = None

    @property
    def group_numbers(self) -> Tensor:
        """int64 (N,); its classes are the groups of a set that has no others."""
        return self.labels if self.groups is None else self.groups

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class FurtherSet:
    """A labelled set of the data's classes that chooses nothing: another clinic, night, another camera."""

    split: Split
    ids: tuple[str, ...]  # what a person finds each image by
    hash: str  # of all that is said about a model on it
    join: Join | None  # as of the data
    notes: tuple[str, ...]  # on how it was read
