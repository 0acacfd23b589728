"""What a family is, and what builders share: channels, depths, stems, and the refusal of wrong values."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from autokd.parameters import Parameter

# Every builder is given the image size; only transformers are built for one.


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A function from a few numbers to a model, and the range of each number."""

    build: Callable[..., nn.Module]  # (parameters…, image_size, num_classes, in_chans, …) -> model
    parameters: Mapping[str, Parameter]  # what is searched where a search file does not say
    # parameters -> published weights that a member can inherit, the fittest first: see `fittest_first`
    donors: Callable[..., tuple[str, ...]]
    # tensors that a donor may lack which is larger in every way, as patterns of their names
    not_inherited: tuple[str, ...] = ()


def fittest_first(donors: Mapping[str, Sequence[float]], *wanted: float) -> tuple[str, ...]:
    """Names of those whose sizes are at least those that are wanted, the smallest first as they are listed: of it the heir
    takes the largest share. After them the others, the largest first: they leave the least of an heir new."""

    def is_enough(sizes: Sequence[float]) -> bool:
        return all(size >= want for size, want in zip(sizes, wanted, strict=True))

    enough = [name for name, sizes in donors.items() if is_enough(sizes)]
    return (*enough, *reversed([name for name in donors if name not in enough]))


def doubled(width: int, *, stages: int = 4) -> tuple[int, ...]:
    """Channels of so many stages: each has twice those of the one before."""
    return tuple(width * 2**i for i in range(stages))


def scaled(depths: Sequence[int], multiplier: float) -> tuple[int, ...]:
    """Blocks of each stage, rounded up: no stage loses its last one."""
    return tuple(math.ceil(depth * multiplier) for depth in depths)


def with_stem_stride(model: Any, stem: nn.Module, stride: int) -> nn.Module:
    """For images of 28 or 32 pixels a first convolution of stride 2 throws too much away."""
    check("stem_stride", stride, (1, 2, 4))
    for conv in stem.modules():
        if isinstance(conv, nn.Conv2d) and conv.stride != (1, 1):
            conv.stride = (stride, stride)
    return cast(nn.Module, model)


# timm would build some other model from wrong values, or fail deep inside one.


def check(name: str, value: object, allowed: Collection[object]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value}")


def check_positive(**values: float) -> None:
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"{name} must be > 0, got {value}")


def check_multiple(name: str, value: int, factor: int) -> None:
    if value % factor:
        raise ValueError(f"{name} must be a multiple of {factor}, got {value}")
