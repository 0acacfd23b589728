"""Transformers, alone or among convolutions: ViT, EfficientViT, EdgeNeXt."""

from __future__ import annotations

from typing import Any, cast

import timm
from torch import nn

from autokd.parameters import Range
from autokd.students.families.family import (
    Family,
    check,
    check_multiple,
    check_positive,
    doubled,
    fittest_first,
    with_stem_stride,
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


def _efficientvit(
    *,
    width: int,
    depth: int,
    head_dim: int,
    head_width: int,
    stem_stride: int,
    image_size: int,
    **kwargs: Any,
) -> nn.Module:
    """Cai et al. 2023 (MIT). Channels doubled over stem and four stages, the last two with linear attention.

    But for their heads B1 is 16 wide and 2 deep, B2 24 and 3 with head_dim 32. Not the EfficientViT of Liu et al. 2023 (MSRA), whose
    stem is four convolutions of stride 2, whose windows and biases are made for one image size, and which keeps
    tensors aside that can't be copied. timm's has no stochastic depth, and refuses `drop_path_rate`.
    """
    check_positive(width=width, depth=depth, head_dim=head_dim, head_width=head_width)
    check_multiple("8 x width, the channels of the first attention,", 8 * width, head_dim)
    model: Any = timm.create_model(
        "efficientvit_b1",
        widths=doubled(width, stages=5),
        depths=(1, depth, 3 * depth // 2, 3 * depth // 2, 2 * depth),
        head_dim=head_dim,
        head_widths=(head_width, head_width * 5 // 4),
        **kwargs,
    )
    return with_stem_stride(model, model.stem, stem_stride)


def _edgenext(
    *,
    width: int,
    depth: int,
    heads: int,
    kernel_size: int,
    patch_size: int,
    image_size: int,
    **kwargs: Any,
) -> nn.Module:
    """Maaz et al. 2022. Blocks 1:1:3:1 and channels doubled over four stages, attention at the end of all but one.

    Kernels grow from 3 to 9 over the stages, none beyond `kernel_size`.
    """
    check_positive(width=width, depth=depth, heads=heads, patch_size=patch_size)
    check("kernel_size", kernel_size, (3, 5, 7, 9))
    check_multiple("2 x width, the channels of the first attention,", 2 * width, heads)
    model: Any = timm.create_model(
        "edgenext_x_small",
        depths=(depth, depth, 3 * depth, depth),
        dims=doubled(width),
        heads=(heads,) * 4,
        kernel_sizes=tuple(min(size, kernel_size) for size in (3, 5, 7, 9)),
        **kwargs,
    )
    if patch_size != 4:  # timm's is always 4
        patches = nn.Conv2d(model.in_chans, width, patch_size, stride=patch_size)
        nn.init.trunc_normal_(patches.weight, std=0.02)
        nn.init.zeros_(cast(nn.Parameter, patches.bias))
        model.stem[0] = patches
    return cast(nn.Module, model)


TRANSFORMERS: dict[str, Family] = {
    "vit": Family(
        build=_vit,
        parameters={
            "heads": (2, 3, 4, 6),
            "head_dim": 32,
            "depth": Range[int](low=4, high=12, step=2),
            "patch_size": 16,  # 4 for images of about 32 pixels
        },
        donors=lambda *, heads, head_dim, depth, **_: fittest_first(
            {
                "vit_tiny_patch16_224.augreg_in21k_ft_in1k": (3, 64, 12),
                "deit_tiny_patch16_224.fb_in1k": (3, 64, 12),
                "vit_small_patch16_224.augreg_in21k_ft_in1k": (6, 64, 12),
                "deit_small_patch16_224.fb_in1k": (6, 64, 12),
                "vit_base_patch16_224.augreg2_in21k_ft_in1k": (12, 64, 12),
            },
            heads,
            head_dim,
            depth,
        ),
    ),
    "efficientvit": Family(
        build=_efficientvit,
        parameters={
            "width": Range[int](low=8, high=16, step=4),
            "depth": (1, 2),
            "head_dim": 16,
            "head_width": (512, 1024),  # channels before the classifier, which is a small MLP
            "stem_stride": 2,
        },
        donors=lambda *, width, depth, head_dim, **_: fittest_first(
            {
                "efficientvit_b0.r224_in1k": (8, 1, 4, 16),
                "efficientvit_b1.r224_in1k": (16, 2, 8, 16),
                "efficientvit_b2.r224_in1k": (24, 3, 6, 32),
                "efficientvit_b3.r224_in1k": (32, 4, 8, 32),
            },
            width,
            depth,
            8 * width / head_dim,  # heads of the first attention
            head_dim,
        ),
    ),
    "edgenext": Family(
        build=_edgenext,
        parameters={
            "width": Range[int](low=16, high=48, step=8),
            "depth": (1, 2),
            "heads": 4,
            "kernel_size": (5, 9),
            "patch_size": 4,  # of the stem; 2 for images of about 32 pixels: with 1 it learns slowly
        },
        donors=lambda *, width, depth, heads, **_: fittest_first(
            {
                "edgenext_xx_small.in1k": (21, 2, 4, 10),
                "edgenext_x_small.in1k": (24, 3, 4, 12),
                "edgenext_small.usi_in1k": (38, 3, 8, 9),
                "edgenext_base.usi_in1k": (72, 3, 8, 18),
            },
            width,
            depth,
            heads,
            2 * width / heads,  # channels of a head of the first attention
        ),
    ),
}
