"""What can be learned from a whole search: the figures alone, as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """How much a parameter decides who is among the best."""

    parameter: str
    share: float  # of all parameters' importance, 0..1
    spread: float  # of the share over random halves of the students: half of what eight in ten of them span
    chance: float  # share that no parameter exceeds by its own standard in 19 of 20 shuffles
    best_values: str  # what the best have, in words,
    all_values: str  # and what all have

    @property
    def stands_out(self) -> bool:
        return self.share > self.chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """Of all parameters, what stands out first; or why there are none."""

    students: int  # that they rest on
    best: int  # of these
    epochs_share: float  # of their epochs after which they were compared; 1: at their end
    parameters: tuple[Importance, ...] = ()
    missing: str | None = None  # why there are none

    @property
    def standing_out(self) -> tuple[Importance, ...]:
        return tuple(each for each in self.parameters if each.stands_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The front at one moment."""

    clock: float  # seconds that the search had been driven for
    epochs: int  # trained by all trials and their assistants
    trials: int  # begun
    hypervolume: float  # 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A limit and the trials that broke it."""

    limit: str  # a cost, gap_growth or memory
    trials: int
    alone: int  # that broke no other
    excess: float | None  # median: log(cost / limit), or a share for gap_growth; None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """How well the latency of a student is guessed from the others'."""

    measured: int  # architectures
    median_error: float  # as a share, of each one guessed from all others


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A model of the space."""

    model: str
    proposed: int
    rejected: int  # untrained, for being over the budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    reason: str  # the numbers in it replaced by N
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """Of one search, as far as it has come."""

    study: str
    objectives: tuple[str, ...]
    states: Mapping[str, int]  # trials by state
    importances: Importances
    growth: tuple[Growth, ...]  # the beginning, every moment that the front got better, and the end
    broken: tuple[Broken, ...]  # most often broken first
    families: tuple[Family, ...]  # most often proposed first
    failures: tuple[Failure, ...]  # most frequent first
    worker_seconds: Mapping[str, float]  # by activity, summed over workers
    driver_seconds: Mapping[str, float]  # by activity, over runs that came to their end
    latency_guesses: Guesses | None = None  # None: too few were measured

    @property
    def proposed(self) -> int:
        return sum(self.states.values())
