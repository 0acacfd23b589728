"""A teacher of the search file as a stage: its architecture, its training, what it is shown and what it is kept under."""

from __future__ import annotations

from pathlib import Path

from autokd.config import TeacherConfig, TeacherTrainConfig
from autokd.cost import Probe, sum_costs
from autokd.data.load import ImageData
from autokd.errors import ConfigError
from autokd.records import Cost, Stage, StudentSpec, Training, content_hash
from autokd.students import InputFormat, code_of
from autokd.teachers.build import measure_student


def describe_teacher(config: TeacherConfig, data: ImageData) -> Stage:
    """One teacher's architecture, and how it is trained if it is to be: a stage without teachers."""
    assert config.model is not None
    spec = StudentSpec(
        model=config.model,
        arguments={k: tuple(v) if isinstance(v, list) else v for k, v in config.arguments.items()},
        image_size=config.image_size or data.info.image_size,
    )
    return Stage(
        name="teacher",
        student=spec,
        teachers=(),
        loss_weights={"ce": 1.0},
        temperature=1.0,
        training=Training(**(config.train or TeacherTrainConfig()).model_dump()),
    )


def measure_teacher(
    config: TeacherConfig, data: ImageData, *, probe: Probe | None, cache: Path
) -> Cost:
    """With its latency if there is a `probe`; an ensemble's costs are its members' together."""
    costs = [
        measure_student(describe_teacher(member, data).student, data, probe=probe, cache=cache)
        for member in config.members
    ]
    return sum_costs(costs) if config.ensemble else costs[0]


def shown_to(config: TeacherConfig, spec: StudentSpec, data: ImageData) -> InputFormat:
    """Raises ConfigError where mean and std are not of the data's channels."""
    mean, std, channels = config.mean or data.mean, config.std or data.std, data.info.channels
    if len(mean) != channels or len(std) != channels:
        raise ConfigError(
            f"teacher.mean and std need {channels} values, one for each channel of the data, "
            f"got {len(mean)} and {len(std)}; data.channels sets how many the data has"
        )
    return InputFormat(image_size=spec.image_size, mean=mean, std=std)


def training_key(stage: Stage, inputs: InputFormat, data: ImageData, seed: int) -> str:
    code = code_of(stage.student.model)
    return content_hash([stage.identity(), inputs.identity(), data.drawing(), seed, *code])
