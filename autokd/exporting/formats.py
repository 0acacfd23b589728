"""The forms in which a student leaves: how each is written, and what runs it in a model's place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from autokd.data import ImageData
from autokd.records import Stage
from autokd.runtime import (
    OnnxModel,
    Pt2Model,
    PteModel,
    to_onnx,
    to_pt2,
    to_pte,
    with_half_weights,
    with_metadata,
    with_normalisation,
)
from autokd.shipped import INT8, load_shipped, to_int8
from autokd.students import InputFormat, deployed
from autokd.teachers import inputs_of

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A trained student that is to leave, and how."""

    stage: Stage
    folder: Path  # of its weights
    data: ImageData
    precision: str  # its own, or int8 of what was trained for another
    normalise: bool  # inside the file
    source: str  # which trial it is, in words

    @property
    def inputs(self) -> InputFormat:
        """What the student is shown."""
        return inputs_of(self.stage.student, self.data)

    @property
    def taken(self) -> InputFormat:
        """What the file is given."""
        channels = self.data.info.channels
        pixels = replace(self.inputs, mean=(0.0,) * channels, std=(1 / 255,) * channels)
        return pixels if self.normalise else self.inputs

    @property
    def shape(self) -> tuple[int, int, int]:
        size = self.inputs.image_size
        return (self.data.info.channels, size, size)

    def load(self, precision: str | None = None) -> nn.Module:
        """In its own precision, if not in this one."""
        spec = self.stage.student
        stage = replace(self.stage, student=replace(spec, precision=precision or spec.precision))
        return load_shipped(stage, self.folder, self.data, device=CPU, threads=1)

    def describe_input(self) -> str:
        """``float32 (N, 3, 224, 224), RGB, pixels 0..255; …``."""
        colour = "RGB" if self.data.info.channels == 3 else "grey"
        dims = ", ".join(map(str, self.shape))
        mean, std = (
            ", ".join(f"{v:.4f}" for v in vs) for vs in (self.inputs.mean, self.inputs.std)
        )
        if self.normalise:
            return f"float32 (N, {dims}), {colour}, pixels 0..255; it normalises them itself"
        return f"float32 (N, {dims}), {colour}, (pixels / 255 - [{mean}]) / [{std}]"


class Normalised(nn.Module):
    """A model behind ``(pixels / 255 - mean) / std``."""

    def __init__(self, model: nn.Module, inputs: InputFormat) -> None:
        super().__init__()
        self.model = model
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (inputs.mean, inputs.std))
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", mean / std)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(pixels * self.scale - self.shift)
        return logits


def _write_onnx(student: Leaving) -> bytes:
    inputs = student.inputs
    if student.precision != "int8":
        graph = to_onnx(deployed(student.load("fp32")), student.shape)
    elif student.stage.student.precision == "int8":
        student.load()  # makes the graph where it is not there yet
        graph = (student.folder / INT8).read_bytes()
    else:
        graph = to_int8(student.load("fp32"), student.data.train, inputs=inputs)
    if student.precision == "fp16":
        graph = with_half_weights(graph)
    if student.normalise:
        graph = with_normalisation(graph, inputs.mean, inputs.std)
    facts = {
        "classes": json.dumps(student.data.info.class_names),
        "input": student.describe_input(),
        "source": student.source,
        # pixels of the squares that the data were loaded at, from which its own size was made
        "loaded_size": str(student.data.info.image_size),
    }
    return with_metadata(graph, facts)


def _write_pt2(student: Leaving) -> bytes:
    return to_pt2(_floats(student), student.shape)


def _write_pte(student: Leaving) -> bytes:
    return to_pte(_floats(student), student.shape)


def _floats(student: Leaving) -> nn.Module:
    """In PyTorch, taking what the file takes."""
    model = deployed(student.load("fp32"))
    return Normalised(model, student.inputs) if student.normalise else model


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One kind of file."""

    suffix: str
    write: Callable[[Leaving], bytes]
    load: Callable[[bytes], nn.Module]
    runtime: str  # that runs it here
    precisions: tuple[str, ...]


FORMATS: Mapping[str, Format] = {
    "onnx": Format(
        suffix=".onnx",
        write=_write_onnx,
        load=OnnxModel,
        runtime="ONNX Runtime",
        precisions=("fp32", "fp16", "int8"),
    ),
    "pt2": Format(
        suffix=".pt2",
        write=_write_pt2,
        load=Pt2Model,
        runtime="torch.export",
        precisions=("fp32",),
    ),
    "executorch": Format(
        suffix=".pte",
        write=_write_pte,
        load=PteModel,
        runtime="ExecuTorch",
        precisions=("fp32",),
    ),
}
