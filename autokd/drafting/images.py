"""What a folder of images is, as far as a first search file depends on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autokd.config import DataConfig
from autokd.data.cut import Cut, cut_rows
from autokd.data.labels import describe_hidden
from autokd.data.metadata import number_clusters, read_metadata
from autokd.data.sources import read_source
from autokd.drafting.table import FoundTable, find_table

LOOKED_AT = 100  # images that are opened for their size, where they differ


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImages:
    """Counts are of the splits as a search would have them."""

    root: Path
    source: str  # folder or npz
    class_counts: Mapping[str, int]
    counts: Mapping[str, int]  # of train, val and test
    own_splits: tuple[str, ...]  # that the set brings; the others are cut from train
    channels: int
    sides: tuple[int, int]  # least and greatest shorter side, in pixels
    same_size: bool  # square all, and of one size: nothing is cut off
    table: FoundTable | None
    notes: tuple[str, ...]  # what is left out, and what a person might not expect


def look(root: Path, *, cache: Path) -> FoundImages:
    """Read it as a search would, without its pixels. Raises what a search would raise."""
    source = "npz" if root.suffix == ".npz" else "folder"
    stored = read_source(DataConfig(source=source, root=root), cache)
    table = find_table(root, stored)
    clusters = None
    if table and table.cluster:
        people, _ = read_metadata(table.config, stored)
        assert people is not None
        clusters = number_clusters(people, table.cluster)
    config = DataConfig(source=source, root=root)
    rows = cut_rows(
        Cut(
            labels=stored.labels,
            class_names=stored.class_names,
            own_split=stored.own_split,
            clusters=clusters,
            seed=0,
        ),
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        limit=None,
    )
    chosen = np.linspace(0, len(stored.labels) - 1, min(LOOKED_AT, len(stored.labels)))
    shapes = {tuple(stored.reader.read(int(row)).shape[-2:]) for row in chosen}
    per_class = Counter(stored.labels.tolist())
    return FoundImages(
        root=root,
        source=source,
        class_counts={name: per_class[n] for n, name in enumerate(stored.class_names)},
        counts={name: len(each) for name, each in rows.items()},
        own_splits=() if stored.own_split is None else tuple(dict.fromkeys(stored.own_split)),
        channels=stored.channels,
        sides=(min(map(min, shapes)), max(map(min, shapes))),
        same_size=len(shapes) == 1 and len(set(next(iter(shapes)))) == 1,
        table=table,
        notes=(*stored.notes, *describe_hidden(stored)),
    )
