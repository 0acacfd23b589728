"""Pareto fronts, ranks and hypervolume of points whose every coordinate is to be small."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, M): N points, M objectives, all minimised
Values = NDArray[np.float64]  # (N,)


def is_on_front(points: Points) -> NDArray[np.bool_]:
    """(N, M) -> (N,): True where no other point is at least as good in all and better in one objective.

    Equal points don't beat each other: both stay. A point with NaN is on no front.
    """
    clean = ~np.isnan(points).any(axis=1)
    on_front = np.zeros(len(points), dtype=bool)
    if clean.any():
        on_front[clean] = moocore.is_nondominated(points[clean], keep_weakly=True)
    return on_front


def is_on_distinct_front(points: Points) -> NDArray[np.bool_]:
    """As `is_on_front`, but of equal points only the first stays."""
    _, first = np.unique(points, axis=0, return_index=True)
    distinct = np.zeros(len(points), dtype=bool)
    distinct[first] = True
    return is_on_front(points) & distinct


def hypervolume(points: Points, reference: Sequence[float]) -> float:
    """Volume that is beaten by the points and lies below the reference point. Exact."""
    limit = np.asarray(reference, dtype=np.float64)
    inside = points[(points < limit).all(axis=1)] if len(points) else points
    return float(moocore.hypervolume(inside, ref=limit)) if len(inside) else 0.0


def hypervolume_gains(points: Points, front: Points, reference: Sequence[float]) -> Values:
    """(N, M), (F, M) -> (N,): what each point alone would add to the front's hypervolume. Exact.

    With two objectives the volume is a sum over the strips between neighbours on the front, for all points at once.
    """
    limit = np.asarray(reference, dtype=np.float64)
    front = front[(front < limit).all(axis=1)]
    if points.shape[1] != 2:
        base = hypervolume(front, reference)
        return np.array(
            [hypervolume(np.vstack([front, each]), reference) - base for each in points]
        )
    front = front[np.lexsort(front.T[::-1])]
    left = np.concatenate([[-np.inf], front[:, 0]])
    right = np.concatenate([front[:, 0], limit[:1]])
    top = np.concatenate([limit[1:], np.minimum.accumulate(front[:, 1])])
    widths = np.clip(right - np.maximum(left, points[:, :1]), 0, None)
    gains: Values = (widths * np.clip(top - points[:, 1:], 0, None)).sum(axis=1)
    return gains


def layers(points: Points) -> NDArray[np.int64]:
    """(N, M) -> (N,): 0 on the front, 1 on the front of what is left without it, and so on. Without NaN."""
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(points), dtype=np.int64)


def spread_order(points: Points, most: int) -> list[int]:
    """Places of at most so many points, each as far as can be from those before it, the first coordinate's least first.

    Greedy epsilon-net (Clarkson 2006), as Salinas et al. (2021, arXiv 2106.12639) rank a front by. Distances are
    Euclidean: scale the points before.
    """
    if not len(points):
        return []
    order = [int(np.lexsort(points.T[::-1])[0])]
    nearest = np.full(len(points), np.inf)
    while len(order) < min(most, len(points)):
        nearest = np.minimum(nearest, np.linalg.norm(points - points[order[-1]], axis=1))
        nearest[order] = -1.0
        order.append(int(nearest.argmax()))
    return order
