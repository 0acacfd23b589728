"""What the axes of a model's weights are made up of: heads, groups, chunks; what says nothing else is plain channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.attention import Attention
from timm.layers.attention2d import MultiQueryAttention2d
from timm.models import edgenext, efficientvit_mit, fastvit, regnet, resnet
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of a weight: the product of its factors, outermost first; ``(3, heads, head_dim)`` of a fused qkv."""

    factors: tuple[int, ...]
    start: int = 0  # where it begins in the axis that it is a chunk of
    whole: int | None = None  # the size of that axis; None: it is no chunk
    is_fixed: bool = False  # its first factor must be the same in heir and donor

    @property
    def size(self) -> int:
        return math.prod(self.factors)


def select(heir: Axis, donor: Axis) -> Tensor | None:
    """The donor's indices that the heir takes, evenly spaced in each factor; None where the donor has too few.

    They depend on the sizes alone, so that a layer's outputs and the inputs of all that reads them are the same channels.
    ``floor(i * donor / heir)`` also makes them agree where two or three equal parts are joined, as in ghost modules.
    """
    if len(heir.factors) != len(donor.factors):
        return select(Axis(factors=(heir.size,)), Axis(factors=(donor.size,)))
    if heir.is_fixed and heir.factors[0] != donor.factors[0]:
        return None
    if any(few > many for few, many in zip(heir.factors, donor.factors, strict=True)):
        return None
    if heir.whole and donor.whole:
        spaced = _spaced(heir.whole, donor.whole)[heir.start : heir.start + heir.size]
        return (spaced - donor.start).clamp(0, donor.size - 1)
    indices = torch.zeros(1, dtype=torch.long)
    for few, many in zip(heir.factors, donor.factors, strict=True):
        indices = (indices[:, None] * many + _spaced(few, many)).flatten()
    return indices


def _spaced(few: int, many: int) -> Tensor:
    return torch.arange(few, device="cpu") * many // few


def axes_of(model: nn.Module) -> dict[str, dict[int, Axis]]:
    """Name of a parameter or buffer -> number of an axis -> that axis, wherever it is more than plain channels."""
    found: dict[str, dict[int, Axis]] = {}
    for kinds, rule in RULES:
        for prefix, module in model.named_modules():
            if isinstance(module, kinds):
                for name, number, axis in rule(module):
                    found.setdefault(f"{prefix}.{name}".removeprefix("."), {})[number] = axis
    return found


Rule = Callable[[Any], Iterator[tuple[str, int, Axis]]]  # name below the module, axis' number, axis


def _grouped(conv: nn.Conv2d) -> Iterator[tuple[str, int, Axis]]:
    """Outputs by group. Which groups go together with which inputs is only known where there are as many in both."""
    if conv.groups > 1 and conv.out_channels > conv.groups:
        is_fixed = conv.in_channels > conv.groups
        axis = Axis(factors=(conv.groups, conv.out_channels // conv.groups), is_fixed=is_fixed)
        yield "weight", 0, axis
        yield "bias", 0, axis


def _bottleneck(module: Any) -> Iterator[tuple[str, int, Axis]]:
    """ResNeXt, RegNet: from the first convolution to the last channels go by groups."""
    (grouped,) = (m for m in module.conv2.modules() if isinstance(m, nn.Conv2d))
    axis = Axis(factors=(grouped.groups, grouped.out_channels // grouped.groups))
    for name in module.state_dict():
        if name.startswith(("conv1.", "bn1.", "conv2.", "bn2.", "se.fc2.")):
            yield name, 0, axis
        elif name.startswith(("conv3.", "se.fc1.")) and name.endswith("weight"):
            yield name, 1, axis


def _doubled_stages(model: Any) -> Iterator[tuple[str, int, Axis]]:
    """FastViT: a stage begins with a depthwise convolution that makes two channels of each, after which an identity
    branch keeps them, so that the channels of all stages go back to those of the first."""
    first = model.stem[-1].out_chs
    streams = {first * 2**i: Axis(factors=(first, 2**i)) for i in range(len(model.stages))}
    last = model.num_features
    streams[last] = (
        Axis(factors=(first, last // first)) if last % first == 0 else Axis(factors=(last,))
    )
    hidden = {
        (
            f"{name}.{part}",
            number,
        )  # may be as many as a later stage has, and are what they are alone
        for name, module in model.named_modules()
        if isinstance(module, fastvit.ConvMlp)
        for part, number in (("fc1.weight", 0), ("fc1.bias", 0), ("fc2.weight", 1))
    }
    for name, tensor in model.state_dict().items():
        for number, size in enumerate(tensor.shape[:2]):
            if size in streams and (name, number) not in hidden:
                yield name, number, streams[size]


def _attention(module: Any) -> Iterator[tuple[str, int, Axis]]:
    """A fused qkv is ``(3, heads, head_dim)``, what is projected ``(heads, head_dim)``: whole heads go."""
    heads = module.num_heads
    dims = module.qkv.out_features // (3 * heads)
    for name in ("qkv.weight", "qkv.bias"):
        yield name, 0, Axis(factors=(3, heads, dims))
    yield "proj.weight", 1, Axis(factors=(heads, dims))


def _multi_query(module: Any) -> Iterator[tuple[str, int, Axis]]:
    yield "query.proj.weight", 0, Axis(factors=(module.num_heads, module.key_dim))
    yield "output.proj.weight", 1, Axis(factors=(module.num_heads, module.value_dim))


def _linear_attention(module: Any) -> Iterator[tuple[str, int, Axis]]:
    """EfficientViT: each head has its own q, k and v side by side, and each scale repeats that."""
    heads = module.qkv.conv.out_channels // (3 * module.dim)
    fused = Axis(factors=(heads, 3, module.dim))
    for name, _ in (
        *module.qkv.named_parameters(prefix="qkv"),
        *module.qkv.named_buffers(prefix="qkv"),
    ):
        yield name, 0, fused
    for name, _ in module.aggreg.named_parameters(prefix="aggreg"):
        yield name, 0, fused
    yield "proj.conv.weight", 1, Axis(factors=(1 + len(module.aggreg), heads, module.dim))


def _chunks(module: Any) -> Iterator[tuple[str, int, Axis]]:
    """EdgeNeXt: convolutions over consecutive chunks of the block's channels."""
    (whole,) = module.norm_xca.normalized_shape
    for place in range(len(module.convs)):
        axis = Axis(factors=(module.width,), start=place * module.width, whole=whole)
        yield f"convs.{place}.weight", 0, axis
        yield f"convs.{place}.bias", 0, axis


# What is said by a later one holds.
RULES: tuple[tuple[type | tuple[type, ...], Rule], ...] = (
    (nn.Conv2d, _grouped),
    ((regnet.Bottleneck, resnet.Bottleneck), _bottleneck),
    (fastvit.FastVit, _doubled_stages),
    ((Attention, fastvit.Attention, edgenext.CrossCovarianceAttn), _attention),
    (MultiQueryAttention2d, _multi_query),
    (efficientvit_mit.LiteMLA, _linear_attention),
    (edgenext.SplitTransposeBlock, _chunks),
)
