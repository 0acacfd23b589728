"""Models for a data set: built from their specs, shown what they want to see, and measured."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from torch import nn

from autokd.cost import Probe, measure_cost
from autokd.data.load import ImageData
from autokd.errors import ExportError
from autokd.records import Cost, Stage, StudentSpec, content_hash
from autokd.students import InputFormat, code_of, create_student, deployed

log = logging.getLogger(__name__)


def build_student(
    spec: StudentSpec, data: ImageData, *, start: bool = False, **rates: float
) -> nn.Module:
    """For the data's classes and channels, freshly initialised, or with `start` from the weights that it starts from;
    `rates`: drop_rate, drop_path_rate."""
    classes, channels = len(data.info.class_names), data.info.channels
    return create_student(spec, classes=classes, channels=channels, start=start, **rates)


def inputs_of(spec: StudentSpec, data: ImageData) -> InputFormat:
    """What a student of this data is shown."""
    mean, std = spec.mean or data.mean, spec.std or data.std
    return InputFormat(image_size=spec.image_size, mean=mean, std=std)


def create(stage: Stage, data: ImageData, *, start: bool = False) -> nn.Module:
    """The stage's student with its dropout and stochastic depth; `start` as for `build_student`."""
    rates = {
        "drop_rate": stage.training.drop_rate,
        "drop_path_rate": stage.training.drop_path_rate,
    }
    return build_student(stage.student, data, start=start, **rates)


def measure_student(
    spec: StudentSpec,
    data: ImageData,
    *,
    probe: Probe | None,
    cache: Path,
    decides: bool = False,
) -> Cost:
    """What the model costs in its deployed form; its latency, where ONNX can't hold the model, stays unknown.

    `decides`: whether anything is decided by the latency.
    """
    measure = partial(
        measure_cost,
        lambda: deployed(build_student(spec, data)),
        (data.info.channels, spec.image_size, spec.image_size),
        precision=spec.precision,
        key=content_hash([spec.architecture(), len(data.info.class_names), *code_of(spec.model)]),
        folder=cache / "latencies",
        decides=decides,
        check=False,  # against a second count: of the trained student, when it is finished
    )
    try:
        return measure(probe=probe)
    except ExportError as error:
        log.warning("no latency of %s: %s", spec.describe(), error)
        return measure(probe=None)
