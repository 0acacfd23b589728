"""Names of weights: what wrappers put before them goes, by the names that the model has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from autokd.errors import CheckpointError
from autokd.weights.read import ReadWeights
from autokd.weights.unwrap import AVERAGED, Choice, choose

HEAD = "head."  # MMPretrain's, beside its backbone's prefix
ENOUGH = 0.5  # of a model's names, that its weights have; where fewer are alike, they are another model's


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Weights under a model's names, as far as it has them."""

    tensors: Mapping[str, Tensor]
    left: tuple[str, ...]  # the file's names of what stands beside the model: a loss, another model
    choice: Choice | None  # which were taken, where there are averaged ones


def named_as(wanted: Collection[str], read: ReadWeights) -> Named:
    """Return the weights without what wrappers (DDP, compile, Lightning, averaging) put before their names.

    Of all starts of names that one is taken away after which most names are the model's. Of another model's weights, too,
    what all names begin with. Raises CheckpointError where several sets of weights fit the model equally well.
    """
    start, choice = _start(read, wanted)
    tensors = {
        name.removeprefix(start): tensor
        for name, tensor in read.tensors.items()
        if name.startswith(start)
    }
    beside = {name: t for name, t in read.tensors.items() if not name.startswith(start)}
    for name in wanted:
        if name not in tensors and (other := beside.pop(HEAD + name, None)) is not None:
            tensors[name] = other
    return Named(tensors=tensors, left=tuple(beside), choice=choice or read.choice)


def _start(read: ReadWeights, wanted: Collection[str]) -> tuple[str, Choice | None]:
    """What all names of the wanted weights begin with, and which these are where there are averaged ones."""
    fits: Counter[str] = Counter()
    for name in read.tensors:
        parts = name.split(".")
        for place in range(len(parts)):
            if ".".join(parts[place:]) in wanted:
                fits[".".join([*parts[:place], ""])] += 1
    best = max(fits.values(), default=0)
    if best < ENOUGH * len(wanted):
        first = {name.partition(".")[0] for name in read.tensors}
        return (f"{first.pop()}." if len(first) == 1 else ""), None
    starts = [start for start, count in fits.items() if count == best]
    averages = [start for start in starts if AVERAGED.search(start)]
    raws = [start for start in starts if start not in averages]
    if len(raws) > 1:
        raise CheckpointError(
            f"{read.path}: holds several sets of weights that fit ({', '.join(raws)}); save the one that is meant as "
            "torch.save(model.state_dict(), …)"
        )
    raw = raws[0] if raws else None
    choice = choose(averages, raw, averaged=read.averaged)
    return (choice.taken if choice else str(raw)), choice
