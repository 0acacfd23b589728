"""Multiply-accumulates (MACs) of one image, exact, from shapes alone. FLOPs = 2 x MACs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from autokd.cost.meta import CountMacs, SkipInitialisation, without_autocast
from autokd.cost.size import Weights, weights_of
from autokd.errors import AutoKDError, CostError, one_line
from autokd.quantities import format_count

InputShape = tuple[int, int, int]  # channels, height, width
TOLERANCE = 0.005  # of the exact count; what two counters may differ by


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a model executes for one image, and what it holds."""

    model: str  # its class
    macs: int
    params: int
    buffers: int  # elements
    by_operator: Mapping[str, int]  # MACs
    weights: Weights
    activations: int = 0  # elements that are in memory at once, at most; 0: not counted
    uncounted: tuple[str, ...] = ()  # operators that may hold MACs and were left out


def count_on_meta(build: Callable[[], nn.Module], input_shape: InputShape) -> Count:
    """Build a model on the meta device and count one forward pass in eval mode; takes no memory.

    On the meta device every operator comes down to the few that have formulas: attention to bmm, an LSTM to addmm.
    On the CPU the fused ones are counted as 0 by PyTorch's FlopCounterMode, without a word.
    """
    model = _build(build)
    name = type(model).__name__
    image = torch.empty(1, *input_shape, device="meta")
    with torch.no_grad(), without_autocast(), CountMacs(image) as counter:
        try:
            model(image)
        except Exception as error:
            cure = "; keep its constant tensors as buffers" if "meta" in str(error) else ""
            raise CostError(
                f"{name} can't be run on an image of {describe_shape(input_shape)}: {one_line(error)}{cure}"
            ) from error
    if counter.unknown:
        raise CostError(
            f"{name}: no MAC formula for {', '.join(sorted(counter.unknown))}; "
            "the count would be too low, so this model can't be held against a budget"
        )
    return replace(make_count(model, counter.macs), activations=counter.peak)


def make_count(
    model: nn.Module, by_operator: Mapping[str, int], uncounted: tuple[str, ...] = ()
) -> Count:
    return Count(
        model=type(model).__name__,
        macs=sum(by_operator.values()),
        params=sum(p.numel() for p in model.parameters()),
        buffers=sum(b.numel() for b in model.buffers()),
        by_operator=dict(by_operator),
        weights=weights_of(model),
        uncounted=uncounted,
    )


def check_counts(meta: Count, fvcore: Count) -> None:
    """Two independent counts of one model must agree within `TOLERANCE`."""
    if meta.params != fvcore.params:
        raise CostError(
            f"{meta.model}: {meta.params} parameters on the meta device, "
            f"{fvcore.params} in the model itself"
        )
    if abs(fvcore.macs - meta.macs) <= TOLERANCE * meta.macs:
        return
    share = f" ({(fvcore.macs - meta.macs) / meta.macs:+.1%})" if meta.macs else ""
    uncounted = (
        f"; not counted by fvcore: {', '.join(fvcore.uncounted)}" if fvcore.uncounted else ""
    )
    raise CostError(
        f"{meta.model}: two counts of MACs disagree: {format_count(meta.macs)} on the meta device "
        f"[{_list_operators(meta)}], {format_count(fvcore.macs)} by fvcore{share} "
        f"[{_list_operators(fvcore)}]{uncounted}"
    )


def describe_shape(shape: InputShape) -> str:
    channels, height, width = shape
    return f"{channels}x{height}x{width}"


def _build(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        with torch.device("meta"), SkipInitialisation():
            model = build()
    except AutoKDError:
        raise
    except Exception as error:
        raise CostError(
            f"the model can't be built on the meta device: {one_line(error)}"
        ) from error
    return model.eval().requires_grad_(False)


def _list_operators(count: Count) -> str:
    return ", ".join(f"{name} {format_count(macs)}" for name, macs in count.by_operator.items())
