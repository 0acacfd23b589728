"""What a model makes of an image before its classifier: maps on the way, and pooled features at the end."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import Tensor, nn

from autokd.errors import ConfigError

DEPTHS = (1.0, 0.75, 0.5)  # of taps, as shares of a model's stages or blocks, from its end back


class Seen(NamedTuple):
    """One batch as a model has it at several depths. What was not asked for is missing."""

    logits: Tensor  # (B, classes)
    pooled: Tensor | None = None  # (B, D): what the classifier is given
    maps: tuple[Tensor, ...] = ()  # (B, C, H, W) each, the deepest first


def look_inside(model: nn.Module, pixels: Tensor, *, taps: int = 0, pooled: bool = False) -> Seen:
    """One forward pass by timm's own parts of a model: no hooks, so nothing is left on it.

    A transformer's tokens come as a grid, without its class token. Raises ConfigError for a model that does not have
    the parts.
    """
    if not taps and not pooled:
        return Seen(model(pixels))
    refuse_opaque(model, taps=taps, pooled=pooled)
    parts: Any = model
    maps: tuple[Tensor, ...] = ()
    if taps:
        places = tap_places(len(parts.feature_info), taps)
        each = sorted(set(places))
        final, found = parts.forward_intermediates(pixels, indices=each, output_fmt="NCHW")
        maps = tuple(found[each.index(place)] for place in places)
    else:
        final = parts.forward_features(pixels)
    features = parts.forward_head(final, pre_logits=True).flatten(1) if pooled else None
    return Seen(parts.forward_head(final), features, maps)


def refuse_opaque(model: nn.Module, *, taps: int, pooled: bool) -> None:
    """Raises ConfigError where a model has not the parts of timm's models that what is asked for needs."""
    wanted = ["forward_features", "forward_head"] if taps or pooled else []
    wanted += ["forward_intermediates"] if taps else []
    if not all(hasattr(model, name) for name in wanted):
        what = "maps" if taps else "features before its classifier"
        raise ConfigError(
            f"{type(model).__name__} gives no {what}, which mfd, distill.feature_loss and schedule.pretrain_on: features "
            "need; leave those out, or take another model"
        )


def tap_places(stages: int, taps: int) -> list[int]:
    """Which of so many stages, counted from 0: the same relative depths of every model, however many stages it has."""
    return [math.ceil(depth * stages) - 1 for depth in DEPTHS[:taps]]
