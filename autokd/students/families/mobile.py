"""Nets of inverted bottlenecks, made for phones: MobileNetV3 and V4, EfficientNet and its Lite, GhostNet."""

from __future__ import annotations

from typing import Any

from timm.models.efficientnet import _gen_efficientnet, _gen_efficientnet_lite
from timm.models.ghostnet import _create_ghostnet
from timm.models.mobilenetv3 import _gen_mobilenet_v3, _gen_mobilenet_v4
from torch import nn

from autokd.parameters import Range
from autokd.students.families.family import (
    Family,
    check,
    check_positive,
    fittest_first,
    with_stem_stride,
)

TF_BN_EPS = 1e-3  # of the batch norms of weights from TensorFlow


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


def _efficientnet_lite(
    *,
    width: float,
    depth: float,
    padding: str,
    stem_stride: int,
    image_size: int,
    **kwargs: Any,
) -> nn.Module:
    """Liu 2020: EfficientNet for integer arithmetic, with ReLU6 and without squeeze-excite, scaled as B0 is but for its stem.

    Its head has 1280 channels at every width. `padding` is symmetric, or same as TensorFlow pads, whose published weights want
    that and a batch norm of its own.
    """
    check("padding", padding, ("symmetric", "same"))
    check_positive(width=width, depth=depth)
    tensorflow = {"pad_type": "same", "bn_eps": TF_BN_EPS} if padding == "same" else {}
    model = _gen_efficientnet_lite(  # type: ignore[no-untyped-call]
        "efficientnet_lite0",
        channel_multiplier=width,
        depth_multiplier=depth,
        **tensorflow,
        **kwargs,
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


def _mobilenetv3_donors(
    *, variant: str, width: float, depth: float, **_: object
) -> tuple[str, ...]:
    donors = {
        "small": {
            "mobilenetv3_small_050.lamb_in1k": (0.5, 1.0),
            "mobilenetv3_small_075.lamb_in1k": (0.75, 1.0),
            "mobilenetv3_small_100.lamb_in1k": (1.0, 1.0),
        },
        "large": {
            "mobilenetv3_large_100.ra_in1k": (1.0, 1.0),
            "mobilenetv3_large_150d.ra4_e3600_r256_in1k": (1.5, 1.2),
        },
    }
    return fittest_first(donors[variant], width, depth)


def _mobilenetv4_donors(*, variant: str, width: float, **_: object) -> tuple[str, ...]:
    donors = {
        "conv_small": {
            "mobilenetv4_conv_small_050.e3000_r224_in1k": (0.5,),
            "mobilenetv4_conv_small.e2400_r224_in1k": (1.0,),
        },
        "conv_medium": {"mobilenetv4_conv_medium.e500_r224_in1k": (1.0,)},
        "conv_large": {"mobilenetv4_conv_large.e500_r256_in1k": (1.0,)},
        "hybrid_medium": {"mobilenetv4_hybrid_medium.e500_r224_in1k": (1.0,)},
        "hybrid_large": {"mobilenetv4_hybrid_large.e600_r384_in1k": (1.0,)},
    }
    return fittest_first(donors[variant], width)


def _efficientnet_lite_donors(
    *, width: float, depth: float, padding: str, **_: object
) -> tuple[str, ...]:
    """Those with the same padding first: another one shifts what a layer sees by a pixel."""
    own = {"efficientnet_lite0.ra_in1k": (1.0, 1.0)}
    tensorflow = {
        "tf_efficientnet_lite0.in1k": (1.0, 1.0),
        "tf_efficientnet_lite1.in1k": (1.0, 1.1),
        "tf_efficientnet_lite2.in1k": (1.1, 1.2),
        "tf_efficientnet_lite3.in1k": (1.2, 1.4),
        "tf_efficientnet_lite4.in1k": (1.4, 1.8),
    }
    donors = {**own, **tensorflow} if padding == "symmetric" else {**tensorflow, **own}
    return fittest_first(donors, width, depth)


def _ghostnet_donors(*, version: str, width: float, **_: object) -> tuple[str, ...]:
    """Of version 2 a wide one of version 1 takes all but the attention."""
    first = {"ghostnet_100.in1k": (1.0,)} if version == "v1" else {}
    second = {
        "ghostnetv2_100.in1k": (1.0,),
        "ghostnetv2_130.in1k": (1.3,),
        "ghostnetv2_160.in1k": (1.6,),
    }
    return fittest_first({**first, **second}, width)


MOBILE: dict[str, Family] = {
    "mobilenetv3": Family(
        build=_mobilenetv3,
        parameters={
            "variant": ("small", "large"),
            "width": Range[float](low=0.35, high=1.25, step=0.15),
            "depth": 1.0,
            "stem_stride": 2,
        },
        donors=_mobilenetv3_donors,
    ),
    "mobilenetv4": Family(
        build=_mobilenetv4,
        parameters={
            "variant": ("conv_small", "conv_medium"),  # or conv_large, hybrid_medium, hybrid_large
            "width": Range[float](low=0.25, high=1.0, step=0.125),
            "stem_stride": 2,
        },
        donors=_mobilenetv4_donors,
    ),
    "efficientnet": Family(
        build=_efficientnet,
        parameters={
            "width": Range[float](low=0.4, high=1.2, step=0.2),
            "depth": (0.5, 0.75, 1.0),
            "stem_stride": 2,
        },
        donors=lambda *, width, depth, **_: fittest_first(
            {
                "efficientnet_b0.ra_in1k": (1.0, 1.0),
                "efficientnet_b1.ft_in1k": (1.0, 1.1),
                "efficientnet_b2.ra_in1k": (1.1, 1.2),
                "efficientnet_b3.ra2_in1k": (1.2, 1.4),
            },
            width,
            depth,
        ),
    ),
    "efficientnet_lite": Family(
        build=_efficientnet_lite,
        parameters={
            "width": Range[float](low=0.25, high=1.0, step=0.125),
            "depth": (0.5, 1.0),
            "padding": "symmetric",  # or same
            "stem_stride": 2,
        },
        donors=_efficientnet_lite_donors,
    ),
    "ghostnet": Family(
        build=_ghostnet,
        parameters={
            "version": ("v1", "v2"),
            "width": Range[float](low=0.4, high=1.6, step=0.2),
            "stem_stride": 2,
        },
        donors=_ghostnet_donors,
    ),
}
