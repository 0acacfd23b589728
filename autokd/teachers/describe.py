"""A teacher of the search file as a stage: its architecture, its training, what it is shown and what it is kept under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autokd.config import TeacherConfig, TeacherTrainConfig
from autokd.cost import Probe, sum_costs
from autokd.data.load import ImageData
from autokd.errors import CheckpointError, ConfigError
from autokd.records import PRETRAINED, Cost, Stage, StudentSpec, Training, content_hash
from autokd.students import (
    InputFormat,
    Published,
    by_contents,
    code_of,
    published,
    takes_image_size,
)
from autokd.students.inputs import BILINEAR, INTERPOLATIONS
from autokd.teachers.build import measure_student

# From so many labelled images on, what of published weights is fine-tuned where the search file does not say.
# benchmarks/fine_tuning.py; docs/benchmarks.md has the table.
FINE_TUNED = ((300, "all"), (0, "head"))


def describe_teacher(config: TeacherConfig, data: ImageData) -> Stage:
    """One teacher's architecture, and how it is trained if it is to be: a stage without teachers.

    A classifier that a regression finds takes no epochs.
    """
    assert config.model is not None
    known, channels = published_of(config), data.info.channels
    spec = StudentSpec(
        model=config.model,
        arguments={k: tuple(v) if isinstance(v, list) else v for k, v in config.arguments.items()},
        image_size=config.image_size or _usual_size(known, config.model, data),
    )
    if config.pretrained:
        alike = known is not None and len(known.mean) == channels
        spec = replace(
            spec,
            start=_start(config) if config.fine_tuned else None,
            mean=config.mean or (known.mean if known and alike else None),
            std=config.std or (known.std if known and alike else None),
        )
    return Stage(
        name="teacher",
        student=spec,
        teachers=(),
        loss_weights={"ce": 1.0},
        temperature=1.0,
        training=_training(config, data),
    )


def published_of(config: TeacherConfig) -> Published | None:
    """Return what is known of the weights that a teacher begins with; None: nothing, or it does not begin with any."""
    assert config.model is not None
    if not config.pretrained:
        return None
    return published(config.model, None if config.pretrained is True else config.pretrained)


def _start(config: TeacherConfig) -> str:
    return PRETRAINED if config.pretrained is True else str(config.pretrained)


def _usual_size(known: Published | None, model: str, data: ImageData) -> int:
    """The data's; a transformer is made for one size, and has its weights' own."""
    return known.image_size if known and takes_image_size(model) else data.info.image_size


def _training(config: TeacherConfig, data: ImageData) -> Training:
    train = config.train or TeacherTrainConfig()
    settings: dict[str, Any] = train.model_dump(exclude={"what"})
    if config.fine_tuned:
        what = train.what or _what_suits(data)
        if what == "head":
            settings |= {"epochs": 0, "trained_blocks": 0}
        elif what != "all":
            settings["trained_blocks"] = what.last
    return Training(**settings)


def _what_suits(data: ImageData) -> Any:
    return next(what for images, what in FINE_TUNED if len(data.train) >= images)


def shown_to(config: TeacherConfig, spec: StudentSpec, data: ImageData) -> InputFormat:
    """What a teacher sees. Raises ConfigError where mean and std are not of the data's channels."""
    mean = config.mean or spec.mean or data.mean
    std = config.std or spec.std or data.std
    channels, known = data.info.channels, published_of(config)
    if len(mean) != channels or len(std) != channels:
        raise ConfigError(
            f"teacher.mean and std need {channels} values, one for each channel of the data, "
            f"got {len(mean)} and {len(std)}; data.channels sets how many the data has"
        )
    resized = spec.image_size != data.info.image_size
    its = known.interpolation if known and resized else BILINEAR
    return InputFormat(
        image_size=spec.image_size,
        mean=mean,
        std=std,
        interpolation=its if its in INTERPOLATIONS else BILINEAR,
    )


def training_key(
    stage: Stage, inputs: InputFormat, data: ImageData, seed: int, *, weights: Sequence[str] = ()
) -> str:
    """What a teacher is kept under. `weights`: what names those that it begins with, beside a file's contents.

    Raises CheckpointError where that file can't be read.
    """
    code = code_of(stage.student.model)
    try:
        named = replace(stage, student=by_contents(stage.student))
    except CheckpointError as error:
        raise CheckpointError(f"teacher.pretrained {error}") from None
    record = [named.identity(), inputs.identity(), data.drawing(), seed, *code, *weights]
    return content_hash(record)


def measure_teacher(
    config: TeacherConfig, data: ImageData, *, probe: Probe | None, cache: Path
) -> Cost:
    """With its latency if there is a `probe`; an ensemble's costs are its members' together."""
    costs = [
        measure_student(describe_teacher(member, data).student, data, probe=probe, cache=cache)
        for member in config.members
    ]
    return sum_costs(costs) if config.ensemble else costs[0]
