"""Weights of others into a model: all that belongs to it or an error, and in a line what was taken, left and new."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from autokd.errors import CheckpointError
from autokd.weights.adapt import adapt
from autokd.weights.names import ENOUGH, named_as
from autokd.weights.read import ReadWeights, read_weights
from autokd.weights.unwrap import Choice

HEAD_STD = 0.01  # of the weights of a classifier that is new above pretrained ones
COUNTS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
BATCHES = COUNTS[0]  # only a batch norm without momentum uses them
AUXILIARY = re.compile(r"^aux", re.IGNORECASE)  # heads that training alone uses
CHECK = "check the file, the model and its arguments"
SHOWN = 3  # names in a line


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a model took out of a file, by names of tensors."""

    path: Path
    choice: Choice | None  # which weights were taken, where the file has averaged ones
    loaded: tuple[str, ...]
    adapted: tuple[str, ...]  # those of them that were resized, or made for other channels
    left: tuple[str, ...]  # the file's, for which the model has no place
    new: tuple[str, ...]  # the model's, which are not the file's
    head: tuple[str, ...]  # classifiers that are new

    def sentence(self) -> str:
        """``model.pth: 243 tensors loaded; left: aux (2); new: classifier (2)``."""
        parts = [f"{len(self.loaded)} tensors loaded", str(self.choice or "")]
        parts += [f"{what}: {_shortly(names)}" for what, names in self._groups() if names]
        return f"{self.path}: " + "; ".join(filter(None, parts))

    def _groups(self) -> Iterator[tuple[str, Sequence[str]]]:
        yield "adapted to these images", self.adapted
        yield "left", self.left
        yield "new", self.new


def _shortly(names: Sequence[str]) -> str:
    """``aux (2), total_ops (7)``: parts and how many tensors each has, and how many parts more there are."""
    parts = Counter(_part(name) for name in names)
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return ", ".join(f"{part} ({count})" for part, count in [*parts.items()][:SHOWN]) + more


