"""`distill`, `schedule` and `train`: how a student learns, from whom, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from autokd.parameters import (
    FloatParameter,
    IntParameter,
    Positive,
    Section,
    TextParameter,
    within,
)


class DKDConfig(Section):
    """Decoupled KD's own weights, times `distill.weight`."""

    alpha: Annotated[FloatParameter, within(0)] = 1.0
    """Weight of the label's class against all others."""
    beta: Annotated[FloatParameter, within(0)] = 8.0
    """Weight of the others among themselves."""


class DISTConfig(Section):
    """DIST's own weights, times `distill.weight`."""

    beta: Annotated[FloatParameter, within(0)] = 1.0
    """Weight of the correlation between the classes of an image."""
    gamma: Annotated[FloatParameter, within(0)] = 1.0
    """Weight of the correlation between the images of a batch."""


class DistillConfig(Section):
    """How a student learns from its teacher."""

    loss: TextParameter = "kd"
    """The loss on logits; `features`: none, so that a teacher shows its features alone; `none` is a student of labels alone."""
    temperature: Annotated[FloatParameter, within(0, above=True)] = 4.0
    """Divides the logits of both before they become probabilities."""
    weight: Annotated[FloatParameter, within(0, above=True)] = 0.9
    """Weight of the loss on logits."""
    label_weight: Annotated[FloatParameter, within(0)] = 0.1
    """Weight of the cross-entropy with labels."""
    dkd: DKDConfig = DKDConfig()
    """Weights of the loss `dkd`."""
    dist: DISTConfig = DISTConfig()
    """Weights of the loss `dist`."""
    feature_loss: TextParameter = "none"
    """A second loss, on what teacher and student make of an image before they classify it."""
    feature_weight: Annotated[FloatParameter, within(0, above=True)] = 1.0
    """Factor of the feature loss's usual weight."""
    taps: Annotated[IntParameter, within(1, 3)] = 1
    """How many maps a feature loss compares, from the last one back."""
    balance: TextParameter = "fixed"
    """Labels against teacher: as weighted, the teacher's part falling to 0, or even gradients."""
    warmup: Annotated[FloatParameter, within(0, 1)] = 0.0
    """Share of the epochs over which the teacher's losses come in."""
    until: Annotated[FloatParameter, within(0, 1, above=True)] = 1.0
    """Share of the epochs after which labels alone remain."""
    mitigation: TextParameter = "none"
    """What is done for groups that lose more than others."""
    mfd_weight: Annotated[FloatParameter, within(0, above=True)] = 0.1
    """Weight of the loss of the mitigation `mfd`."""


class ScheduleConfig(Section):
    """Which stages a candidate has: teacher → assistants → student without labels → student → fine-tuning."""

    assistants: Annotated[IntParameter, within(0, 2)] = 0
    """How many models stand between teacher and student in cost."""
    assistant_epochs: Positive | None = None
    """Epochs of an assistant; by default as many as the student has."""
    guidance: TextParameter = "chain"
    """Who teaches where there are assistants: the next larger one (`chain`), or all that are larger (`dense`)."""
    teacher_drop: Annotated[FloatParameter, within(0, 0.9)] = 0.0
    """With `dense`: how likely each teacher is left out of a step."""
    pretrain_epochs: Annotated[IntParameter, within(0)] = 0
    """Epochs of a first stage in which a student learns from its teachers without labels; 0: none."""
    pretrain_on: TextParameter = "logits"
    """What it learns there: the teachers' `logits`, or their `features`."""
    donor_epochs: Annotated[int, Field(ge=0)] | None = None
    """Epochs on labels of a larger model that heirs inherit from; by default 0 for a published one, else the student's."""
    prune_epochs: Positive | None = None
    """Epochs of what is left after pruning; by default a third of the student's."""
    finetune_epochs: Annotated[IntParameter, within(0)] = 0
    """Epochs of a last stage on labels alone."""


class TrainConfig(Section):
    """How students are optimised."""

    epochs: Annotated[IntParameter, within(1)] = 10
    """Passes over train."""
    batch_size: Annotated[IntParameter, within(2)] = 128
    """Images a step."""
    optimizer: TextParameter = "adamw"
    """One of timm's optimisers."""
    learning_rate: Annotated[FloatParameter, within(0, above=True)] = 1e-3
    """The highest; it rises over a tenth of the steps and falls as a cosine."""
    weight_decay: Annotated[FloatParameter, within(0)] = 0.05
    """Weight decay of the optimiser."""
    label_smoothing: Annotated[FloatParameter, within(0, 0.9)] = 0.0
    """Share of each label that is spread over all classes."""
    drop_rate: Annotated[FloatParameter, within(0, 0.9)] = 0.0
    """Dropout before the classifier."""
    drop_path_rate: Annotated[FloatParameter, within(0, 0.9)] = 0.0
    """Stochastic depth: how likely the last block is left out of a step."""
    mixup: Annotated[FloatParameter, within(0)] = 0.0
    """Alpha of mixup, 0 for none. Mixed images ask the teacher live, which costs time."""
    cutmix: Annotated[FloatParameter, within(0)] = 0.0
    """Alpha of CutMix, 0 for none. Likewise."""
    ema: Annotated[FloatParameter, within(0, 0.99999)] = 0.0
    """Decay of averaged weights, which are then what is measured and kept; 0 for none."""
    clip_norm: Annotated[FloatParameter, within(0)] = 0.0
    """The longest that a gradient may be; 0 for any length."""
    augmentation: TextParameter = "light"
    """How images are varied."""
    patience: Positive | None = None
    """Stop after so many epochs without a better val accuracy; by default never."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What students are trained in; `auto` is bf16 on a GPU that has it."""
