"""Models that students inherit from: the search's teacher, an assistant, or a donor, published or trained once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from autokd.answers import Teacher
from autokd.config import TeacherConfig
from autokd.data import ImageData
from autokd.records import (
    DONOR,
    Candidate,
    Stage,
    StudentSpec,
    content_hash,
)
from autokd.students import by_contents, inherit, is_own
from autokd.task import Task
from autokd.teachers import create, describe_teacher, shown_to, train_once
from autokd.weights import classifiers_of, start_small

TRAINED = "donors"  # the folder of those that were trained here


def teacher_as_donor(config: TeacherConfig, data: ImageData) -> StudentSpec | None:
    """The search's teacher with what its pixels are normalised by; None: one that no student can inherit from.

    That is an ensemble, own code, and one whose classifier has the classes in another order.
    """
    in_order = config.classes is None or config.classes == data.info.class_names
    if config.model is None or is_own(config.model) or not in_order:
        return None
    spec = describe_teacher(config, data).student
    inputs = shown_to(config, spec, data)
    return replace(spec, mean=inputs.mean, std=inputs.std)


def find_donor(
    stage: Stage, candidate: Candidate, teachers: Mapping[str, Teacher], task: Task
) -> Teacher | None:
    """The model that a stage's student inherits from; None: it goes on with weights of its own, or with random ones."""
    if stage.start_from == DONOR:
        return find_or_train_donor(candidate.stage(DONOR), task)
    return teachers.get(stage.start_from or "")


def find_or_train_donor(stage: Stage, task: Task) -> Teacher:
    """Named by what makes it, as assistants are; a published one that is not trained is loaded."""
    inputs = task.inputs(stage.student)
    named = replace(stage, student=by_contents(stage.student))
    key = content_hash([named.identity(), inputs.identity(), task.data.drawing()])

    def make() -> Teacher:
        if not stage.training.epochs:
            return Teacher(create(stage, task.data, start=True), inputs, key, task.device)
        return train_once(
            stage, [], data=task.data, inputs=inputs, key=key, folder=task.cache / TRAINED,
            device=task.device, cache=task.cache, shared=task.shared,
        )  # fmt: skip

    return task.remember(f"donor {key}", make)


def inherit_from(donor: Teacher, model: nn.Module, stage: Stage, candidate: Candidate) -> nn.Module:
    """The stage's student, in place, with its donor's weights; the classifier's too, where that was trained on the data's classes."""
    is_trained = stage.start_from != DONOR or candidate.stage(DONOR).training.epochs > 0
    inherit(model, donor.model, classifier=is_trained)
    if not is_trained:
        classes: Any = model.num_classes
        start_small(model, classifiers_of(model, classes))
    return model
