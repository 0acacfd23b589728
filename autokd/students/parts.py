"""Parts of a model for fine-tuning: its classifier, and its last blocks. What is before them can be frozen."""

from __future__ import annotations

from typing import Any

from torch import nn

from autokd.errors import ConfigError
from autokd.students.headed import Headed
from autokd.weights import classifiers_of


def classifiers(model: nn.Module) -> list[nn.Module]:
    """Return the layers that give the logits: several in timm's distilled models."""
    classes = int(model.num_classes)  # type: ignore[arg-type]
    return [model.get_submodule(name) for name in classifiers_of(model, classes)]


def freeze_all_but_last(model: nn.Module, blocks: int) -> None:
    """Leave so many last blocks and the classifier to be trained, and nothing else.

    Blocks are what timm's `group_matcher` calls so: stages of convolutional nets, blocks of transformers. Raises
    ConfigError where a model does not say what its blocks are, or has fewer.
    """
    own = [p for layer in classifiers(model) for p in layer.parameters()]
    trained = own + (_of_last(model, blocks) if blocks else [])
    model.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)


def frozen_parts(model: nn.Module) -> list[nn.Module]:
    """Return the modules of which no parameter is trained: their batch norms keep the statistics that they have."""
    found = []
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(each.requires_grad for each in parameters):
            found.append(module)
    return found


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """Return the layers that are given statistics of a batch in training mode."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)
    return [module for module in model.modules() if isinstance(module, kinds)]


def _of_last(model: nn.Module, blocks: int) -> list[nn.Parameter]:
    from timm.models import group_parameters

    matcher: Any = getattr(model, "group_matcher", None)
    if matcher is None:
        raise ConfigError(
            f"{_name(model)} does not say what its blocks are (group_matcher); train its classifier "
            "or all of it: teacher.train.what: head or all"
        )
    groups = group_parameters(model, matcher(coarse=True))
    ordered = [groups[number] for number in sorted(groups)]
    body = ordered[1:-1]  # without the stem, and the classifier with the norm before it
    if blocks > len(body):
        raise ConfigError(
            f"{_name(model)} has {len(body)} blocks, and teacher.train.what is {{last: {blocks}}}; "
            "give fewer, or what: all"
        )
    return [model.get_parameter(name) for part in ordered[-(blocks + 1) :] for name in part]


def _name(model: nn.Module) -> str:
    return type(model.body if isinstance(model, Headed) else model).__name__
