"""What timm does to published weights so that a model of other images can start from them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from timm.models import adapt_input_conv
from torch import Tensor, nn

# Under which the modules of timm's models have what they do to weights first: old names, positions of other sizes.
FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")


def adapt(model: nn.Module, given: Mapping[str, Tensor], *, channels: int) -> dict[str, Tensor]:
    """Return the weights under timm's present names, with position embeddings of the model's image size and a first
    convolution of so many channels."""
    return _with_channels(model, _filtered(model, given), channels)


def _filtered(model: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As they are, too, where timm's own filter makes nothing of them that fits the model better."""
    as_they_are, own = dict(given), model.state_dict()
    apply = _filter_of(model)
    if apply is None:
        return as_they_are
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how timm resizes tables
            changed = _applied(apply, given, model)
    except Exception:  # noqa: BLE001 - weights of something else: what does not fit is said by the caller
        return as_they_are
    return changed if _fitting(changed, own) >= _fitting(as_they_are, own) else as_they_are


def _applied(
    apply: Callable[..., dict[str, Tensor]], given: Mapping[str, Tensor], model: nn.Module
) -> dict[str, Tensor]:
    try:
        return apply(dict(given), model)
    except TypeError:  # some take the weights alone
        return apply(dict(given))


def _filter_of(model: nn.Module) -> Callable[..., Any] | None:
    module = sys.modules[type(model).__module__]
    if not module.__name__.startswith("timm."):
        return None
    return next((getattr(module, name) for name in FILTERS if hasattr(module, name)), None)


def _fitting(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    return sum(name in given and given[name].shape == tensor.shape for name, tensor in own.items())


def _with_channels(model: nn.Module, given: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
    published = getattr(model, "pretrained_cfg", None) or {}
    named = published.get("first_conv") or ()
    named = (named,) if isinstance(named, str) else named
    first = {f"{name}.weight" for name in named}
    for name, own in model.state_dict().items():
        its = given.get(name)
        if its is None or own.ndim != 4 or its.ndim != 4 or own.shape[1] == its.shape[1]:
            continue
        alike = own.shape[0] == its.shape[0] and own.shape[2:] == its.shape[2:]
        if alike and (own.shape[1] == channels or name in first):
            try:
                given[name] = adapt_input_conv(channels, its)
            except NotImplementedError:  # of other than three channels: the caller says so
                continue
    return given
