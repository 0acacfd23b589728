"""What a teacher begins with: published weights from the hub or a file, or those that own code returns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from autokd.config import TeacherConfig
from autokd.data.load import ImageData
from autokd.errors import CheckpointError
from autokd.records import PRETRAINED, Stage, StudentSpec
from autokd.students import InputFormat, Published, fit_start, is_own
from autokd.students.parts import classifiers, freeze_all_but_last
from autokd.teachers.build import build_student
from autokd.teachers.describe import published_of
from autokd.teachers.head import readout
from autokd.teachers.words import describe_pixels, describe_trained
from autokd.weights import hash_weights, read_weights

log = logging.getLogger(__name__)


def begin(
    config: TeacherConfig, stage: Stage, inputs: InputFormat, data: ImageData
) -> tuple[nn.Module, tuple[str, str]]:
    """Return a model with the weights that it is fine-tuned from, and a new classifier where theirs is of other classes.

    Beside it two lines, which are logged too: what was loaded, left and new; what is trained and what it is shown. Raises
    CheckpointError where weights can't be had or are of another model, ConfigError where what is to be trained can't be.
    """
    spec, known = stage.student, published_of(config)
    if config.pretrained is not True:
        model, said = from_file(config, spec, data)
    elif is_own(spec.model):
        model, said = build_student(spec, data), f"weights that {spec.model} returns"
    else:
        model, said = from_hub(config, spec, data)
    what, shown = describe_trained(stage.training), describe_pixels(config, inputs, known, data)
    blocks = stage.training.trained_blocks
    how = ", a regression without epochs" if blocks == 0 else ""
    notes = (said, f"fine-tuning {what}{how}; {shown}")
    for note in notes:
        log.info("teacher: %s", note)
    if blocks == 0:
        readout(model, inputs, data)
    elif blocks is not None:
        freeze_all_but_last(model, blocks)
        model.requires_grad_(True)
    return model, notes


def from_hub(config: TeacherConfig, spec: StudentSpec, data: ImageData) -> tuple[nn.Module, str]:
    """timm's published weights, and what is said of them. Raises CheckpointError."""
    known, classes = published_of(config), len(data.info.class_names)
    if known is None:
        raise CheckpointError(
            f"teacher.pretrained: timm has no weights of {spec.model}; give pretrained: FILE, or leave it out and "
            "train the teacher from nothing"
        )
    try:
        model = build_student(replace(spec, start=PRETRAINED), data, start=True)
    except CheckpointError as error:
        raise CheckpointError(
            f"teacher.pretrained: weights of {spec.model} can't be had: {error.__cause__ or error}; "
            "give pretrained: FILE, a local copy of them"
        ) from None
    said = f"{known.source or spec.model}: {len(model.state_dict())} tensors of published weights"
    if known.classes != classes:
        said += f"; new: the classifier ({_count(known)} before)"
    return model, said


def refuse_other_classes(config: TeacherConfig, spec: StudentSpec, data: ImageData) -> None:
    """Raises CheckpointError where published weights that are taken as they are know other classes. Nothing is fetched."""
    known, classes = published_of(config), len(data.info.class_names)
    if known and known.classes != classes:
        raise CheckpointError(
            f"teacher.pretrained: {spec.model} knows {_count(known)} and the data has {classes}; "
            "add `train: {}` beside pretrained to fine-tune it"
        )


def _count(known: Published) -> str:
    return f"{known.classes:,} classes" if known.classes else "no classes"


def from_file(config: TeacherConfig, spec: StudentSpec, data: ImageData) -> tuple[nn.Module, str]:
    model, path = build_student(spec, data), Path(str(config.pretrained))
    try:
        loaded = fit_start(
            model,
            read_weights(path, averaged=config.averaged is not False),
            name=spec.model,
            classes=len(data.info.class_names),
            channels=data.info.channels,
        )
    except CheckpointError as error:
        raise CheckpointError(f"teacher.pretrained {error}") from error
    return model, loaded.sentence()


def weights_of(config: TeacherConfig, spec: StudentSpec, data: ImageData) -> list[str]:
    """Return what names the weights that a teacher begins with, beside a file's contents.

    Own code may load them from anywhere, and has to return the same each time; its classifier may be new.
    """
    if not config.pretrained:
        return []
    if config.pretrained is not True:
        return ["raw"] if config.averaged is False else []
    if not is_own(spec.model):
        known = published_of(config)
        return [str(known.source)] if known else []
    return [make_own_twice(spec, data, _without_classifier)[1]]


def make_own_twice(
    spec: StudentSpec, data: ImageData, prepare: Callable[[nn.Module], nn.Module] = lambda own: own
) -> tuple[nn.Module, str]:
    """Return a model of the user's own and the hash of the weights that it comes with: every worker makes it again.

    Raises CheckpointError where they are others each time.
    """
    model, again = (prepare(build_student(spec, data)) for _ in "ab")
    weights = hash_weights(model)
    if hash_weights(again) != weights:
        raise CheckpointError(
            f"teacher.pretrained: {spec.model} returns other weights each time; let it load them from a file, "
            "or use teacher.checkpoint, or teacher.train without pretrained"
        )
    return model, weights


@torch.no_grad()
def _without_classifier(model: nn.Module) -> nn.Module:
    for layer in classifiers(model):
        for parameter in layer.parameters():
            parameter.zero_()
    return model
