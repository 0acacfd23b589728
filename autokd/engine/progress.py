"""How far a search is and how good: front, hypervolume, counts. Derived from results alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autokd.engine.scale import Scale
from autokd.pareto import hypervolume, is_on_distinct_front
from autokd.records import ACCURACIES, TrialResult

GROWTH = 1e-3  # of the hypervolume, relative; less than that is standing still


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A trial that a worker has."""

    number: int
    student: str
    stages: str
    epochs: int  # done when the worker got it
    until: int  # epochs after which it gives it back
    total: int
    val_accuracy: float | None  # at its last pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of a search after something has come of a trial."""

    results: tuple[TrialResult, ...]  # the latest of every trial
    latest: TrialResult | None  # the one that came last; None: none in this run yet
    running: tuple[Running, ...]
    front: tuple[TrialResult, ...]  # most accurate first
    hypervolume: float  # 0..1
    target: int  # trials that are to be begun
    epochs: int  # trained in all
    seconds: float  # of this run of the driver
    begun_before: int  # trials that an earlier run had begun
    time_limit: float | None  # seconds

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state."""
        return dict(Counter(result.state for result in self.results))

    @property
    def trained(self) -> int:
        """Trials that count towards the target: all but those that were rejected untrained."""
        return sum(result.state != "rejected" for result in self.results)

    @property
    def seconds_left(self) -> float | None:
        """Until all trials have begun, at the pace so far.

        None until a trial of this run has got somewhere, and when all have begun: how many of those that paused go
        on is not known before.
        """
        done, waiting = self.trained - self.begun_before, self.target - self.trained
        if done <= 0 or waiting <= 0:
            return None
        left = self.seconds / done * waiting
        return (
            left if self.time_limit is None else min(left, max(0.0, self.time_limit - self.seconds))
        )


def find_front(
    results: Sequence[TrialResult], objectives: Sequence[str]
) -> tuple[TrialResult, ...]:
    """The complete, feasible trials that no other such beats, most accurate on val first; of equal ones the first."""
    complete = _finished(results)
    if not complete:
        return ()
    values = np.array([[result.objective(name) for name in objectives] for result in complete])
    signs = np.array([-1.0 if name in ACCURACIES else 1.0 for name in objectives])
    chosen = np.flatnonzero(is_on_distinct_front(values * signs))
    return tuple(
        sorted((complete[i] for i in chosen), key=lambda r: (-r.val["accuracy"], r.number))
    )


def front_and_controls(
    results: Sequence[TrialResult], objectives: Sequence[str]
) -> list[TrialResult]:
    """The front, and what it is shown against."""
    front = find_front(results, objectives)
    controls = [r for r in results if r.control and r.state == "complete" and r not in front]
    return [*front, *controls]


def search_hypervolume(results: Sequence[TrialResult], scale: Scale) -> float:
    """Share of the scale's box that finished students within all limits beat."""
    return hypervolume(scale.points(_finished(results)), scale.reference)


def has_stalled(ended: Sequence[TrialResult], scale: Scale, *, patience: int) -> bool:
    """Whether the last `patience` of these, in the order in which they ended, added nothing to speak of."""
    if len(ended) <= patience:
        return False
    before = search_hypervolume(ended[:-patience], scale)
    return search_hypervolume(ended, scale) <= before * (1 + GROWTH)


def _finished(results: Sequence[TrialResult]) -> list[TrialResult]:
    return [result for result in results if result.state == "complete" and result.feasible]
