"""Who trains on: successive halving for several objectives, asynchronous, so that no worker ever waits for a rung to fill.

A rung is a share of a trial's epochs. A paused trial goes on when it is among the best 1/reduction of its rung, or on the
rung's front. Li et al. (2020, arXiv 1810.05934) for one objective; Schmucker et al. (2021, arXiv 2106.12639) for several.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

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
    quota = most
    for members, is_front in _fronts(points, feasible):
        quota = max(quota, len(members)) if is_front else quota
        if len(order) >= quota:
            break
        order += _spread(points, members)
    return order[:quota]


def first_ranked(
    points: Points, feasible: NDArray[np.bool_], most: int, wanted: NDArray[np.bool_]
) -> int | None:
    """The first of the wanted places that `rank` gives; None: it gives none of them."""
    before, quota = 0, most
    for members, is_front in _fronts(points, feasible):
        quota = max(quota, len(members)) if is_front else quota
        if before >= quota:
            break
        if wanted[members].any():
            for place in _spread(points, members)[: quota - before]:
                if wanted[place]:
                    return place
        before += len(members)
    return None


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
        there = [(e, result) for e in entries if (result := at_rung(e, rung)) is not None]
        waiting = np.array([is_paused(entry, rung, busy) for entry, _ in there], dtype=bool)
        if not waiting.any():
            continue
        results = [result for _, result in there]
        feasible = np.array([result.feasible for result in results], dtype=bool)
        most = int(len(there) / reduction)
        place = first_ranked(scale.points(results), feasible, most, waiting)
        if place is not None:
            return there[place][0]
    return None


def ranked(there: Sequence[Entry], rung: int, scale: Scale, *, most: int) -> list[Entry]:
    """The best of those that are on a rung, best first."""
    results = [result for entry in there if (result := at_rung(entry, rung))]
    feasible = np.array([result.feasible for result in results], dtype=bool)
    return [there[place] for place in rank(scale.points(results), feasible, most)]


def is_paused(entry: Entry, rung: int, busy: Collection[int]) -> bool:
    """It waits there to go on, and is not going on already."""
    return len(entry.results) == rung + 1 and not entry.is_closed and entry.number not in busy


def _fronts(
    points: Points, feasible: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], bool]]:
    """Places layer after layer, the infeasible behind all others; and whether it is the front."""
    for part, fits in ((np.flatnonzero(feasible), True), (np.flatnonzero(~feasible), False)):
        if not len(part):
            continue
        layer = layers(points[part])
        order = np.argsort(layer, kind="stable")
        for number, members in enumerate(np.split(part[order], np.cumsum(np.bincount(layer))[:-1])):
            yield members, fits and number == 0


def _spread(points: Points, members: NDArray[np.int64]) -> list[int]:
    """The members of a layer in order, by their coordinates as shares of the range that all points have."""
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points[members] - low) / np.where(high > low, high - low, 1.0)
    order: list[int] = members[spread_order(scaled, len(members))].tolist()
    return order
