"""The stages after a student's own: what follows from its settings without a choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autokd.balance import FIXED
from autokd.feature_losses import FEATURE_LOSSES
from autokd.losses import LOSSES, NEED_HARD_LABELS
from autokd.mitigation import BALANCED_SAMPLING, GROUP_DRO, NONE
from autokd.records import DONOR, PRETRAIN, Stage, StudentSpec, Training

USUAL_FEATURE_LOSS = "pooled"  # where the student's own stage compares no features
USUAL_LOSS = "kd"  # where the student's own loss needs labels


def donor_stage(donor: StudentSpec, training: Training) -> Stage:
    """A larger relative, published or trained on labels alone: once, for all that inherit from it."""
    return Stage(
        name=DONOR,
        student=donor,
        teachers=(),
        loss_weights={"ce": 1.0},
        temperature=1.0,
        training=training,
    )


def pretrain_stage(student: Stage, epochs: int, *, on_features: bool) -> Stage:
    """The same student and teachers, by a single loss on features or on logits.

    Hinton, Vinyals & Dean (2015, arXiv 1503.02531): a transfer set may be without labels. On features first, then on
    logits and labels: FitNets, Romero et al. (2015, arXiv 1412.6550), section 2.3. What needs labels or groups is left out, and
    patience too, since val accuracy does not tell how far it is.
    """
    return replace(
        student,
        name=PRETRAIN,
        training=replace(
            student.training, epochs=epochs, patience=None, label_smoothing=0.0, mixup=0.0, cutmix=0.0
        ),
        mitigation=NONE,
        balance=FIXED,
        teacher_warmup=0.0,
        teacher_until=1.0,
        **(_on_features(student) if on_features else _on_logits(student)),
    )  # fmt: skip


def _on_features(student: Stage) -> Mapping[str, Any]:
    own = (name for name in student.loss_weights if name in FEATURE_LOSSES)
    name = next(own, USUAL_FEATURE_LOSS)
    weight = student.loss_weights.get(name, FEATURE_LOSSES[name].weight)
    return {"loss_weights": {name: weight}, "temperature": 1.0, "loss_arguments": {}}


def _on_logits(student: Stage) -> Mapping[str, Any]:
    own = (n for n in student.loss_weights if n in LOSSES and n not in NEED_HARD_LABELS)
    name = next(own, USUAL_LOSS)
    arguments = {n: a for n, a in student.loss_arguments.items() if n == name}
    return {"loss_weights": {name: 1.0}, "loss_arguments": arguments, "taps": 1}


def prune_stage(student: Stage, pruned: StudentSpec, epochs: int) -> Stage:
    """The same lesson once more for what is left of the student, three times slower."""
    rate = student.training.learning_rate / 3
    training = replace(student.training, epochs=epochs, learning_rate=rate)
    return replace(
        student, name="prune", student=pruned, training=training, start_from=student.name
    )


def finetune_stage(student: Stage, epochs: int) -> Stage:
    """A last stage on labels alone, from the student's weights, ten times slower: the usual choice for fine-tuning.

    It keeps a mitigation that needs no teacher: without it, it would undo what that did.
    """
    kept = student.mitigation in (BALANCED_SAMPLING, GROUP_DRO)
    rate = student.training.learning_rate / 10
    training = replace(student.training, epochs=epochs, learning_rate=rate)
    return Stage(
        name="finetune",
        student=student.student,
        teachers=(),
        loss_weights={"ce": 1.0},
        temperature=1.0,
        training=training,
        start_from=student.name,
        mitigation=student.mitigation if kept else NONE,
    )
