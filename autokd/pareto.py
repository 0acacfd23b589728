"""Pareto fronts and hypervolume of points whose every coordinate is to be small. numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, M): N points, M objectives, all minimised


def is_on_front(points: Points) -> NDArray[np.bool_]:
    """(N, M) -> (N,): True where no other point is at least as good in all and better in one objective.

    Equal points don't beat each other: both stay. A point with NaN is on no front.
    """
    clean = ~np.isnan(points).any(axis=1)
    candidates = points[clean]
    beaten = np.array(
        [np.any((candidates <= p).all(axis=1) & (candidates < p).any(axis=1)) for p in candidates],
        dtype=bool,
    )
    on_front = np.zeros(len(points), dtype=bool)
    on_front[clean] = ~beaten
    return on_front


def is_on_distinct_front(points: Points) -> NDArray[np.bool_]:
    """As `is_on_front`, but of equal points only the first stays."""
    _, first = np.unique(points, axis=0, return_index=True)
    distinct = np.zeros(len(points), dtype=bool)
    distinct[first] = True
    return is_on_front(points) & distinct


def hypervolume(points: Points, reference: Sequence[float]) -> float:
    """Volume that is beaten by the points and lies below the reference point.

    Exact, by slicing along the last objective (While et al. 2006, "HSO"): fine for the 2 or 3 objectives of a search.
    """
    limit = np.asarray(reference, dtype=np.float64)
    inside = points[(points < limit).all(axis=1)] if len(points) else points
    if not len(inside):
        return 0.0
    front = np.unique(inside[is_on_front(inside)], axis=0)
    if front.shape[1] == 1:
        return float(limit[0] - front.min())
    front = front[np.argsort(front[:, -1])]
    depths = np.append(front[1:, -1], limit[-1]) - front[:, -1]
    return math.fsum(
        depth * hypervolume(front[: i + 1, :-1], reference[:-1])
        for i, depth in enumerate(depths)
        if depth > 0
    )
