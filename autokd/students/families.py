"""Parametric families of timm models. The only file that reaches past timm's public functions.

Each family has a test that builds its smallest and largest member, so that a timm release which
moves a builder fails loudly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import timm
from timm.models.efficientnet import _gen_efficientnet
from timm.models.mobilenetv3 import _gen_mobilenet_v3
from torch import nn

from autokd.parameters import Parameter, Range

# Every builder is given the image size; only transformers are built for one.


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A function from a few numbers to a model, and the range of each number."""

    build: Callable[..., nn.Module]  # (parameters…, image_size, num_classes, in_chans, …) -> model
    parameters: Mapping[str, Parameter]  # what is searched where a search file does not say


def _resnet(
    *, width: int, depth: int, stages: int, stem_stride: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """He et al. 2016. `width` channels in the first stage, twice as many in each further one; 3 or 4 stages.

    The deep 3x3 stem (He et al. 2019, "ResNet-C") follows the width; timm's 7x7 stem has 64 channels always.
    """
    _check("stages", stages, (3, 4))
    _check("stem_stride", stem_stride, (1, 2, 4))
    model: Any = timm.create_model(
        "resnet18",
        layers=(depth,) * 4,
        channels=tuple(width * 2**i for i in range(4)),
        stem_type="deep",
        stem_width=width // 2,
        **kwargs,
    )
    if stem_stride < 4:
        model.maxpool = nn.Identity()
    if stem_stride < 2:
        model.conv1[0].stride = (1, 1)
    if stages == 3:  # the form of the paper's CIFAR nets; timm's forward always calls layer4
        model.layer4 = nn.Identity()
        model.feature_info = model.feature_info[:-1]
        model.num_features = width * 4
        model.reset_classifier(model.num_classes)
    return cast(nn.Module, model)


def _convnext(
    *, width: int, depth: int, patch_size: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """Liu et al. 2022. Blocks 1:1:3:1 and channels doubled over four stages."""
    return timm.create_model(
        "convnext_atto",
        depths=(depth, depth, 3 * depth, depth),
        dims=tuple(width * 2**i for i in range(4)),
        patch_size=patch_size,
        **kwargs,
    )


def _vit(
    *, heads: int, head_dim: int, depth: int, patch_size: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """Dosovitskiy et al. 2021, pooled by the mean. The embedding has heads x head_dim dimensions."""
    return timm.create_model(
        "vit_tiny_patch16_224",
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=heads * head_dim,
        num_heads=heads,
        depth=depth,
        class_token=False,
        global_pool="avg",
        **kwargs,
    )


def _mobilenetv3(
    *, variant: str, width: float, depth: float, stem_stride: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """Howard et al. 2019, scaled by width and depth multipliers."""
    _check("variant", variant, ("small", "large"))
    name = f"mobilenetv3_{variant}_100"
    model = _gen_mobilenet_v3(name, channel_multiplier=width, depth_multiplier=depth, **kwargs)
    return _with_stem_stride(model, stem_stride)


def _efficientnet(
    *, width: float, depth: float, stem_stride: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """Tan & Le 2019, scaled by width and depth multipliers of B0."""
    model = _gen_efficientnet(  # type: ignore[no-untyped-call]
        "efficientnet_b0", channel_multiplier=width, depth_multiplier=depth, **kwargs
    )
    return _with_stem_stride(model, stem_stride)


def _with_stem_stride(model: Any, stride: int) -> nn.Module:
    """For images of 28 or 32 pixels a first convolution of stride 2 throws too much away."""
    model.conv_stem.stride = (stride, stride)
    return cast(nn.Module, model)


def _check(name: str, value: object, allowed: Collection[object]) -> None:
    """timm would build some other model from other values, and say nothing."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value}")


FAMILIES: dict[str, Family] = {
    "resnet": Family(
        build=_resnet,
        parameters={
            "width": Range[int](low=16, high=64, step=8),
            "depth": (1, 2, 3),
            "stages": 4,  # 3 or 4
            "stem_stride": 4,  # 1, 2 or 4; 1 for images of about 32 pixels
        },
    ),
    "convnext": Family(
        build=_convnext,
        parameters={
            "width": Range[int](low=16, high=64, step=8),
            "depth": (1, 2, 3),
            "patch_size": 4,  # of the stem; 1 for images of about 32 pixels
        },
    ),
    "vit": Family(
        build=_vit,
        parameters={
            "heads": (2, 3, 4, 6),
            "head_dim": 32,
            "depth": Range[int](low=4, high=12, step=2),
            "patch_size": 16,  # 4 for images of about 32 pixels
        },
    ),
    "mobilenetv3": Family(
        build=_mobilenetv3,
        parameters={
            "variant": ("small", "large"),
            "width": Range[float](low=0.35, high=1.25, step=0.15),
            "depth": 1.0,
            "stem_stride": 2,
        },
    ),
    "efficientnet": Family(
        build=_efficientnet,
        parameters={
            "width": Range[float](low=0.4, high=1.2, step=0.2),
            "depth": (0.5, 0.75, 1.0),
            "stem_stride": 2,
        },
    ),
}
