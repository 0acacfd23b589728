"""Plain convolutional nets: ResNet, ConvNeXt, StarNet."""

from __future__ import annotations

from typing import Any, cast

import timm
from torch import nn

from autokd.parameters import Range
from autokd.students.families.family import (
    Family,
    check,
    check_positive,
    doubled,
    fittest_first,
    with_stem_stride,
)


def _resnet(
    *, width: int, depth: int, stages: int, stem_stride: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """He et al. 2016. `width` channels in the first stage, twice as many in each further one; 3 or 4 stages.

    The deep 3x3 stem (He et al. 2019, "ResNet-C") follows the width; timm's 7x7 stem has 64 channels always.
    """
    check("stages", stages, (3, 4))
    check("stem_stride", stem_stride, (1, 2, 4))
    model: Any = timm.create_model(
        "resnet18",
        layers=(depth,) * 4,
        channels=doubled(width),
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
        dims=doubled(width),
        patch_size=patch_size,
        **kwargs,
    )


def _starnet(
    *, width: int, depth: int, mlp_ratio: int, stem_stride: int, image_size: int, **kwargs: Any
) -> nn.Module:
    """Ma et al. 2024. Blocks 1:1:4:2 and channels doubled over four stages; S3 is 32 wide and 2 deep."""
    check_positive(width=width, depth=depth, mlp_ratio=mlp_ratio)
    model: Any = timm.create_model(
        "starnet_s3",
        base_dim=width,
        depths=(depth, depth, 4 * depth, 2 * depth),
        mlp_ratio=mlp_ratio,
        **kwargs,
    )
    return with_stem_stride(model, model.stem, stem_stride)


CONVOLUTIONAL: dict[str, Family] = {
    "resnet": Family(
        build=_resnet,
        parameters={
            "width": Range[int](low=16, high=64, step=8),
            "depth": (1, 2, 3),
            "stages": 4,  # 3 or 4
            "stem_stride": 4,  # 1, 2 or 4; 1 for images of about 32 pixels
        },
        donors=lambda *, width, depth, **_: fittest_first(
            {"resnet18d.ra2_in1k": (64, 2), "resnet34d.ra2_in1k": (64, 3)}, width, depth
        ),
    ),
    "convnext": Family(
        build=_convnext,
        parameters={
            "width": Range[int](low=16, high=64, step=8),
            "depth": (1, 2, 3),
            "patch_size": 4,  # of the stem; 1 for images of about 32 pixels
        },
        donors=lambda *, width, depth, **_: fittest_first(
            {
                "convnext_atto.d2_in1k": (40, 2),
                "convnext_femto.d1_in1k": (48, 2),
                "convnext_pico.d1_in1k": (64, 2),
                "convnext_nano.d1h_in1k": (80, 2),
                "convnext_tiny.fb_in1k": (96, 3),
            },
            width,
            depth,
        ),
    ),
    "starnet": Family(
        build=_starnet,
        parameters={
            "width": Range[int](low=12, high=32, step=4),
            "depth": (1, 2),
            "mlp_ratio": (3, 4),
            "stem_stride": 2,
        },
        donors=lambda *, width, depth, **_: fittest_first(
            {
                "starnet_s1.in1k": (24, 1),
                "starnet_s2.in1k": (32, 1),
                "starnet_s3.in1k": (32, 2),
                "starnet_s4.in1k": (32, 2.5),
            },
            width,
            depth,
        ),
    ),
}
