"""A trained student as it ships: in the numbers that its candidate names, and measured so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from autokd.cost import exact_cost
from autokd.data import ImageData, Split
from autokd.distill import BEST
from autokd.errors import storage_errors
from autokd.quantities import format_cost
from autokd.records import Cost, Stage, StudentSpec
from autokd.runtime import OnnxModel, quantise, to_onnx
from autokd.students import InputFormat, deployed
from autokd.teachers import build_student, create, inputs_of
from autokd.weights import load_weights

INT8 = "student.int8.onnx"  # beside the float weights
CALIBRATION = 256  # images of train that show the ranges of activations
COUNTED = ("macs", "params", "size_bytes", "activation_bytes")  # costs that follow from shapes
_BATCH = 32

Quantise = Callable[[bytes, Sequence[Tensor]], bytes]  # a graph, and what it is shown


def load_shipped(
    stage: Stage, folder: Path, data: ImageData, *, device: torch.device, threads: int
) -> nn.Module:
    """The student whose weights lie in `folder`."""
    model = create(stage, data)
    load_weights(model, folder / BEST)
    return ship(model, stage.student, folder, data, device=device, threads=threads)


def ship(
    model: nn.Module,
    spec: StudentSpec,
    folder: Path,
    data: ImageData,
    *,
    device: torch.device,
    threads: int,
) -> nn.Module:
    """A trained model in its precision. It is taken over; its int8 graph stays in `folder`, where the next one finds it."""
    if spec.precision == "int8":
        path = folder / INT8
        if not path.is_file():
            graph = to_int8(model, data.train, inputs=inputs_of(spec, data))
            with storage_errors(folder):
                path.write_bytes(graph)
        return OnnxModel(path.read_bytes(), threads=threads)
    if spec.precision == "fp16":
        round_to_half(model)
    return model.to(device)


def count_trained(spec: StudentSpec, trained: nn.Module, data: ImageData) -> Cost:
    """All costs that follow from shapes, from the spec and again in the trained model, which is taken over.

    Raises CostError where the two differ.
    """
    return exact_cost(
        lambda: deployed(build_student(spec, data)),
        (data.info.channels, spec.image_size, spec.image_size),
        precision=spec.precision,
        trained=deployed(trained.cpu()),
    )


def take_counts(recorded: Cost, counted: Cost) -> Cost:
    """The recorded cost, latency and all, with the other's counts in the place of its own."""
    return replace(recorded, **{name: getattr(counted, name) for name in COUNTED})


def describe_counts(recorded: Cost, counted: Cost, *, same: float = 0.0) -> str:
    """``macs 3.47M instead of 217.86k``; empty where what was recorded is what was counted, but for a share `same` of it."""
    pairs = ((name, recorded.known(name), counted.known(name)) for name in COUNTED)
    return ", ".join(
        f"{name} {format_cost(name, now)} instead of {format_cost(name, before)}"
        for name, before, now in pairs
        if before is not None and now is not None and abs(now - before) > same * before
    )


def to_int8(
    model: nn.Module, train: Split, *, inputs: InputFormat, quantise: Quantise = quantise
) -> bytes:
    """An ONNX graph in int8, its activations' ranges from CALIBRATION images of train without augmentation."""
    shape = (len(inputs.mean), inputs.image_size, inputs.image_size)
    return quantise(to_onnx(deployed(model.cpu()), shape), [*calibration(train, inputs)])


def calibration(train: Split, inputs: InputFormat) -> Iterator[Tensor]:
    """Batches (N, C, S, S) of the same images for every student, as a model is shown them."""
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:CALIBRATION]
    for part in torch.split(rows, _BATCH):
        yield inputs.prepare(torch.stack([train.images[int(row)] for row in part]))


def round_to_half(model: nn.Module) -> None:
    """To the nearest numbers that fp16 has: weights shipped so are computed with as float32 on a CPU."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
