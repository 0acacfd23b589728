"""How fast this machine trains: steps of a stage on noise, timed."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from autokd.objective import loss_terms
from autokd.records import DataInfo, Stage
from autokd.students import InputFormat

WARM_UP = 2  # steps that are not counted: kernels are chosen and memory is first touched in them
LEAST_STEPS, MOST_STEPS = 3, 30  # that are timed, for
SECONDS = 0.5  # in all, or as many as it takes for the fewest


def seconds_per_image(
    model: nn.Module, stage: Stage, inputs: InputFormat, data: DataInfo, device: torch.device
) -> float:
    """Return the median over some steps, with the teacher's logits at hand: they are cached after the first trial.

    Of training, or of a forward pass alone where nothing in the model is trained.
    """
    count = stage.training.batch_size
    shape = (count, data.channels, data.image_size, data.image_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    labels = torch.randint(0, len(data.class_names), (count,), device=device)
    teachers = [torch.randn(count, len(data.class_names), device=device) for _ in stage.teachers]
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train(any(parameter.requires_grad for parameter in model.parameters()))

    def step() -> float:
        start = time.perf_counter()
        logits = model(inputs.prepare(pixels))
        terms = loss_terms(stage, logits, teachers, labels)  # none where features alone count
        total = sum(terms.values(), start=logits.mean())
        if total.requires_grad:
            total.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    for _ in range(WARM_UP):
        step()
    took: list[float] = []
    while len(took) < LEAST_STEPS or (sum(took) < SECONDS and len(took) < MOST_STEPS):
        took.append(step())
    return statistics.median(took) / count
