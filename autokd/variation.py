"""What differs between candidates: the parameters worth an axis when many are looked at together."""

from __future__ import annotations

from collections.abc import Sequence

from autokd.records import TrialResult

# Last parts of keys: the same as another one, said by `Candidate.describe_stages`, or not chosen by the search.
NOT_CHOSEN = ("stages", "teachers", "start_from", "mean", "std", "seed", "threads")
# The likely most telling first.
TELLING = (".student.model", ".learning_rate", ".temperature", ".arguments.")


def varying_params(trials: Sequence[TrialResult], *, most: int) -> list[str]:
    """Keys of `Candidate.to_params` that every complete trial has and that differ between them, at most so many."""
    params = [t.candidate.to_params() for t in trials if t.state == "complete"]
    if not params:
        return []
    shared = [key for key in params[0] if all(key in other for other in params)]
    varying = [
        key
        for key in shared
        if key.split(".")[-1] not in NOT_CHOSEN or ".arguments." in key
        if len({other[key] for other in params}) > 1
    ]
    return sorted(varying, key=_priority)[:most]


def _priority(key: str) -> tuple[int, str]:
    rank = next((n for n, part in enumerate(TELLING) if part in key), len(TELLING))
    return (rank + 10 * (not key.startswith("student.")), key)
