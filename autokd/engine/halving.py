"""Who trains on: successive halving for several objectives, asynchronous, so that no worker ever waits for a rung to fill.

A rung is a share of a trial's epochs. A paused trial goes on when it is among the best 1/reduction of its rung, or on the
rung's front. Li et al. (2020, arXiv 1810.05934) for one objective; Schmucker et al. (2021, arXiv 2106.12639) for several.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from autokd.engine.ledger import Entry
from autokd.engine.scale import Scale
from autokd.pareto import Points, layers, spread_order
from autokd.records import TrialResult


def count_rungs(epochs: int, *, most: int, reduction: float) -> int:
    """How many rungs make sense for trials of so many epochs: the lowest has one epoch or more."""
    return min(most, 1 + math.floor(math.log(epochs) / math.log(reduction) + 1e-9))


def rung_epochs(epochs: int, *, rungs: int, reduction: float) -> tuple[int, ...]:
    """After how many of its epochs a trial reaches each rung; the last is its end."""
    return tuple(max(1, round(epochs / reduction**below)) for below in reversed(range(rungs)))


def at_rung(entry: Entry, rung: int) -> TrialResult | None:
    """What a trial came to there; None: it is not there, or failed. One that ended early is on all that follow."""
    if not entry.results:
        return None
    result = entry.results[min(rung, len(entry.results) - 1)]
    there = result.state == "complete" or (result.state == "stopped" and rung < len(entry.results))
    return result if there else None


def rank(points: Points, feasible: NDArray[np.bool_], most: int) -> list[int]:
    """Places of the best `most` points, or of the whole front where that is more; best first.

    Front by front, the infeasible behind all others; within a front, what is far from those before it comes first.
    """
    order: list[int] = []
    front = 0
    for part, fits in ((np.flatnonzero(feasible), True), (np.flatnonzero(~feasible), False)):
        layer = layers(points[part])
        for number in np.unique(layer):
            if len(order) >= most and not (fits and number == 0):
                break
            members = part[layer == number]
            order += members[spread_order(_scaled(points, members), len(members))].tolist()
            front = len(members) if fits and number == 0 else front
    return order[: max(most, front)]


def next_to_advance(
    entries: Sequence[Entry],
    busy: Collection[int],
    *,
    rungs: int,
    reduction: float,
    scale: Scale,
) -> Entry | None:
    """The paused trial that goes on next: of the highest rung where there is one, the best ranked of it."""
    for rung in reversed(range(rungs - 1)):
        if not any(is_paused(entry, rung, busy) for entry in entries):
            continue
        there = [entry for entry in entries if at_rung(entry, rung)]
        for entry in ranked(there, rung, scale, most=int(len(there) / reduction)):
            if is_paused(entry, rung, busy):
                return entry
    return None


def ranked(there: Sequence[Entry], rung: int, scale: Scale, *, most: int) -> list[Entry]:
    """The best of those that are on a rung, best first."""
    results = [result for entry in there if (result := at_rung(entry, rung))]
    feasible = np.array([result.feasible for result in results], dtype=bool)
    return [there[place] for place in rank(scale.points(results), feasible, most)]


def is_paused(entry: Entry, rung: int, busy: Collection[int]) -> bool:
    """It waits there to go on, and is not going on already."""
    return len(entry.results) == rung + 1 and not entry.is_closed and entry.number not in busy


def _scaled(points: Points, members: NDArray[np.int64]) -> Points:
    """The members' coordinates as shares of the range that all points have."""
    low, high = points.min(axis=0), points.max(axis=0)
    scaled: Points = (points[members] - low) / np.where(high > low, high - low, 1.0)
    return scaled
