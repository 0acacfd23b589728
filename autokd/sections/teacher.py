"""`teacher`: what students learn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from autokd.parameters import ClassNames, Positive, Section

# What else is by default where published weights are fine-tuned; measured by benchmarks/fine_tuning.py.
FINE_TUNING: Mapping[str, Any] = {
    "epochs": 10, "batch_size": 32, "learning_rate": 3e-4, "body_rate": 0.3,
}  # fmt: skip


class LastBlocks(Section):
    """The last blocks of a model and its classifier."""

    last: Positive
    """How many: stages of a convolutional net, blocks of a transformer."""


def _refuse_other(value: object) -> object:
    if isinstance(value, (Mapping, LastBlocks)) or value in ("head", "all"):
        return value
    raise ValueError(f"must be head, all or {{last: N}}, got {value!r}")


def _kind(value: object) -> str:
    return "last_blocks" if isinstance(value, (Mapping, LastBlocks)) else "part"


Part = Annotated[
    Annotated[Literal["head", "all"], Tag("part")] | Annotated[LastBlocks, Tag("last_blocks")],
    Discriminator(_kind),
    BeforeValidator(_refuse_other),
]


class TeacherTrainConfig(Section):
    """Train the teacher on the search's train split, once; the next search finds it."""

    what: Part | None = None
    """What of published weights is trained: the classifier alone (`head`: a regression on features, with no epochs), everything (`all`), or `{last: N}` blocks and the classifier. By default what suits so many images."""
    epochs: Positive = 20
    """Passes over train; by default 10 where published weights are fine-tuned."""
    batch_size: Positive = 128
    """Images a step; by default 32 where published weights are fine-tuned."""
    optimizer: str = "adamw"
    """One of timm's optimisers."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """The highest; it rises over a tenth of the steps and falls as a cosine. By default 3e-4 where published weights are fine-tuned."""
    body_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of the learning rate of published weights, beside the classifier's; by default 0.3 where they are fine-tuned. Below 1 their batch norms keep the statistics that they have."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Weight decay of the optimiser."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread over all classes."""
    augmentation: str = "light"
    """How images are varied."""
    patience: Positive | None = None
    """Stop after so many epochs without a better val accuracy; by default never."""


class TeacherConfig(Section):
    """A model that students learn from: a checkpoint, pretrained weights, one to be trained, or several of these."""

    model: str | None = None
    """A timm name, a family, or `module:function` of one's own."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What the model is made with: a family's width and depth, timm's keyword arguments."""
    image_size: Positive | None = None
    """Pixels that it wants; by default the data's."""
    checkpoint: Path | None = None
    """Its weights: a `.safetensors` file, or a plain state dict."""
    pretrained: bool | Path = False
    """Take published weights: timm's, or a file's. With `train` they are fine-tuned; without, their classes must be the data's."""
    averaged: bool | None = None
    """Of a file that holds both, take the averaged weights (EMA) or the raw ones; by default the averaged."""
    train: TeacherTrainConfig | None = None
    """Train it first, with these settings: from nothing, or with `pretrained` from published weights."""
    classes: ClassNames | None = None
    """The data's classes in the order in which its logits come; by default the data's order."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel (0..1) that it was trained with; by default the data's, or the pretrained weights'."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel, likewise."""
    ensemble: tuple[TeacherConfig, ...] = ()
    """Several teachers; the weighted mean of their probabilities is what they say."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Its weight in an ensemble."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What it answers students in; `auto` is bf16 on a GPU that has it. Some CPUs have it too."""

    @property
    def members(self) -> tuple[TeacherConfig, ...]:
        """Itself, unless it is an ensemble."""
        return self.ensemble or (self,)

    @property
    def fine_tuned(self) -> bool:
        """Whether it begins with published weights and is trained here."""
        return bool(self.pretrained and self.train)

    @model_validator(mode="before")
    @classmethod
    def _fine_tune(cls, given: Any) -> Any:
        """Other defaults hold for training where it begins with published weights."""
        if not isinstance(given, Mapping) or not given.get("pretrained"):
            return given
        train = given.get("train")
        if isinstance(train, TeacherTrainConfig):
            train = train.model_dump(exclude_unset=True)
        return {**given, "train": {**FINE_TUNING, **train}} if isinstance(train, Mapping) else given

    @field_validator("mean", "std")
    @classmethod
    def _check_pixels(
        cls, values: tuple[float, ...] | None, info: ValidationInfo
    ) -> tuple[float, ...] | None:
        """Of pixels in 0..1. A std of 1 leaves them as they are."""
        zero_allowed = info.field_name == "mean"
        if values is None or all(0 <= v <= 1 and (v or zero_allowed) for v in values):
            return values
        if all(0 <= v <= 255 for v in values) and max(values) > 1:
            divided = ", ".join(f"{v / 255:.3g}" for v in values)
            raise ValueError(f"is of pixels in 0..255; divide it by 255: [{divided}]")
        allowed = "from 0 to 1" if zero_allowed else "above 0 and at most 1"
        raise ValueError(f"must be {allowed}, as pixels are in 0..1, got {list(values)}")

    @model_validator(mode="after")
    def _check(self) -> TeacherConfig:
        self._refuse_ways()
        if self.classes and (self.train or not (self.checkpoint or self.pretrained)):
            raise ValueError(
                "classes are for weights made elsewhere (checkpoint, pretrained): what is trained "
                "here has the data's order, and members of an ensemble have one each"
            )
        if self.averaged is not None and not self.checkpoint and isinstance(self.pretrained, bool):
            raise ValueError(
                "averaged is for a file that holds averaged and raw weights; give it beside "
                "checkpoint or pretrained: FILE"
            )
        if self.ensemble and self.model:
            raise ValueError("an ensemble has no model of its own; give each member one")
        if not self.ensemble and not self.model:
            raise ValueError("model is missing; give a timm name or a family")
        if self.ensemble and (len(self.ensemble) < 2 or any(m.ensemble for m in self.ensemble)):
            raise ValueError("an ensemble needs two members or more, none of them an ensemble")
        return self

    def _refuse_ways(self) -> None:
        """Raises ValueError unless one way leads to a teacher."""
        ways = ("checkpoint", "pretrained", "train", "ensemble")
        given = [name for name in ways if getattr(self, name)]
        if given == ["checkpoint", "train"]:
            raise ValueError(
                "checkpoint is taken as it is; to fine-tune its weights give pretrained: FILE in its place"
            )
        if len(given) != 1 and not (self.fine_tuned and len(given) == 2):
            raise ValueError(
                "give exactly one of checkpoint, pretrained, train and ensemble, or pretrained with "
                f"train to fine-tune, got {' and '.join(given) or 'none'}"
            )
        if self.train and not self.pretrained:
            given = [name for name in ("what", "body_rate") if name in self.train.model_fields_set]
            if self.train.what is not None or self.train.body_rate != 1:
                raise ValueError(
                    f"train.{given[0]} is for published weights, and this teacher is trained from "
                    "nothing; add pretrained: true or pretrained: FILE, or leave it out"
                )
