"""Structured pruning: whole channels go, with all that depends on them, so that what is left is a smaller ordinary model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from autokd.errors import ConfigError, one_line
from autokd.students.deployed import deployed

ROUND_TO = 4  # channels that are left are a multiple of this where they can be

Shape = tuple[int, int, int]
Importance = Callable[..., Tensor]  # of the channels of a group of layers


def prune(model: nn.Module, input_shape: Shape, share: float, *, trained: bool) -> nn.Module:
    """A model with `share` of each layer's channels removed, but for its classifier's classes; the one given is taken over.

    Dependencies between layers are found by tracing (DepGraph, Fang et al. 2023, arXiv 2301.12900; torch-pruning). Of a
    trained model the groups of channels with the smallest norm go (its magnitude importance), of any other the last ones: no shape
    may depend on it, so that costs are known before and weights find their place. Works on the meta device. Raises
    ConfigError for a model that can't be pruned so.
    """
    import torch_pruning  # some seconds

    try:
        if trained:
            importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
            return _prune(model, input_shape, share, importance)
        other = _prune(copy.deepcopy(model), input_shape, share, _scattered_channels)
        pruned = _prune(model, input_shape, share, _last_channels)
    except Exception as error:  # noqa: BLE001 - of whatever kind: it can't be done
        raise ConfigError(f"can't be pruned: {one_line(error)}") from None
    if _shapes(pruned) != _shapes(other):
        raise ConfigError("can't be pruned: what is left would depend on which channels go")
    return pruned


def _prune(model: nn.Module, input_shape: Shape, share: float, importance: Importance) -> nn.Module:
    import torch_pruning

    parts: Any = model
    classifier = parts.get_classifier() if hasattr(model, "get_classifier") else None
    was_training = model.training
    model.eval()
    model.requires_grad_(True)
    image = torch.zeros(1, *input_shape, device=next(model.parameters()).device)
    before = model(image).shape
    # It follows the graph of gradients, and makes lists of places, which are no part of the model.
    with torch.enable_grad(), torch.device("cpu"), warnings.catch_warnings():
        # of parameters in no layer, such as scales: they are found
        warnings.simplefilter("ignore", UserWarning)
        torch_pruning.pruner.BasePruner(
            model,
            image,
            importance=importance,
            pruning_ratio=share,
            round_to=ROUND_TO,
            ignored_layers=[classifier] if isinstance(classifier, nn.Module) else [],
        ).step()
    with torch.no_grad():  # of some models the parts that fold branches don't know of it
        after = deployed(copy.deepcopy(model))(image).shape
    if after != before:
        raise ValueError(f"its answers would have the shape {tuple(after)}")
    return model.train(was_training)


def _last_channels(group: Any, **_: Any) -> Tensor:
    """An importance that falls from a layer's first channel to its last."""
    return torch.arange(_count(group), 0, -1, dtype=torch.float32)


def _scattered_channels(group: Any, **_: Any) -> Tensor:
    """One in no order, as a trained model's norms are; the same each time."""
    return torch.rand(_count(group), generator=torch.Generator().manual_seed(_count(group)))


def _count(group: Any) -> int:
    _, channels = group[0]
    return len(channels)


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}
