"""Larger models that compute what a smaller one does: its weights where an heir takes them from, nothing anywhere else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from timm.models.edgenext import CrossCovarianceAttn
from torch import Tensor, nn

from autokd.students import inherit


def widen(small: nn.Module, large: nn.Module) -> nn.Module:
    """`large` with the weights of `small` at the places that `inherit` takes, and with dead channels at all others."""
    taken = copy.deepcopy(small)
    with torch.no_grad():
        for tensor in large.state_dict().values():
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape))
        assert inherit(taken, large).new == ()
        places, values = taken.state_dict(), small.state_dict()
        for name, tensor in large.state_dict().items():
            tensor.fill_("running_var" in name)
            if name in places:
                assert places[name].unique().numel() == places[name].numel(), f"{name}: taken twice"
                tensor.view(-1)[places[name].long()] = values[name]
    for theirs, own in zip(large.modules(), small.modules(), strict=True):
        if hasattr(own, "scale") and isinstance(own.scale, float):
            theirs.scale = own.scale  # of logits, by the channels of a head: dead ones don't count
    return large


@contextmanager
def nothing_depends_on_how_many_channels_there_are() -> Iterator[None]:
    """Where a mean or a softmax over channels would count the dead ones, there is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.LayerNorm, "forward", _scale_and_shift)
        patch.setattr("timm.layers.norm.LayerNorm2d.forward", _scale_and_shift)
        patch.setattr("timm.layers.norm.LayerNorm.forward", _scale_and_shift)
        patch.setattr("timm.layers.grn.GlobalResponseNorm.forward", _scale_and_shift)
        patch.setattr(CrossCovarianceAttn, "forward", _without_softmax)
        yield


def _scale_and_shift(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    if x.ndim == 4 and x.shape[1] == norm.weight.numel() and type(norm).__name__ == "LayerNorm2d":
        return x * norm.weight[:, None, None] + norm.bias[:, None, None]
    return x * norm.weight + norm.bias


def _without_softmax(attention: CrossCovarianceAttn, x: Tensor) -> Tensor:
    softmax = torch.Tensor.softmax
    try:
        torch.Tensor.softmax = lambda logits, dim: logits
        return _attend(attention, x)
    finally:
        torch.Tensor.softmax = softmax


_attend = CrossCovarianceAttn.forward
