"""The teacher of a search: loaded or trained, measured, put into the data's order of classes, several as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autokd.answers import Mixture, Teacher
from autokd.appraisal import refuse_no_logits
from autokd.class_order import Reordered, places_in
from autokd.config import TeacherConfig
from autokd.cost import Probe, sum_costs
from autokd.data.load import ImageData
from autokd.evaluation import Evaluation, predict, score
from autokd.records import Stage, TeacherInfo, content_hash
from autokd.shared import NOWHERE, Shared
from autokd.students import InputFormat, by_contents
from autokd.teachers.describe import (
    describe_teacher,
    measure_teacher,
    shown_to,
    training_key,
)
from autokd.teachers.elsewhere import taken_as_it_is
from autokd.teachers.head import fit_head
from autokd.teachers.start import begin, weights_of
from autokd.teachers.train import DONE, train_once
from autokd.teachers.words import describe_source

TRAINED = "teachers"  # the folder of those that were trained here


def load_teacher(
    config: TeacherConfig,
    data: ImageData,
    *,
    cache: Path,
    seed: int,
    device: torch.device,
    shared: Shared = NOWHERE,
    probe: Probe | None = None,
) -> tuple[Teacher, TeacherInfo]:
    """The teacher of a search and its measurements, with its latency if there is a `probe`; trained first where the search file says so.

    Raises CheckpointError where weights are missing, don't fit or want to run code.
    """
    if config.ensemble:
        return _load_ensemble(
            config, data, cache=cache, seed=seed, device=device, shared=shared, probe=probe
        )
    stage = describe_teacher(config, data)
    spec = stage.student
    inputs = shown_to(config, spec, data)
    if config.train:
        teacher = _trained(
            config, stage, inputs, data, cache=cache, seed=seed, device=device, shared=shared
        )
    else:
        teacher = taken_as_it_is(config, spec, inputs, data, device)
    if config.classes:
        teacher = _in_order_of(data, config.classes, teacher)
    teacher = _answering_in(config.precision, teacher)
    measured = _measure(teacher, data)
    return teacher, TeacherInfo(
        name=spec.model,
        hash=teacher.hash,
        cost=measure_teacher(config, data, probe=probe, cache=cache),
        val_accuracy=measured.accuracy,
        source=describe_source(config, stage),
    )


def _trained(
    config: TeacherConfig,
    stage: Stage,
    inputs: InputFormat,
    data: ImageData,
    *,
    cache: Path,
    seed: int,
    device: torch.device,
    shared: Shared,
) -> Teacher:
    """From nothing, or from published weights and a classifier that a regression found."""
    weights = weights_of(config, stage.student, data)
    key = training_key(stage, inputs, data, seed, weights=weights)

    def start() -> nn.Module:
        model, _ = begin(config, stage, inputs, data)
        features = content_hash([by_contents(stage.student).identity(), *weights])
        fit_head(
            model, inputs=inputs, data=data, weights=features, device=device, cache=cache,
            shared=shared, needed=stage.training.epochs == 0,
        )  # fmt: skip
        return model

    return train_once(
        stage, [], data=data, inputs=inputs, key=key, folder=cache / TRAINED, device=device,
        cache=cache, shared=shared, begin=start if config.fine_tuned else None,
    )  # fmt: skip


def _load_ensemble(
    config: TeacherConfig, data: ImageData, *, seed: int, device: torch.device, **places: Any
) -> tuple[Teacher, TeacherInfo]:
    """Its members, each trained from a seed of its own where they are, and all of them measured as one."""
    loaded = [
        load_teacher(member, data, seed=seed + place, device=device, **places)
        for place, member in enumerate(config.ensemble)
    ]
    members, infos = [teacher for teacher, _ in loaded], [info for _, info in loaded]
    weights = [member.weight for member in config.ensemble]
    channels = data.info.channels
    teacher = Teacher(
        Mixture(members, weights),
        InputFormat(  # pixels as they are: 0..255
            image_size=data.info.image_size, mean=(0.0,) * channels, std=(1 / 255,) * channels
        ),
        content_hash([[member.hash, member.inputs.identity()] for member in members] + weights),
        device,
        notes=tuple(note for member in members for note in member.notes),
    )
    teacher = _answering_in(config.precision, teacher)
    measured = _measure(teacher, data)
    return teacher, TeacherInfo(
        name=" + ".join(info.name for info in infos),
        hash=teacher.hash,
        cost=sum_costs([info.cost for info in infos]),
        val_accuracy=measured.accuracy,
        source="ensemble: " + ", ".join(info.source for info in infos),
    )


def needs_training(config: TeacherConfig, data: ImageData, *, cache: Path, seed: int) -> bool:
    """Whether `load_teacher` would train: the search file says so, and nobody has yet."""
    kept = kept_in(config, data, cache=cache, seed=seed)
    return len(kept) < sum(member.train is not None for member in config.members)


def kept_in(config: TeacherConfig, data: ImageData, *, cache: Path, seed: int) -> list[Path]:
    """The folders of its members that have been trained."""
    homes = [
        cache / TRAINED / _key(member, data, seed + place)
        for place, member in enumerate(config.members)
        if member.train
    ]
    return [home for home in homes if (home / DONE).exists()]


def load_those_at_hand(
    config: TeacherConfig, data: ImageData, *, cache: Path, seed: int, device: torch.device
) -> tuple[str, ...]:
    """Raise what `load_teacher` would raise, but for what training itself may bring; what is said of weights."""
    notes: list[str] = []
    for place, member in enumerate(config.members):
        if not needs_training(member, data, cache=cache, seed=seed + place):
            loaded, _ = load_teacher(member, data, cache=cache, seed=seed + place, device=device)
            notes += loaded.notes
        elif member.fine_tuned:
            stage = describe_teacher(member, data)
            notes += begin(member, stage, shown_to(member, stage.student, data), data)[1]
    return tuple(notes)


def _key(config: TeacherConfig, data: ImageData, seed: int) -> str:
    stage = describe_teacher(config, data)
    inputs, weights = shown_to(config, stage.student, data), weights_of(config, stage.student, data)
    return training_key(stage, inputs, data, seed, weights=weights)


def _in_order_of(data: ImageData, classes: tuple[str, ...], teacher: Teacher) -> Teacher:
    """A teacher whose logits stand in the order of `classes`, with its logits in the data's order."""
    order = places_in(data.info.class_names, classes, "teacher.classes")
    if (order == np.arange(len(order))).all():
        return teacher
    model = Reordered(teacher.model, order)
    return replace(teacher, model=model, hash=content_hash([teacher.hash, order.tolist()]))


def _measure(teacher: Teacher, data: ImageData) -> Evaluation:
    """On val. Raises CheckpointError where its answers are no logits."""
    logits = predict(teacher.model, data.val, inputs=teacher.inputs, device=teacher.device)
    refuse_no_logits(teacher.model, logits)
    return score(logits, data.val.labels)


def _answering_in(precision: str, teacher: Teacher) -> Teacher:
    """What it says differs in the last digits, so that it is another teacher."""
    if precision == "auto":
        return teacher
    return replace(teacher, precision=precision, hash=content_hash([teacher.hash, precision]))
