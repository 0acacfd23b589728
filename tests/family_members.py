"""Members of every family: the smallest and the largest of its own ranges, for large and for small images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from autokd.cost import Count, count_on_meta
from autokd.parameters import Range
from autokd.records import StudentSpec
from autokd.students import FAMILIES, create_student, deployed

# What the families are given for images of 32 px, where their own default is made for larger ones.
SMALL_IMAGES: dict[str, dict[str, Any]] = {
    **{family: {"stem_stride": 1} for family, entry in FAMILIES.items() if "stem_stride" in entry.parameters},
    "convnext": {"patch_size": 1},
    "edgenext": {"patch_size": 2},
    "vit": {"patch_size": 8},
}  # fmt: skip


def values_in(parameter: Any) -> list[Any]:
    """All values of a parameter, in order; a range must have a step."""
    if isinstance(parameter, Range):
        assert parameter.step is not None
        count = round((parameter.high - parameter.low) / parameter.step)
        return [parameter.low + i * parameter.step for i in range(count + 1)]
    return list(parameter) if isinstance(parameter, tuple) else [parameter]


def arguments_of(family: str, *, end: int) -> dict[str, Any]:
    """end: 0 for the first value of every parameter, -1 for the last."""
    return {name: values_in(p)[end] for name, p in FAMILIES[family].parameters.items()}


def member(family: str, *, end: int = 0, size: int = 32, **changes: Any) -> StudentSpec:
    """For small images below 64 px, as it is by itself from there on."""
    small = SMALL_IMAGES[family] if size < 64 else {}
    arguments = arguments_of(family, end=end) | small | changes
    return StudentSpec(model=family, arguments=arguments, image_size=size)


def build(spec: StudentSpec, *, classes: int = 7, channels: int = 3, **rates: float) -> nn.Module:
    torch.manual_seed(0)
    return create_student(spec, classes=classes, channels=channels, **rates)


def as_after_training(model: nn.Module, *, seed: int = 2) -> nn.Module:
    """Every weight and statistic off its initial value, so that one which stays there shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(drawn + 0.5 if "running_var" in name else tensor + 0.2 * (drawn - 0.5))
            else:
                tensor.fill_(3)
    return model.eval()


def count(spec: StudentSpec, *, classes: int = 7, ships: bool = False) -> Count:
    """As it trains, or as it ships."""

    def make() -> nn.Module:
        model = create_student(spec, classes=classes, channels=3)
        return deployed(model) if ships else model

    return count_on_meta(make, (3, spec.image_size, spec.image_size))
