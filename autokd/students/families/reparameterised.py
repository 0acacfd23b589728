"""Nets whose blocks have branches in training and become single convolutions for use: RepVGG, MobileOne, FastViT.

`autokd.students.deployed` does that to a trained one, and it is what a student's costs are counted in.
"""

from __future__ import annotations

from typing import Any, cast

import timm
from timm.layers.helpers import make_divisible
from timm.models.byobnet import _mobileone_bcfg, _rep_vgg_bcfg
from torch import nn

from autokd.parameters import Range
from autokd.students.families.family import (
    Family,
    check,
    check_multiple,
    check_positive,
    doubled,
    fittest_first,
    scaled,
    with_stem_stride,
)


def _repvgg(
    *, width: float, depth: float, stem_stride: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """Ding et al. 2021, scaled by width and depth multipliers of A0."""
    check_positive(width=width, depth=depth)
    factors = tuple(factor * width for factor in (0.75, 0.75, 0.75, 2.5))
    model: Any = timm.create_model(
        "repvgg_a0",
        blocks=_rep_vgg_bcfg(d=scaled((2, 4, 14, 1), depth), wf=factors),
        stem_chs=_channels(48 * width),
        **kwargs,
    )
    return with_stem_stride(model, model.stem, stem_stride)


def _mobileone(
    *,
    width: float,
    depth: float,
    branches: int,
    stem_stride: int,
    image_size: int,
    **kwargs: Any,
) -> nn.Module:
    """Vasu et al. 2023a, scaled by width and depth multipliers of S0, which has 4 branches.

    Each branch is a convolution more while it trains, and costs nothing afterwards.
    """
    check_positive(width=width, depth=depth, branches=branches)
    factors = tuple(factor * width for factor in (0.75, 1.0, 1.0, 2.0))
    blocks = _mobileone_bcfg(d=scaled((2, 8, 10, 1), depth), wf=factors, num_conv_branches=branches)
    stem = _channels(min(64, 48 * width))  # as many as the first depthwise block takes
    model: Any = timm.create_model("mobileone_s0", blocks=blocks, stem_chs=stem, **kwargs)
    return with_stem_stride(model, model.stem, stem_stride)


def _fastvit(
    *,
    variant: str,
    width: int,
    depth: int,
    kernel_size: int,
    stem_stride: int,
    image_size: int,
    **kwargs: Any,
) -> nn.Module:
    """Vasu et al. 2023b. Blocks 1:1:3:1 and channels doubled over four stages; T12 is 64 wide and 2 deep.

    `variant` is the paper's: t has MLPs of 3 times the width, s of 4 times, sa attention in the last stage as well.
    `kernel_size` is that of the other token mixers.
    """
    check("variant", variant, ("t", "s", "sa"))
    check("kernel_size", kernel_size, (3, 5, 7))
    check("stem_stride", stem_stride, (1, 2, 4))
    check_positive(width=width, depth=depth)
    if variant == "sa":
        check_multiple("width with variant sa", width, 4)
    model: Any = timm.create_model(
        f"fastvit_{variant}12",
        layers=(depth, depth, 3 * depth, depth),
        embed_dims=doubled(width),
        repmixer_kernel_size=kernel_size,
        **kwargs,
    )
    strides = (min(stem_stride, 2), max(stem_stride // 2, 1))  # of the first two blocks of three
    for block, stride in zip(model.stem[:2], strides, strict=True):
        with_stem_stride(model, block, stride)
        block.stride = stride  # what the single convolution will have
    return cast(nn.Module, model)


def _mobileone_donors(*, width: float, depth: float, branches: int, **_: object) -> tuple[str, ...]:
    """Of S0, which has four branches, one with a single branch would take a quarter of each sum."""
    single = {
        "mobileone_s1.apple_in1k": (1.25, 1.0, 1),
        "mobileone_s2.apple_in1k": (2.0, 1.0, 1),
    }
    several = {"mobileone_s0.apple_in1k": (1.0, 1.0, 4)}
    donors = {**single, **several} if branches == 1 else {**several, **single}
    return fittest_first(donors, width, depth, branches)


def _fastvit_donors(*, variant: str, width: int, depth: int, **_: object) -> tuple[str, ...]:
    donors = {
        "t": {"fastvit_t8.apple_dist_in1k": (48, 1), "fastvit_t12.apple_dist_in1k": (64, 2)},
        "s": {"fastvit_s12.apple_dist_in1k": (64, 2)},
        "sa": {"fastvit_sa12.apple_dist_in1k": (64, 2), "fastvit_sa24.apple_dist_in1k": (64, 4)},
    }
    return fittest_first(donors[variant], width, depth)


def _channels(count: float) -> int:
    """Rounded as timm rounds those of the blocks."""
    return int(make_divisible(count))  # type: ignore[no-untyped-call]


REPARAMETERISED: dict[str, Family] = {
    "repvgg": Family(
        build=_repvgg,
        parameters={
            "width": Range[float](low=0.25, high=1.0, step=0.125),
            "depth": (0.5, 1.0),
            "stem_stride": 2,
        },
        donors=lambda *, width, depth, **_: fittest_first(
            {
                "repvgg_a0.rvgg_in1k": (1.0, 1.0),
                "repvgg_a2.rvgg_in1k": (1.1, 1.0),
                "repvgg_b1.rvgg_in1k": (1.6, 1.1),
            },
            width,
            depth,
        ),
    ),
    "mobileone": Family(
        build=_mobileone,
        parameters={
            "width": Range[float](low=0.5, high=1.5, step=0.25),
            "depth": (0.5, 1.0),
            "branches": 1,
            "stem_stride": 2,
        },
        donors=_mobileone_donors,
        not_inherited=("stages.0.1.identity.*",),  # where a stage's first block keeps its width
    ),
    "fastvit": Family(
        build=_fastvit,
        parameters={
            "variant": ("t", "sa"),  # or s
            "width": Range[int](low=16, high=48, step=8),
            "depth": (1, 2),
            "kernel_size": 3,
            "stem_stride": 4,  # 1, 2 or 4; 1 for images of about 32 pixels
        },
        donors=_fastvit_donors,
    ),
}
