"""One part of a data set: train, val or test."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from autokd.data.images import ImageSource


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Images with their labels and, where there is any, what else is known about each."""

    images: ImageSource  # N; a MemoryImages also gives all of them as .pixels
    labels: Tensor  # int64 (N,), an index into DataInfo.class_names
    rows: Tensor  # int64 (N,), each image's row number in the set as it was read
    metadata: pd.DataFrame | None  # N rows in the same order

    def __len__(self) -> int:
        return len(self.labels)
