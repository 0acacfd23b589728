"""What training scripts wrap around weights, and which weights are meant where they keep several."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from autokd.errors import CheckpointError

AVERAGED = re.compile(r"(^|_|\.)(ema|swa|avg|averaged?|shadow)(_|\.|$)", re.IGNORECASE)
# Lightning's callback puts the averaged weights in the model's place, and these beside them.
RAW_OF_LIGHTNING = "current_model_state"
# Under which the model's own weights stand, the likeliest first.
USUAL = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "net_state_dict", "module",
    "params", "weights", "backbone",
)  # fmt: skip
NO_MODEL = re.compile(r"optim|sched|scaler|loss|criterion|averaging_state", re.IGNORECASE)
DEPTH = 4  # of records in records; nobody wraps weights deeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which weights were taken, of averaged and raw ones: the keys, or starts of names, under which both stand."""

    averaged: bool
    taken: str
    other: str | None  # None: there are averaged ones alone

    def __str__(self) -> str:
        kinds = ("averaged", "raw") if self.averaged else ("raw", "averaged")
        also = f"; {self.other} holds the {kinds[1]} ones" if self.other else ""
        return f"the {kinds[0]} weights ({self.taken}){also}"


Found = tuple[Mapping[Any, Any], Choice | None]


def unwrap(content: Any, *, averaged: bool) -> Found:
    """Return the weights in what a file holds, and which they are where there was a choice.

    Raises CheckpointError where there are none, or where it can't be told which are meant.
    """
    found = _weights_in(content, averaged=averaged, depth=DEPTH)
    if found is None:
        raise CheckpointError(
            "is not a state dict (parameter name -> tensor); save it as safetensors, or as "
            "torch.save(model.state_dict(), …)"
        )
    return found


def choose(averages: Sequence[str], raw: str | None, *, averaged: bool) -> Choice | None:
    """Return which to take of averaged and raw weights; None where there are raw ones alone."""
    if not averages:
        return None
    if raw is None or averaged:
        return Choice(averaged=True, taken=averages[0], other=raw)
    return Choice(averaged=False, taken=raw, other=averages[0])


def _weights_in(content: Any, *, averaged: bool, depth: int) -> Found | None:
    if not isinstance(content, Mapping) or depth == 0:
        return None
    inner = {
        key: found
        for key, value in content.items()
        if isinstance(key, str) and not NO_MODEL.search(key)
        if (found := _weights_in(value, averaged=averaged, depth=depth - 1))
    }
    if not inner:
        tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
        return (tensors, None) if tensors else None
    averages = [key for key in inner if AVERAGED.search(key)]
    raws = [key for key in inner if key not in averages]
    if RAW_OF_LIGHTNING in raws and "state_dict" in raws:
        averages, raws = ["state_dict"], [RAW_OF_LIGHTNING]
    raw = _likeliest(raws) if raws else None
    choice = choose(averages, raw, averaged=averaged)
    weights, earlier = inner[choice.taken if choice else str(raw)]
    return weights, choice or earlier


def _likeliest(keys: Sequence[str]) -> str:
    if usual := [key for key in USUAL if key in keys]:
        return usual[0]
    if len(keys) == 1:
        return keys[0]
    raise CheckpointError(
        f"holds several sets of weights ({', '.join(keys)}); save the one that is meant: "
        f"torch.save(torch.load(FILE)['{keys[0]}'], …)"
    )
