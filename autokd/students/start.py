"""Students that start from weights of others: timm's from the hub or its cache, or a file's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from torch import nn

from autokd.errors import CheckpointError, one_line
from autokd.records import HEIR, PRETRAINED, StudentSpec
from autokd.students.headed import Headed
from autokd.weights import (
    Loaded,
    ReadWeights,
    classifiers_of,
    first_bytes,
    fit_weights,
    hash_file,
    read_weights,
    start_small,
)

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # in the order in which timm asks for them


def starts_from_file(spec: StudentSpec) -> bool:
    return spec.start is not None and spec.start not in (PRETRAINED, HEIR)


def by_contents(spec: StudentSpec) -> StudentSpec:
    """Return the spec with its file's hash in the file's place: what is kept of it is found wherever the file lies, and
    not once the file is another. Raises CheckpointError where it can't be read."""
    if not starts_from_file(spec):
        return spec
    path = Path(str(spec.start))
    first_bytes(path)
    return replace(spec, start=hash_file(path))


def load_start(model: nn.Module, spec: StudentSpec, *, classes: int, channels: int) -> Loaded:
    """Load the file that the spec starts from into its model. Raises CheckpointError."""
    try:
        read = read_weights(Path(str(spec.start)))
        return fit_start(model, read, name=spec.model, classes=classes, channels=channels)
    except CheckpointError as error:
        raise CheckpointError(
            f"students.pretrained: weights of {spec.model} can't be had: {error}; give another file for it, "
            "or set pretrained to false"
        ) from None


def fit_start(
    model: nn.Module, read: ReadWeights, *, name: str, classes: int, channels: int
) -> Loaded:
    """Load weights into a model that starts from them, whose classifier may be new. As `fit_weights`.

    Where own code gives features, they are the features' alone.
    """
    fit = partial(
        fit_weights, read=read, name=name, classes=classes, channels=channels, new_head=True
    )
    if not isinstance(model, Headed):
        return fit(model)
    loaded = fit(model.body)
    return replace(loaded, new=(*loaded.new, "head.weight", "head.bias"), head=("head",))


def from_hub(name: str, **kwargs: Any) -> nn.Module:
    """Return timm's model with its published weights, fetched once. Raises CheckpointError."""
    # without asking the hub whether there are newer ones, which takes a minute where it is away
    file = _at_hand(name)
    overlay = {"file": str(file)} if file else None
    try:
        model: Any = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, **kwargs
        )
    except Exception as error:  # noqa: BLE001 - whatever the hub's client raises: no network, no such weights
        why = one_line(error)
        raise CheckpointError(
            f"students.pretrained: weights of {name} can't be had: {why}; give a local file for it "
            f"(pretrained: {{{name}: FILE}}), or set pretrained to false"
        ) from CheckpointError(why)  # which is what a teacher of these weights is told
    published: dict[str, Any] = model.pretrained_cfg
    if published["num_classes"] != kwargs["num_classes"]:
        start_small(model, classifiers_of(model, kwargs["num_classes"]))
    return cast(nn.Module, model)


def _at_hand(name: str) -> Path | None:
    """Where they lie in the hub's cache, or in torch's, where an older timm put them; None: they are to be fetched."""
    published = timm.get_pretrained_cfg(name)
    if published is None or published.custom_load or published.hf_hub_filename:
        return None
    if published.hf_hub_id and "@" not in published.hf_hub_id:
        for file in HUB_FILES:
            found = try_to_load_from_cache(published.hf_hub_id, file)
            if isinstance(found, str):
                return Path(found)
    if not isinstance(published.url, str) or not published.url:
        return None
    old = Path(torch.hub.get_dir(), "checkpoints", published.url.rpartition("/")[2])
    return old if old.is_file() else None
