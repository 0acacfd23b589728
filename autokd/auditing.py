"""Audits of a task's models: what they say about a split, group by group. The figures are made in autokd.fairness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from autokd.data import ImageData, Split, Thumbnails, number_clusters
from autokd.fairness.audit import Audit, audit
from autokd.fairness.groups import Attribute, class_attribute, read_attributes
from autokd.fairness.judgement import required_groups
from autokd.generalisation import Endurance, attribution_agreement, corruption_robustness, endure
from autokd.records import TEACHER, AuditPolicy
from autokd.students import InputFormat
from autokd.task import Task
from autokd.teachers import Teacher

SELECTION = (
    "Val chose this student among all trials of its search, so its figures flatter it; "
    "a member of the front has a second audit on test, which chose nothing."
)
UNTOUCHED = "Test was looked at once for this student, after the search had ended."
FURTHER = (
    "This set (data.also_test) chose nothing: it was looked at after the search had ended. "
    "Groups that audits require are asked of val and test alone."
)


def check_audit(policy: AuditPolicy, data: ImageData) -> None:
    """Raises, before anything is trained, what an audit of these data would raise."""
    required_groups(_attributes(policy, data, data.val), policy.required)
    for further in data.also_test.values():
        _attributes(policy, data, further.split)


def _attributes(policy: AuditPolicy, data: ImageData, split: Split) -> tuple[Attribute, ...]:
    groups = audit_groups(data, split)
    if groups is None:
        return (class_attribute(split.labels.numpy(), data.info.class_names),)
    return read_attributes(groups, len(split), intersections=policy.intersections)


def audit_teacher(task: Task) -> Audit:
    """The teacher alone on val, before anything is distilled from it."""
    title = f"Teacher {task.teacher_info.name}"
    return _audit(task, "val", title=title, teacher=task.answers(task.teacher, "val"))


def audit_student(
    task: Task,
    *,
    split_name: str,
    title: str,
    student: Tensor,
    teachers: Mapping[str, Teacher],
    model_hash: str,
    generalisation: Mapping[str, Any] | None = None,
    student_seeds: Sequence[Tensor] = (),
) -> Audit:
    """A student on val, test or a further set against all who taught it. Its logits are (N, C) in the split's order.

    `student_seeds` are those of the same student trained from several seeds, itself among them.
    """
    answers = {name: task.answers(teacher, split_name) for name, teacher in teachers.items()}
    return _audit(
        task,
        split_name,
        title=title,
        teacher=answers.pop(TEACHER),
        student=student,
        assistants=answers,
        note={"val": SELECTION, "test": UNTOUCHED}.get(split_name, FURTHER),
        model_hash=model_hash,
        generalisation=generalisation,
        student_seeds=student_seeds,
    )


def audit_groups(data: ImageData, split: Split) -> dict[str, NDArray[Any]] | None:
    """Column -> N values; None: the classes are the groups."""
    if not data.groups or split.metadata is None:
        return None
    return {name: split.metadata[name].to_numpy() for name in data.groups}


def _audit(
    task: Task,
    split_name: str,
    *,
    title: str,
    teacher: Tensor,
    student: Tensor | None = None,
    assistants: Mapping[str, Tensor] | None = None,
    note: str | None = None,
    model_hash: str | None = None,
    generalisation: Mapping[str, Any] | None = None,
    student_seeds: Sequence[Tensor] = (),
) -> Audit:
    data, split = task.data, task.split(split_name)
    further = data.also_test.get(split_name)
    cluster, ids = None, list(further.ids) if further else data.ids(split)
    join = further.join if further else data.join
    if data.cluster and split.metadata is not None:
        cluster = number_clusters(split.metadata, data.cluster)
    return audit(
        split.labels.numpy(),
        None if student is None else _probabilities(student),
        teacher=_probabilities(teacher),
        assistants={name: _probabilities(logits) for name, logits in (assistants or {}).items()},
        groups=audit_groups(data, split),
        cluster=cluster,
        class_names=data.info.class_names,
        ids=ids,
        student_seeds=[logits.argmax(dim=-1).numpy() for logits in student_seeds] or None,
        policy=replace(task.policy, required=()) if further else task.policy,
        about={
            "title": title,
            "split": split_name,
            "join": join and join.to_dict(),
            "notes": [note] if note else [],
            "thumbnails": Thumbnails(split.images, ids) if task.thumbnails else None,
            "hashes": {
                "data": further.hash if further else data.info.hash,
                "teacher": task.teacher_info.hash,
                "model": model_hash,
            },
            "generalisation": generalisation,
        },
    )


def _probabilities(logits: Tensor) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = logits.double().softmax(dim=-1).numpy()
    return probabilities


def look_beside_groups(model: nn.Module, inputs: InputFormat, task: Task) -> dict[str, Any] | None:
    """What accuracy by group does not show, on test: worse images, and what the models look at.

    All students are shown the same images, worse in the same way.
    """
    if not task.robustness_images:
        return None
    split, teacher, seed = task.data.test, task.teacher, task.policy.seed
    groups = audit_groups(task.data, split)

    def test(model: nn.Module, inputs: InputFormat) -> Endurance:
        images = task.robustness_images
        return endure(model, split, inputs=inputs, device=task.device, seed=seed, max_images=images)

    of_teacher = task.remember("endurance", lambda: test(teacher.model, teacher.inputs))
    return {
        "corruptions": corruption_robustness(test(model, inputs), of_teacher, groups=groups),
        "attribution": attribution_agreement(
            model,
            teacher.model,
            split,
            student_inputs=inputs,
            teacher_inputs=teacher.inputs,
            device=task.device,
            groups=groups,
            seed=seed,
        ),
    }
