"""`data`: a labelled image set, and a table about its images."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from autokd.parameters import ClassNames, Fraction, Positive, Section

_SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_SPLIT_NAMES = ("train", "val", "test", "unlabelled")


class MetadataConfig(Section):
    """A table about the images, one row an image: who is on them, which camera made them."""

    path: Path | None = None
    """A CSV or Parquet file; without it, columns that the set brings itself."""
    key: str = "index"
    """The column that names an image: its path or a part of it (`cat/7.png`, `7.png`, `7`), or its row number from 0."""
    groups: tuple[str, ...] = ()
    """Columns that audits compare."""
    cluster: str | None = None
    """The column of what must not be split up: patient, writer, speaker."""
    bands: dict[str, Annotated[tuple[float, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """Where group columns of numbers are cut: `age: [18, 40, 65]`."""

    @model_validator(mode="after")
    def _check(self) -> MetadataConfig:
        for name, edges in self.bands.items():
            if name not in self.groups:
                raise ValueError(f"bands.{name} is no group; add '{name}' to groups")
            if name == self.cluster:
                raise ValueError(f"bands.{name} is the cluster, which must stay as it is")
            if not all(low < high for low, high in pairwise([-math.inf, *edges, math.inf])):
                shown = ", ".join(f"{edge:g}" for edge in edges)
                raise ValueError(f"bands.{name} must be rising numbers, got [{shown}]")
        return self


class AlsoTestConfig(Section):
    """A further labelled set with a table about its images."""

    root: Path
    """Its folder or file."""
    metadata: Path | None = None
    """A table with the columns that `data.metadata` names; without it, columns that the set brings itself."""


def _as_section(value: object) -> object:
    """A path alone is the set's root."""
    if isinstance(value, (str, Path)) and str(value):
        return {"root": value}
    if not isinstance(value, (Mapping, AlsoTestConfig)):
        raise ValueError(f"must be a folder or a file, got {value!r}")
    return value


AlsoTest = Annotated[
    AlsoTestConfig, BeforeValidator(_as_section, json_schema_input_type=Path | AlsoTestConfig)
]


class DataConfig(Section):
    """A labelled image set. Val and test are cut from train where the set does not bring them."""

    source: Annotated[str, Field(min_length=1)]
    """Where the images come from."""
    root: Path | None = None
    """Where the files are, or may be downloaded to."""
    name: str | None = None
    """Name of a Hugging Face data set on the hub, or a folder in one of its layouts (`source: hf`)."""
    subset: str | None = None
    """Which of such a set's configurations, where it has several."""
    image_column: str | None = None
    """The column of images of such a set; by default the only one that could be."""
    label_column: str | None = None
    """The column of labels of such a set, likewise: numbers or texts."""
    classes: ClassNames | None = None
    """All classes in the order in which a model's outputs stand; by default as the source has them, folders as Python sorts their names."""
    image_size: Positive | None = None
    """Pixels that images are loaded at; by default as they are stored."""
    channels: Literal[1, 3] | None = None
    """Grey or colour; by default as they are stored."""
    val_fraction: Fraction = 0.15
    """Share of train that becomes val where the set has none."""
    test_fraction: Fraction = 0.15
    """Share that becomes test where the set has none."""
    limit: Positive | None = None
    """At most so many training images (val included), drawn by class."""
    per_class: Positive | None = None
    """So many images of each class of train keep their labels, drawn by the seed; val and test stay as they are."""
    rest: Literal["unlabelled", "drop"] = "unlabelled"
    """What becomes of train's other images beside `per_class`: students learn what teachers say about them, or they are left out."""
    copies: Literal["keep", "drop"] = "keep"
    """What becomes of images that occur twice: named only, or taken out of train and val, and out of both where two classes hold them."""
    flip: bool = True
    """Whether a mirrored image keeps its label; `false` for digits and text."""
    views: Positive = 4
    """Augmented versions of each image, drawn once and used by all trials."""
    unlabelled: Path | None = None
    """Further images without labels, a folder or an `.npz` file: students learn what teachers say about them."""
    also_test: dict[str, AlsoTest] = Field(default_factory=dict)
    """Further labelled sets of these classes by name (`night: images_at_night`): the finished front is tested on each, and nothing is chosen by them."""
    loader_processes: Annotated[int, Field(ge=0)] = 2
    """Processes that read images, for sets too large for memory."""
    metadata: MetadataConfig | None = None
    """The table about the images."""

    @field_validator("also_test", mode="before")
    @classmethod
    def _check_names(cls, sets: object) -> object:
        if not isinstance(sets, Mapping):
            raise ValueError(
                f"must be names with folders or files, as in {{night: DIR}}, got {sets!r}"
            )
        lowered = [str(name).lower() for name in sets]
        for name, lower in zip(sets, lowered, strict=True):
            if not (isinstance(name, str) and _SET_NAME.fullmatch(name)):
                raise ValueError(
                    f"{name!r} can't name a set: a text of letters, digits, _ and -, 40 at most, can"
                )
            if lower in _SPLIT_NAMES:
                raise ValueError(f"another part of the data is called {name!r}; take another name")
            if lowered.count(lower) > 1:
                raise ValueError(f"another name differs from {name!r} in case alone; rename one")
        return sets

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        for key in ("subset", "image_column", "label_column"):
            if self.source != "hf" and getattr(self, key):
                raise ValueError(f"{key} is for source hf, not {self.source}; leave it out")
        if self.rest == "drop" and self.per_class is None:
            raise ValueError("rest: drop is for what per_class leaves over; give per_class too")
        return self

    @property
    def without_labels(self) -> str | None:
        """The key that adds images without labels; None: there are none."""
        kept = self.per_class is not None and self.rest == "unlabelled"
        return "unlabelled" if self.unlabelled else "per_class" if kept else None
