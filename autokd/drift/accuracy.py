"""Accuracy at export against accuracy now: fell, kept, or too few images to tell."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy.stats import fisher_exact

from autokd.drift.seen import CONFIDENCE, Seen
from autokd.fairness.rates import wilson

_MOST = 10**8  # images that nobody will label


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A count of right answers."""

    split: str  # val, test, or new
    correct: int
    images: int

    @property
    def share(self) -> float:
        return self.correct / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, Wilson (1927)."""
        low, high = wilson(np.array(self.correct), np.array(self.images)).tolist()
        return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyChange:
    """What was lost since export; negative: gained."""

    then: Accuracy
    now: Accuracy
    loss: float
    interval: tuple[float, float]  # 95 %, Newcombe (1998), method 10
    p: float  # of such a difference by chance, Fisher's exact test, two-sided
    margin: float  # a loss of this much matters
    needed: int | None  # new images that decide it; None: the export's own are too few
    state: str  # kept, slipped (by less than the margin so far), fell or undecided


def compare_accuracy(then: Accuracy, now: Accuracy, *, margin: float) -> AccuracyChange:
    interval = _newcombe(then, now)
    loss = then.share - now.share
    table = [[each.correct, each.images - each.correct] for each in (then, now)]
    return AccuracyChange(
        then=then,
        now=now,
        loss=loss,
        interval=interval,
        p=float(fisher_exact(table).pvalue),
        margin=margin,
        needed=_needed(then, now, margin),
        state=_state(loss, interval, margin),
    )


def _state(loss: float, interval: tuple[float, float], margin: float) -> str:
    low, high = interval
    if high < margin:
        return "kept"
    if low > 0:
        return "fell" if loss >= margin else "slipped"
    return "undecided"


def expected_accuracy(then: Seen, now: Seen, accuracy: Accuracy) -> float:
    """A guess without labels: the share of new images above the confidence that as many old ones were above as were right.

    Average thresholded confidence (Garg et al. 2022, arXiv 2201.04234). It holds where a student that is wrong is unsure.
    """
    threshold = np.quantile(then.columns[CONFIDENCE], 1 - accuracy.share)
    return float((now.columns[CONFIDENCE] >= threshold).mean())


def _newcombe(then: Accuracy, now: Accuracy) -> tuple[float, float]:
    (low1, high1), (low2, high2) = then.interval, now.interval
    p1, p2 = then.share, now.share
    below = float(np.hypot(p1 - low1, high2 - p2))
    above = float(np.hypot(high1 - p1, p2 - low2))
    return p1 - p2 - below, p1 - p2 + above


def _needed(then: Accuracy, now: Accuracy, margin: float) -> int | None:
    """The least number of new images that would decide it, were the same share of them right."""

    def decided(images: int) -> bool:
        more = Accuracy(split=now.split, correct=round(now.share * images), images=images)
        state = _state(then.share - more.share, _newcombe(then, more), margin)
        return state in ("kept", "fell")

    needed = bisect_left(range(1, _MOST), True, key=decided) + 1
    return needed if needed < _MOST else None
