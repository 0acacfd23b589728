"""`teacher`: what students learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from autokd.parameters import ClassNames, Positive, Section


class TeacherTrainConfig(Section):
    """Train the teacher on the search's train split, once; the next search finds it."""

    epochs: Positive = 20
    """Passes over train."""
    batch_size: Positive = 128
    """Images a step."""
    optimizer: str = "adamw"
    """One of timm's optimisers."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """The highest; it rises over a tenth of the steps and falls as a cosine."""
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
    pretrained: bool = False
    """Take timm's published weights."""
    train: TeacherTrainConfig | None = None
    """Train it first, with these settings."""
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
        ways = ("checkpoint", "pretrained", "train", "ensemble")
        given = [name for name in ways if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                "give exactly one of checkpoint, pretrained: true, train and ensemble, "
                f"got {' and '.join(given) or 'none'}"
            )
        if self.classes and not (self.checkpoint or self.pretrained):
            raise ValueError(
                "classes are for weights made elsewhere (checkpoint, pretrained): what is trained "
                "here has the data's order, and members of an ensemble have one each"
            )
        if self.ensemble and self.model:
            raise ValueError("an ensemble has no model of its own; give each member one")
        if not self.ensemble and not self.model:
            raise ValueError("model is missing; give a timm name or a family")
        if self.ensemble and (len(self.ensemble) < 2 or any(m.ensemble for m in self.ensemble)):
            raise ValueError("an ensemble needs two members or more, none of them an ensemble")
        return self
