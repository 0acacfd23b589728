"""A classifier for published weights: features of train once, a regression on them, written into the model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from autokd.answers import CachedLogits, Teacher
from autokd.data.load import ImageData
from autokd.errors import ConfigError
from autokd.records import content_hash
from autokd.shared import Shared
from autokd.students import InputFormat, look_inside
from autokd.students.parts import classifiers
from autokd.teachers.regression import fit_classifier

log = logging.getLogger(__name__)

Layer = nn.Linear | nn.Conv2d


@torch.no_grad()
def readout(model: nn.Module, inputs: InputFormat, data: ImageData) -> list[Layer]:
    """Return the layers that a regression on features may be written into. Raises ConfigError where there are none: the
    logits have to be one linear map of the features before them."""
    pixels = inputs.prepare(torch.stack([data.train.images[0], data.train.images[1]]))
    layers = [each for each in classifiers(model) if isinstance(each, (nn.Linear, nn.Conv2d))]
    try:
        seen = look_inside(model.cpu().eval(), pixels, pooled=True)
    except ConfigError:  # it has not the parts
        seen = None
    if seen is None or seen.pooled is None or not _are_linear(layers, seen.pooled, seen.logits):
        raise ConfigError(
            f"{type(model).__name__} has no classifier that is linear in its features (forward_head with pre_logits), so "
            "no regression can be written into it; set teacher.train.what: all"
        )
    return layers


def _are_linear(layers: Sequence[Layer], features: Tensor, logits: Tensor) -> bool:
    """Whether the logits (B, C) are the mean of what the layers make of the features (B, D)."""
    fit = [each.bias is not None and each.weight[0].numel() == features.shape[1] for each in layers]
    if not layers or not all(fit):
        return False
    made = [functional.linear(features, each.weight.flatten(1), each.bias) for each in layers]
    return torch.allclose(logits, torch.stack(made).mean(dim=0), rtol=1e-3, atol=1e-4)


def fit_head(
    model: nn.Module,
    *,
    inputs: InputFormat,
    data: ImageData,
    weights: str,
    device: torch.device,
    cache: Path,
    shared: Shared,
    needed: bool,
) -> None:
    """Write a regression on features into the model, which takes no gradient then but where it is trained further.

    `weights` names what the features are made by, for what is kept of them. Images without a label are left out.
    Raises ConfigError where the model has no place for it and that is `needed`.
    """
    try:
        layers = readout(model, inputs, data)
    except ConfigError as error:
        if needed:
            raise
        log.info("teacher: its classifier begins small: %s", error)
        return
    frozen = Teacher(model, inputs, content_hash(["features", weights]), device, precision="fp32")
    classes = len(data.info.class_names)
    views = data.views("none", cache=cache)
    table = CachedLogits(frozen, views, cache / "logits", classes=classes, shared=shared)
    features = table.all_features().float().numpy()
    log.info("fitting the classifier to %d features of %d images", features.shape[1], len(features))
    fitted = fit_classifier(features, views.split.labels.numpy(), classes=classes)
    model.requires_grad_(True)
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.from_numpy(fitted.weight).view_as(layer.weight))
            assert layer.bias is not None  # `readout` has seen it
            layer.bias.copy_(torch.from_numpy(fitted.bias))
    log.info("teacher: classifier fitted by %s", fitted.method)
