"""The stages before and after a student's own: what follows from its settings without a choice."""

from __future__ import annotations

from dataclasses import replace

from autokd.mitigation import BALANCED_SAMPLING, GROUP_DRO, NONE
from autokd.records import DONOR, Stage, StudentSpec, Training


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
