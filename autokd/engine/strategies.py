"""How a search spends its epochs: where trials pause, who goes on, and how many proposals are random."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from autokd.config import SearchConfig
from autokd.engine.halving import (
    at_rung,
    count_rungs,
    is_paused,
    next_to_advance,
    ranked,
    rung_epochs,
)
from autokd.engine.ledger import Entry
from autokd.engine.scale import Scale

SETTLED = 12  # trials at the lowest rung, before which nobody goes on: the first few are on its front by chance
TOP_SHARE = 1 / 9  # of trials that one-epoch trains to their end, as many as halving does


class Strategy(Protocol):
    """Decides by the ledger's entries alone, so that a search that goes on decides the same."""

    @property
    def random_share(self) -> float:
        """Of proposals; they keep a model from settling too early."""

    @property
    def sampler(self) -> str:
        """Where the others come from: forest, tpe or random."""

    @property
    def rungs(self) -> int:
        """How many there are; the last is a trial's end."""

    def pauses(self, epochs: int) -> tuple[int, ...]:
        """After how many of its epochs a trial reaches each rung."""

    def next_to_advance(
        self, entries: Sequence[Entry], busy: Collection[int], *, all_begun: bool
    ) -> Entry | None:
        """A paused trial that goes on; None: nobody yet. `busy` are at it already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """Most trials end after a fraction of their epochs."""

    rungs: int
    reduction: float
    scale: Scale
    sampler: str = "forest"
    random_share: float = 0.1  # a third needed a fifth more epochs (docs/decisions.md)

    def pauses(self, epochs: int) -> tuple[int, ...]:
        return rung_epochs(epochs, rungs=self.rungs, reduction=self.reduction)

    def next_to_advance(
        self, entries: Sequence[Entry], busy: Collection[int], *, all_begun: bool
    ) -> Entry | None:
        if not all_begun and sum(at_rung(entry, 0) is not None for entry in entries) < SETTLED:
            return None
        return next_to_advance(
            entries, busy, rungs=self.rungs, reduction=self.reduction, scale=self.scale
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OneEpoch:
    """One epoch for every trial, and then the best of all to their end. Egele et al. (2023, arXiv 2307.15422)."""

    scale: Scale
    sampler: str = "tpe"
    random_share: float = 1 / 3
    rungs: int = 2

    def pauses(self, epochs: int) -> tuple[int, ...]:
        return 1, epochs

    def next_to_advance(
        self, entries: Sequence[Entry], busy: Collection[int], *, all_begun: bool
    ) -> Entry | None:
        there = [entry for entry in entries if at_rung(entry, 0)]
        if not all_begun or any(not entry.results for entry in entries):
            return None
        most = math.ceil(TOP_SHARE * len(there))
        best = ranked(there, 0, self.scale, most=most)
        return next((entry for entry in best[:most] if is_paused(entry, 0, busy)), None)


def make_strategy(config: SearchConfig, scale: Scale, *, epochs: int) -> Strategy:
    """`epochs`: the most that a candidate of the space has."""
    return STRATEGIES[config.strategy](config, scale, epochs)


def least_share(config: SearchConfig, *, epochs: int, first: float = 0.0) -> float:
    """Of a trial's epochs, that is trained on average when no more go on than have to. Fronts may need twice that.

    `first`: the share of them that come before the lowest rung's, which every trial has.
    """
    return first + (1 - first) * _share_of_rungs(config, epochs)


def _share_of_rungs(config: SearchConfig, epochs: int) -> float:
    if config.strategy == "one-epoch":
        return (1 + TOP_SHARE * (epochs - 1)) / epochs
    if config.strategy != "halving":
        return 1.0
    rungs = count_rungs(epochs, most=config.rungs, reduction=config.reduction)
    pauses = (0, *rung_epochs(epochs, rungs=rungs, reduction=config.reduction))
    shares = (
        (end - start) / config.reduction**i for i, (start, end) in enumerate(pairwise(pauses))
    )
    return sum(shares) / epochs


def _halving(config: SearchConfig, scale: Scale, epochs: int) -> Strategy:
    rungs = count_rungs(epochs, most=config.rungs, reduction=config.reduction)
    return Halving(rungs=rungs, reduction=config.reduction, scale=scale)


def _full_length(config: SearchConfig, scale: Scale, *, sampler: str) -> Strategy:
    """Every trial is trained to its end: halving with one rung."""
    return Halving(
        rungs=1, reduction=config.reduction, scale=scale, sampler=sampler, random_share=0.0
    )


STRATEGIES: Mapping[str, Callable[[SearchConfig, Scale, int], Strategy]] = {
    "halving": _halving,
    "full": lambda config, scale, _: _full_length(config, scale, sampler="tpe"),
    "random": lambda config, scale, _: _full_length(config, scale, sampler="random"),
    "one-epoch": lambda _config, scale, _epochs: OneEpoch(scale=scale),
}
