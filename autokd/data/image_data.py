"""A labelled image set as all of autokd sees it: three splits, images without labels, and what is known of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autokd.data.copies import Part, describe_copies
from autokd.data.join import Join
from autokd.data.split import FurtherSet, Split
from autokd.data.views import Views
from autokd.records import UNLABELLED, DataInfo, content_hash

log = logging.getLogger(__name__)


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
    # images without labels, by where they come from: copies.REST or APART
    unlabelled: Mapping[str, Split] = field(default_factory=dict)
    transfer: Split | None = None  # train and all of those behind it; None: there are none
    # of data.also_test by name; the process that drives a search has them, its workers do not
    also_test: Mapping[str, FurtherSet] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # on how files were read

    def ids(self, split: Split) -> list[str]:
        """What a person finds each image by: its file, or else its row in the set."""
        if (split.rows == UNLABELLED).all():
            return [f"image {place} of data.unlabelled" for place in range(len(split))]
        rows = split.rows.tolist()
        return [self.files[row] if self.files else str(row) for row in rows]

    def say(self) -> None:
        """Log what was left out in reading, what a person might not expect, and which images occur twice."""
        splits = {"train": self.train, **self.unlabelled, "val": self.val, "test": self.test}
        parts = {name: self._part(split) for name, split in splits.items()}
        further = {
            name: Part(each.split.images, each.split.labels.tolist(), each.ids)
            for name, each in self.also_test.items()
        }
        notes = [*self.notes, *(note for each in self.also_test.values() for note in each.notes)]
        for note in (*notes, *describe_copies(self.info.name, parts, further)):
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
