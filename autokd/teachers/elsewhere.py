"""Teachers with weights that were made elsewhere and are taken as they are: checkpoints and published weights."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from autokd.answers import Teacher
from autokd.config import TeacherConfig
from autokd.data.load import ImageData
from autokd.errors import CheckpointError
from autokd.records import StudentSpec, content_hash
from autokd.students import InputFormat, code_of, is_own
from autokd.students.inputs import BILINEAR
from autokd.teachers.build import build_student
from autokd.teachers.describe import published_of
from autokd.teachers.start import from_file, from_hub, make_own_twice, refuse_other_classes
from autokd.teachers.words import describe_pixels
from autokd.weights import hash_file, load_checkpoint

log = logging.getLogger(__name__)


def taken_as_it_is(
    config: TeacherConfig,
    spec: StudentSpec,
    inputs: InputFormat,
    data: ImageData,
    device: torch.device,
) -> Teacher:
    """A checkpoint's weights, or published ones. Their classes must be the data's."""
    if config.checkpoint:
        return _from_file("checkpoint", config.checkpoint, config, spec, inputs, data, device)
    if config.pretrained is not True:
        path = Path(str(config.pretrained))
        return _from_file("pretrained", path, config, spec, inputs, data, device)
    if is_own(spec.model):
        model, weights = make_own_twice(spec, data)
        key = content_hash([weights, spec.architecture(), *code_of(spec.model)])
        return Teacher(model, inputs, key, device)
    refuse_other_classes(config, spec, data)
    known = published_of(config)
    model, said = from_hub(config, spec, data)
    notes = _say(said, describe_pixels(config, inputs, known, data))
    key = content_hash([str(model.pretrained_cfg), spec.architecture(), *_resized(inputs)])
    return Teacher(model, inputs, key, device, notes=notes)


def _say(*notes: str) -> tuple[str, ...]:
    for note in notes:
        log.info("teacher: %s", note)
    return notes


def _resized(inputs: InputFormat) -> list[str]:
    """What else its answers depend on, where its images are resized; once all were resized in one way."""
    return [] if inputs.interpolation == BILINEAR else [inputs.interpolation]


def _from_file(
    way: str,
    path: Path,
    config: TeacherConfig,
    spec: StudentSpec,
    inputs: InputFormat,
    data: ImageData,
    device: torch.device,
) -> Teacher:
    model = build_student(spec, data)
    try:
        loaded = load_checkpoint(
            model,
            path,
            name=spec.model,
            classes=len(data.info.class_names),
            channels=data.info.channels,
            averaged=config.averaged is not False,
        )
    except CheckpointError as error:
        raise CheckpointError(f"teacher.{way} {error}{_cure(config, spec, data)}") from error
    known = published_of(config)
    notes = _say(
        loaded.sentence(), *([describe_pixels(config, inputs, known, data)] if known else [])
    )
    taken = [str(loaded.choice)] if loaded.choice and loaded.choice.averaged else []  # once the raw
    key = content_hash(
        [hash_file(path), spec.architecture(), *code_of(spec.model), *taken, *_resized(inputs)]
    )
    return Teacher(model, inputs, key, device, notes=notes)


def _cure(config: TeacherConfig, spec: StudentSpec, data: ImageData) -> str:
    """What to do about weights that the teacher could start from."""
    start = (
        config if config.pretrained else config.model_copy(update={"pretrained": config.checkpoint})
    )
    try:
        from_file(start, spec, data)
    except CheckpointError:
        return ""
    if config.pretrained:
        return "; all but its classifier fits: add `train: {}` beside pretrained to fine-tune it"
    return "; to fine-tune it on these images give it as pretrained, with `train: {}`"
