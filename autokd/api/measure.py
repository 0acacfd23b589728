"""What any model costs, searched or not."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from autokd.cost import InputShape, Probe, count_as_published, measure_cost
from autokd.records import Cost, StudentSpec
from autokd.students import create_student, deployed, expand_model_names, unfused_attention
from autokd.task import choose_device, choose_probe


def measure(
    model: str | nn.Module | StudentSpec,
    input_size: tuple[int, int, int] = (3, 224, 224),
    *,
    classes: int = 1000,
    device: str = "cpu",
    threads: int = 1,
    batch: int = 1,
    precision: str = "fp32",
    runtime: str = "onnxruntime",
    latency: bool = True,
) -> Cost:
    """What a model costs at inference, in its deployed form: MACs, parameters, size, activations, latency.

    Args:
        model: a timm name, a StudentSpec, or a module that takes (1, *input_size).
        input_size: channels, height, width of one image.
        device: cpu or cuda for the runtime pytorch; http://… where `autokd latency-serve` runs.
        batch: images a call when it is timed.
        precision: fp32, fp16 or int8: of the weights' bytes, and int8 of the latency too.
        runtime: onnxruntime or pytorch.
        latency: False: what follows from shapes alone, in a fraction of a second; nothing is timed, and MACs are not held
            against fvcore's count.
    """
    remote = "://" in device
    probe = (
        choose_probe(
            runtime=runtime,
            server=device if remote else None,
            where=choose_device("cpu" if remote else device),
            threads=threads,
            batch=batch,
            memory=True,
        )
        if latency
        else None
    )
    if isinstance(model, nn.Module):
        own = model  # copied to wherever torch builds models just now: the meta device while MACs are counted
        return _measure(
            lambda: copy.deepcopy(own).to(torch.empty(0).device),
            input_size,
            precision,
            probe,
        )
    if isinstance(model, str):
        (name,) = expand_model_names([model])
        model = StudentSpec(model=name, image_size=input_size[-1])
    spec = model
    return _measure(
        lambda: create_student(spec, classes=classes, channels=input_size[0]),
        input_size,
        precision,
        probe,
    )


def published_macs(
    model: str, input_size: tuple[int, int, int] = (3, 224, 224), *, classes: int = 1000
) -> int:
    """MACs of a timm model as timm's own tables count them: the form that is trained, with norms, pools and resizing."""
    (name,) = expand_model_names([model])
    spec = StudentSpec(model=name, image_size=input_size[-1])
    with unfused_attention(), torch.random.fork_rng(devices=[]):
        built = create_student(spec, classes=classes, channels=input_size[0])
    return count_as_published(built, input_size).macs


def _measure(
    build: Callable[[], nn.Module], input_size: InputShape, precision: str, probe: Probe | None
) -> Cost:
    with torch.random.fork_rng(
        devices=[]
    ):  # weights do not matter, and the caller's random stream does
        return measure_cost(
            lambda: deployed(build()),
            input_size,
            precision=precision,
            probe=probe,
            check=probe is not None,
        )