def _part(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last in COUNTS else name.partition(".")[0]


def fit_weights(
    model: nn.Module,
    read: ReadWeights,
    *,
    name: str,
    classes: int,
    channels: int,
    new_head: bool,
) -> Loaded:
    """Load weights of others into a model called `name`, of so many classes and channels.

    All of its body must be there. With `new_head` it starts from them: a classifier of other classes, or of none, is
    new and small, and position embeddings and the first convolution are made for its images. Without, they stay what
    they are. Auxiliary heads, counters and what stands beside the model are left. Raises CheckpointError.
    """
    wanted = model.state_dict()
    named = named_as(wanted, read)
    given = adapt(model, named.tensors, channels=channels) if new_head else dict(named.tensors)
    strange = [name for name in given if name not in wanted]
    beside = [name for name in strange if _may_be_left(name, wanted, new_head)]
    heads = _new_heads(model, wanted, given, classes) if new_head else ()
    new = [name for name in wanted if _is_in(name, heads)]
    new += [name for name in wanted if name not in given and name.endswith(BATCHES)]
    body = {name: tensor for name, tensor in wanted.items() if name not in new}
    taken = {name: t for name, t in given.items() if name not in beside and name not in new}
    if problem := _misfit(body, taken):
        cure = _cure(body, taken, classes=classes, channels=channels, new_head=new_head)
        raise CheckpointError(
            f"{read.path}: does not fit {name} with {classes} classes and {channels} channels: {problem}; {cure}"
            + (f"; these are {named.choice}" if named.choice else "")
        )
    model.load_state_dict(taken, strict=False)
    start_small(model, heads)
    return Loaded(
        path=read.path,
        choice=named.choice,
        loaded=tuple(taken),
        adapted=tuple(
            name
            for name, tensor in taken.items()
            if name in named.tensors and tensor.shape != named.tensors[name].shape
        ),
        left=(*named.left, *beside),
        new=tuple(new),
        head=heads,
    )


def load_checkpoint(
    model: nn.Module,
    path: Path,
    *,
    name: str,
    classes: int,
    channels: int,
    averaged: bool = True,
) -> Loaded:
    """Load the weights of a file as they are, its classifier too. As `fit_weights`."""
    read = read_weights(path, averaged=averaged)
    return fit_weights(model, read, name=name, classes=classes, channels=channels, new_head=False)


def classifiers_of(model: nn.Module, classes: int) -> tuple[str, ...]:
    """Return the names of the layers that give the logits: several in timm's distilled models, none in a backbone."""
    layers = dict(model.named_modules())
    published: Any = getattr(model, "pretrained_cfg", None) or {}
    named = published.get("classifier") or ()
    named = (named,) if isinstance(named, str) else tuple(named)
    if named and all(_gives(layers.get(name), classes) for name in named):
        return named
    giving = [name for name, layer in layers.items() if _gives(layer, classes)]
    return tuple(giving[-1:])


def start_small(model: nn.Module, heads: Sequence[str]) -> None:
    """Make classifiers whose first gradients do not undo the features before them."""
    for name in heads:
        layer: Any = model.get_submodule(name)
        nn.init.normal_(layer.weight, std=HEAD_STD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _gives(layer: nn.Module | None, classes: int) -> bool:
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim in (2, 4) and weight.shape[0] == classes


def _new_heads(
    model: nn.Module, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], classes: int
) -> tuple[str, ...]:
    """Classifiers that the file does not have, or has for other classes."""
    new = []
    for head in classifiers_of(model, classes):
        own = {name: wanted[name] for name in wanted if _is_in(name, [head])}
        its = {name: given[name] for name in own if name in given}
        if all(name in its and its[name].shape == tensor.shape for name, tensor in own.items()):
            continue
        if all(its[name].shape[1:] == own[name].shape[1:] for name in its):
            new.append(head)
    return tuple(new)


def _is_in(name: str, layers: Sequence[str]) -> bool:
    return any(name.startswith(f"{layer}.") for layer in layers)


def _may_be_left(name: str, wanted: Mapping[str, Tensor], new_head: bool) -> bool:
    """What the model has no place for and does not need. A layer more of a part that it has shows another model."""
    if name.endswith(COUNTS) or AUXILIARY.search(name):
        return True
    part = name.partition(".")[0]
    return new_head and part not in {own.partition(".")[0] for own in wanted}


def _misfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """How many tensors are missing, unknown, of another shape or type, each with an example; None: all fit."""
    both = [(name, given[name], tensor) for name, tensor in wanted.items() if name in given]
    problems = {
        "missing": [name for name in wanted if name not in given],
        "unknown": [name for name in given if name not in wanted],
        "of another shape": [
            f"{name} {tuple(its.shape)} instead of {tuple(own.shape)}"
            for name, its, own in both
            if its.shape != own.shape
        ],
        "of another type": [
            f"{name} {its.dtype} instead of {own.dtype}"
            for name, its, own in both
            if own.is_floating_point() and not its.is_floating_point()
        ],
    }
    found = [f"{len(names)} {what} ({names[0]})" for what, names in problems.items() if names]
    return ", ".join(found) or None


def _cure(
    wanted: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    *,
    classes: int,
    channels: int,
    new_head: bool,
) -> str:
    """What to change, where that explains every tensor of another shape."""
    if len(wanted.keys() & given.keys()) < ENOUGH * len(wanted):
        return f"these are weights of another model; {CHECK}"
    cures: dict[str, None] = {}
    for name, own in wanted.items():
        a, b = tuple(own.shape), tuple(given[name].shape) if name in given else tuple(own.shape)
        if a == b:
            continue
        if len(a) == len(b) == 4 and a[1] == channels and a[0] == b[0] and a[2:] == b[2:]:
            cures[f"its images have {b[1]} channels: set data.channels: {b[1]}"] = None
        elif "pos" in name:
            size = _image_size(b, given)
            key = "image_size" if new_head else "teacher.image_size"
            cures[f"it was trained at another image size: set {key}{size}"] = None
        elif a[:1] == (classes,) and a[1:] == b[1:]:
            cures[f"it knows {b[0]} classes, and the data has {classes}"] = None
        else:
            return CHECK
    return " and ".join(cures) or CHECK


def _image_size(positions: tuple[int, ...], given: Mapping[str, Tensor]) -> str:
    """``: 224``, where tokens (1, N, D) of patches tell."""
    patches = [t.shape[-1] for name, t in given.items() if "patch_embed" in name and t.ndim == 4]
    side = math.isqrt(positions[1]) if len(positions) == 3 else 0
    return f": {side * patches[0]}" if side and len(patches) == 1 else " to that"
