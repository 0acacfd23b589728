"""The forms in which a student leaves: how each is written, and what runs it in a model's place."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from autokd.data import ImageData
from autokd.exporting.recipe import Recipe, Runner
from autokd.records import Stage
from autokd.runtime import (
    OnnxModel,
    Pt2Model,
    PteModel,
    add_metadata,
    quantise_mixed,
    to_onnx,
    to_pt2,
    to_pte,
    with_half_weights,
    with_normalisation,
)
from autokd.shipped import INT8, load_shipped, to_int8
from autokd.students import InputFormat, deployed
from autokd.teachers import inputs_of

log = logging.getLogger(__name__)

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
    def recipe(self) -> Recipe:
        """How an image becomes what the file is given."""
        return Recipe(
            channels=self.data.info.channels,
            loaded_size=self.data.info.image_size,
            image_size=self.inputs.image_size,
            mean=self.inputs.mean,
            std=self.inputs.std,
            normalised=self.normalise,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.recipe.shape

    def load(self, precision: str | None = None) -> nn.Module:
        """In its own precision, if not in this one."""
        spec = self.stage.student
        stage = replace(self.stage, student=replace(spec, precision=precision or spec.precision))
        return load_shipped(stage, self.folder, self.data, device=CPU, threads=1)


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
        train = student.data.train
        graph = to_int8(student.load("fp32"), train, inputs=inputs, quantise=_quantise_mixed)
    if student.precision == "fp16":
        graph = with_half_weights(graph)
    if student.normalise:
        graph = with_normalisation(graph, inputs.mean, inputs.std)
    facts = {
        "classes": json.dumps(student.data.info.class_names),
        "input": student.recipe.describe(),
        "source": student.source,
        # pixels of the squares that the data were loaded at, from which its own size was made
        "loaded_size": str(student.data.info.image_size),
    }
    return add_metadata(graph, facts)


def _quantise_mixed(graph: bytes, batches: Sequence[Tensor]) -> bytes:
    """Nothing was recorded of this file's memory and latency, so that activations may stay in float where answers need it."""
    found = quantise_mixed(graph, batches)
    if found.floats:
        log.warning(
            "int8 with all activations rounded gives %.1f%% of the train images that calibrate it the float student's "
            "answer; with %d of %d activations in float %.1f%%",
            *(100 * found.whole, found.floats, found.activations, 100 * found.agreement),
        )
    return found.graph


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
    runner: Runner  # that runs it elsewhere
    precisions: tuple[str, ...]


FORMATS: Mapping[str, Format] = {
    "onnx": Format(
        suffix=".onnx",
        write=_write_onnx,
        load=OnnxModel,
        runtime="ONNX Runtime",
        runner=Runner(
            needs="onnxruntime",
            imports="import onnxruntime",
            load='session = onnxruntime.InferenceSession(PATH, providers=["CPUExecutionProvider"])',
            ask="session.run(None, {session.get_inputs()[0].name: pixels[None]})[0]",
        ),
        precisions=("fp32", "fp16", "int8"),
    ),
    "pt2": Format(
        suffix=".pt2",
        write=_write_pt2,
        load=Pt2Model,
        runtime="torch.export",
        runner=Runner(
            needs="torch",
            imports="import torch",
            load="model = torch.export.load(PATH).module()",
            ask="model(torch.from_numpy(pixels[None])).detach().numpy()",
        ),
        precisions=("fp32",),
    ),
    "executorch": Format(
        suffix=".pte",
        write=_write_pte,
        load=PteModel,
        runtime="ExecuTorch",
        runner=Runner(
            needs="executorch",
            imports="import torch\nfrom executorch.runtime import Runtime",
            load='method = Runtime.get().load_program(PATH).load_method("forward")',
            ask="method.execute([torch.from_numpy(pixels[None])])[0].numpy()",
        ),
        precisions=("fp32",),
    ),
}
