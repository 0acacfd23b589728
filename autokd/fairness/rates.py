"""One model's figures in every group, from counts; calibration alone needs probabilities. Compares nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from autokd.fairness.counts import count
from autokd.fairness.groups import Attribute, class_attribute
from autokd.fairness.inputs import Model
from autokd.records import AuditPolicy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z95 = float(norm.ppf(0.975))
SMALLEST = float(np.finfo(np.float64).eps)  # probabilities are clipped to it before a logarithm
PER_CLASS = ("n_class", "recall", "precision", "fpr_ovr", "selection_rate")
MOST_CELLS = 200_000  # of confusion matrices in one attribute; above, they are left out


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Arrays over G groups and C classes. NaN is undefined: 0/0."""

    n_class: Ints  # (G, C): rows that are of the class
    chosen: Ints  # (G, C): rows that the model puts in the class
    hits: Ints  # (G, C): both
    confusion: Ints | None  # (G, C, C): true class, chosen class; None: too many cells
    calibration: Calibration | None  # None: labels alone

    @cached_property
    def n(self) -> Ints:
        return np.asarray(self.n_class.sum(axis=1))

    @cached_property
    def correct(self) -> Ints:
        return np.asarray(self.hits.sum(axis=1))

    @cached_property
    def accuracy(self) -> Floats:
        return ratio(self.correct, self.n)

    @cached_property
    def recall(self) -> Floats:
        return ratio(self.hits, self.n_class)

    @cached_property
    def negatives(self) -> Ints:
        return self.n[:, None] - self.n_class

    @cached_property
    def fpr(self) -> Floats:
        return ratio(self.chosen - self.hits, self.negatives)

    @cached_property
    def selection(self) -> Floats:
        return ratio(self.chosen, self.n[:, None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far confidence is from being right, per group. Bins are [low, high), 1.0 has one of its own."""

    binned: Ints  # (G, bins + 1)
    confidence: Floats  # (G, bins + 1): sums over the rows in a bin
    right: Floats  # likewise
    ece: Floats  # (G,): sum over bins of n_b/n |accuracy_b - confidence_b| (Naeini et al. 2015)
    nll: Floats  # (G,): mean of -log p(label)
    brier: Floats  # (G,): mean over rows of the squared distance to the label's corner
    margin: Floats  # (G,): mean of p(label) - the largest other p; low where a student is likely to lose


def measure(model: Model, labels: Ints, attribute: Attribute, *, policy: AuditPolicy) -> Rates:
    """Counts of one model in the groups of one attribute."""
    groups, classes = len(attribute.groups), model.classes
    codes, hit = attribute.codes, model.predicted == labels
    shape = (groups, classes)
    cells = groups * classes**2
    return Rates(
        n_class=count((codes, labels), shape),
        chosen=count((codes, model.predicted), shape),
        hits=count((codes[hit], labels[hit]), shape),
        confusion=count((codes, labels, model.predicted), (*shape, classes))
        if cells <= MOST_CELLS
        else None,
        calibration=_calibration(model, labels, attribute, bins=policy.ece_bins),
    )


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """NaN for 0/0, and for anything else over nothing."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    result: Floats = np.full(shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def wilson(successes: NDArray[Any], n: NDArray[Any]) -> Floats:
    """(..., 2): 95% score interval of a share (Wilson 1927); never empty, never outside 0..1."""
    share = ratio(successes, n)
    weight = ratio(np.full_like(share, Z95**2), np.asarray(n, dtype=np.float64))
    centre = (share + weight / 2) / (1 + weight)
    half = np.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    interval: Floats = np.clip(np.stack([centre - half, centre + half], axis=-1), 0, 1)
    return interval


def rates_record(rates: Rates, group: int, *, policy: AuditPolicy) -> dict[str, Any]:
    """One group's figures under the names that audit.json gives them."""
    present = rates.n_class[group] > 0
    f1 = ratio(2 * rates.hits[group], rates.n_class[group] + rates.chosen[group])
    record = {
        "n": rates.n[group],
        "n_class": rates.n_class[group],
        "correct": rates.correct[group],
        "accuracy": rates.accuracy[group],
        "accuracy_wilson95": wilson(rates.correct[group], rates.n[group]),
        "balanced_accuracy": rates.recall[group][present].mean(),
        "macro_f1_present_classes": f1[present].mean(),
        "recall": rates.recall[group],
        "precision": ratio(rates.hits[group], rates.chosen[group]),
        "fpr_ovr": rates.fpr[group],
        "selection_rate": rates.selection[group],
        "confusion": None if rates.confusion is None else rates.confusion[group],
        "judged": rates.n[group] >= policy.min_group_n,
    }
    return record | _calibration_record(rates, group, bins=policy.ece_bins)


def _calibration_record(rates: Rates, group: int, *, bins: int) -> dict[str, Any]:
    names = (f"ece{bins}_l1", "mean_confidence", "nll", "brier", "mean_margin", "reliability")
    if rates.calibration is None:
        return dict.fromkeys(names)
    these = rates.calibration
    confidence = these.confidence[group].sum() / rates.n[group]
    means = [figures[group] for figures in (these.nll, these.brier, these.margin)]
    values = (these.ece[group], confidence, *means)
    filled = np.flatnonzero(these.binned[group]).tolist()
    reliability = [
        {
            "low": b / bins,
            "high": min(b + 1, bins) / bins,
            "n": these.binned[group, b],
            "confidence": these.confidence[group, b] / these.binned[group, b],
            "accuracy": these.right[group, b] / these.binned[group, b],
        }
        for b in filled
    ]
    return dict(zip(names, (*values, reliability), strict=True))


def _calibration(
    model: Model, labels: Ints, attribute: Attribute, *, bins: int
) -> Calibration | None:
    if model.probabilities is None:
        return None
    groups, codes = len(attribute.groups), attribute.codes
    confidence = model.probabilities.max(axis=1)
    place = np.searchsorted(np.arange(bins + 1) / bins, confidence, side="right") - 1
    cells = (codes, np.minimum(place, bins))  # rounding may put a sum of one just above 1.0
    shape = (groups, bins + 1)
    right = count(cells, shape, weights=model.predicted == labels)
    confident = count(cells, shape, weights=confidence)
    n = count((codes,), (groups,))
    own = model.probabilities[np.arange(len(labels)), labels]
    nll = -np.log(np.clip(own, SMALLEST, 1))
    brier = np.square(model.probabilities).sum(axis=1) - 2 * own + 1
    return Calibration(
        binned=count(cells, shape),
        confidence=confident,
        right=right,
        ece=np.abs(right - confident).sum(axis=1) / n,
        nll=count((codes,), (groups,), weights=nll) / n,
        brier=count((codes,), (groups,), weights=brier) / n,
        margin=count((codes,), (groups,), weights=margins(model.probabilities, labels)) / n,
    )


def ece_by_class(model: Model, labels: Ints, *, bins: int) -> list[float | None] | None:
    """Calibration error over the rows of each class; None: none occurs, or labels alone.

    Of a teacher it decides whether a robust student can be had from it (Wang et al. 2023, UAI).
    """
    classes = class_attribute(labels, [str(c) for c in range(model.classes)])
    found = _calibration(model, labels, classes, bins=bins)
    if found is None:
        return None
    ece = dict(zip(classes.groups, found.ece.tolist(), strict=True))
    return [ece.get(str(c)) for c in range(model.classes)]


def margins(probabilities: Floats, labels: Ints) -> Floats:
    """(N,) p(label) minus the largest other probability, -1..1; below 0 the row is wrong.

    Its mean by group tells beforehand where compression will cost most (Tran et al. 2022, arXiv 2205.13574).
    """
    others = probabilities.copy()
    rows = np.arange(len(labels))
    others[rows, labels] = -1.0
    found: Floats = probabilities[rows, labels] - others.max(axis=1)
    return found
