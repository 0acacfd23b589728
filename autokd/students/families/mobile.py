"""Nets of inverted bottlenecks, made for phones: MobileNetV3 and V4, EfficientNet, GhostNet."""

from __future__ import annotations

from typing import Any

from timm.models.efficientnet import _gen_efficientnet
from timm.models.ghostnet import _create_ghostnet
from timm.models.mobilenetv3 import _gen_mobilenet_v3, _gen_mobilenet_v4
from torch import nn

from autokd.parameters import Range
from autokd.students.families.family import Family, check, check_positive, with_stem_stride


def _mobilenetv3(
    *, variant: str, width: float, depth: float, stem_stride: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """Howard et al. 2019, scaled by width and depth multipliers."""
    check("variant", variant, ("small", "large"))
    name = f"mobilenetv3_{variant}_100"
    model = _gen_mobilenet_v3(name, channel_multiplier=width, depth_multiplier=depth, **kwargs)
    return with_stem_stride(model, model.conv_stem, stem_stride)


def _mobilenetv4(
    *, variant: str, width: float, stem_stride: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """Qin et al. 2024, scaled by a width multiplier; how deep it is goes with the variant."""
    hybrid = ("hybrid_medium", "hybrid_large")  # with attention in two stages
    check("variant", variant, ("conv_small", "conv_medium", "conv_large", *hybrid))
    check_positive(width=width)
    model = _gen_mobilenet_v4(f"mobilenetv4_{variant}", channel_multiplier=width, **kwargs)
    return with_stem_stride(model, model.conv_stem, stem_stride)


def _efficientnet(
    *, width: float, depth: float, stem_stride: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """Tan & Le 2019, scaled by width and depth multipliers of B0."""
    model = _gen_efficientnet(  # type: ignore[no-untyped-call]
        "efficientnet_b0", channel_multiplier=width, depth_multiplier=depth, **kwargs
    )
    return with_stem_stride(model, model.conv_stem, stem_stride)


def _ghostnet(
    *,
    version: str,
    width: float,
    stem_stride: int,
    image_size: int,
    drop_rate: float = 0.0,
    **kwargs: Any,
) -> nn.Module:
    """Han et al. 2020 (v1), Tang et al. 2022 (v2: with attention), scaled by a width multiplier.

    Left out: v3, which is v2 with branches that cost more than twice the MACs while it trains. timm's GhostNet has no
    stochastic depth, and refuses `drop_path_rate`. Its own `drop_rate` would be 0.2.
    """
    check("version", version, ("v1", "v2"))
    check_positive(width=width)
    if version == "v2" and image_size <= 16 * stem_stride:
        raise ValueError(
            f"version v2 halves maps that have one pixel left of {image_size} px at stem_stride {stem_stride}; "
            "take v1, or a smaller stem_stride"
        )
    name = {"v1": "ghostnet_100", "v2": "ghostnetv2_100"}[version]
    model = _create_ghostnet(name, width=width, version=version, drop_rate=drop_rate, **kwargs)
    return with_stem_stride(model, model.conv_stem, stem_stride)


MOBILE: dict[str, Family] = {
    "mobilenetv3": Family(
        build=_mobilenetv3,
        parameters={
            "variant": ("small", "large"),
            "width": Range[float](low=0.35, high=1.25, step=0.15),
            "depth": 1.0,
            "stem_stride": 2,
        },
    ),
    "mobilenetv4": Family(
        build=_mobilenetv4,
        parameters={
            "variant": ("conv_small", "conv_medium"),  # or conv_large, hybrid_medium, hybrid_large
            "width": Range[float](low=0.25, high=1.0, step=0.125),
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
    "ghostnet": Family(
        build=_ghostnet,
        parameters={
            "version": ("v1", "v2"),
            "width": Range[float](low=0.4, high=1.6, step=0.2),
            "stem_stride": 2,
        },
    ),
}
