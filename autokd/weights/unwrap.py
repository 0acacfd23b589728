"""What training scripts wrap around weights, and which weights are meant where they keep several."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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


def unwrap(content: Any, *, averaged: bool) -> tuple[Mapping[Any, Any], str]:
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


def _weights_in(
    content: Any, *, averaged: bool, depth: int
) -> tuple[Mapping[Any, Any], str] | None:
    if not isinstance(content, Mapping) or depth == 0:
        return None
    inner = {
        key: found
        for key, value in content.items()
        if isinstance(key, str) and not NO_MODEL.search(key)
        if (found := _weights_in(value, averaged=averaged, depth=depth - 1))
    }
    if inner:
        key, note = _choose(list(inner), averaged=averaged)
        weights, said = inner[key]
        return weights, note or said
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    return (tensors, "") if tensors else None


def _choose(keys: Sequence[str], *, averaged: bool) -> tuple[str, str]:
    """The key under which the wanted weights are, and a note on it where there was a choice."""
    means = [key for key in keys if AVERAGED.search(key)]
    raws = [key for key in keys if key not in means]
    if RAW_OF_LIGHTNING in raws and "state_dict" in raws:
        means, raws = ["state_dict"], [RAW_OF_LIGHTNING]
    mean = means[0] if means else None
    raw = _likeliest(raws) if raws else None
    if raw is None:
        assert mean is not None
        return mean, f"the averaged weights ({mean})"
    if mean is None:
        return raw, ""
    if averaged:
        return mean, f"the averaged weights ({mean}); {raw} holds the raw ones"
    return raw, f"the raw weights ({raw}); {mean} holds the averaged ones"


def _likeliest(keys: Sequence[str]) -> str:
    for key in (*USUAL, *keys[:1]):
        if key in keys and (key in USUAL or len(keys) == 1):
            return key
    raise CheckpointError(
        f"holds several sets of weights ({', '.join(keys)}); save the one that is meant: "
        f"torch.save(torch.load(FILE)['{keys[0]}'], …)"
    )
