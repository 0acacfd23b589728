"""Two sets of images against each other, figure by figure: could the difference be chance, and is it large enough to matter?

Each effect has the two limits that belong to a normal distribution moved by 0.32 and by 0.5 of its standard deviations. For
such a move the population stability index is its square, so they are PSI 0.1 and 0.25, "some change" and "large change"
(Siddiqi 2006, Credit Risk Scorecards); 0.5 is also Cohen's medium effect (1988).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2, chi2_contingency, ks_2samp, kstwobign, ncx2, norm

from autokd.drift.domain import tell_apart
from autokd.drift.seen import CONFIDENCE, Ints, Seen
from autokd.fairness.paired import holm

ALPHA = 0.05  # the chance of any false alarm, over all figures together
POWER = 0.8  # of finding a large change, with the images that are said to be needed
PSI = (0.1, 0.25)
_MOVES = tuple(float(np.sqrt(psi)) for psi in PSI)
LIMITS: Mapping[str, tuple[float, float]] = {
    "D": tuple(2 * float(norm.cdf(move / 2)) - 1 for move in _MOVES),  # type: ignore[dict-item]
    "PSI": PSI,
    "AUC": tuple(float(norm.cdf(move / np.sqrt(2))) for move in _MOVES),  # type: ignore[dict-item]
}
MEANINGS = {
    "D": "largest distance between the two distribution functions (Kolmogorov-Smirnov)",
    "PSI": "population stability index, less what chance alone would make it",
    "AUC": "of a logistic regression that tells old images from new ones by everything above",
}
LEAST_EXPECTED = (
    5  # images of a class in either set; rarer classes are counted as one (Cochran 1954)
)
CLASSES, TOGETHER = "predicted classes", "all together"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One figure, at export and now."""

    name: str
    of: str  # images, answers or both
    then: float | None  # median; None: the figure has none
    now: float | None
    measure: str  # a key of LIMITS
    effect: float
    p: float
    corrected_p: float  # Holm, over all figures
    needed: int | None  # new images to find a large change; None: too few were kept at export
    state: str  # same, shifted, drifted or undecided

    @property
    def is_of_other_images(self) -> bool:
        """Images are so unlike the old ones that a student's confidence on them means nothing."""
        return self.state == "drifted" and self.of != "answers"


def compare(then: Seen, now: Seen) -> tuple[Shift, ...]:
    """Every figure of two sets. Neither's order matters."""
    tests = len(then.columns) + 2
    shifts = [_column(name, then, now, tests) for name in then.columns]
    shifts += [_classes(then.chosen, now.chosen, tests), _together(then, now, tests)]
    corrected = holm(np.array([shift.p for shift in shifts]))
    return tuple(
        _judged(replace(shift, corrected_p=float(p)), now.images)
        for shift, p in zip(shifts, corrected, strict=True)
    )


def _judged(shift: Shift, images: int) -> Shift:
    some, large = LIMITS[shift.measure]
    if shift.corrected_p < ALPHA:
        state = (
            "drifted" if shift.effect >= large else "shifted" if shift.effect >= some else "same"
        )
    else:
        state = "undecided" if shift.needed is None or images < shift.needed else "same"
    return replace(shift, state=state)


def _column(name: str, then: Seen, now: Seen, tests: int) -> Shift:
    old, new = then.columns[name], now.columns[name]
    found = ks_2samp(old, new, method="asymp")
    # the distance that chance does not reach, and what the true one may be missed by; its variance is 1/4n at most
    reach = kstwobign.isf(ALPHA / tests) + norm.isf(1 - POWER) / 2
    enough = (reach / LIMITS["D"][1]) ** 2
    return _shift(
        name,
        of="answers" if name == CONFIDENCE else "images",
        measure="D",
        effect=float(found.statistic),
        p=float(found.pvalue),
        needed=images_needed(enough, len(old)),
        medians=(float(np.median(old)), float(np.median(new))),
    )


def _classes(old: Ints, new: Ints, tests: int) -> Shift:
    table = pool_rare(np.stack([old, new]))
    columns = table.shape[1]
    p = float(chi2_contingency(table, correction=False).pvalue) if columns > 1 else 1.0
    freedom = max(1, len(old) - 1)
    critical, high = chi2.isf(ALPHA / tests, freedom), 1.0
    while ncx2.sf(critical, freedom, high) < POWER:
        high *= 1.05
    return _shift(
        CLASSES,
        of="answers",
        measure="PSI",
        effect=stability_index(table),
        p=p,
        needed=images_needed(high / PSI[1], int(old.sum())),
    )


def _together(then: Seen, now: Seen, tests: int) -> Shift:
    auc, p = tell_apart(then, now)
    far = LIMITS["AUC"][1] - 0.5
    # Mann-Whitney's variance is 1/12n; half of the images train the classifier
    enough = 2 * ((norm.isf(ALPHA / tests) + norm.isf(1 - POWER)) / far) ** 2 / 12
    return _shift(
        TOGETHER,
        of="both",
        measure="AUC",
        effect=auc,
        p=p,
        needed=images_needed(enough, len(then)),
    )


def _shift(
    name: str,
    *,
    of: str,
    measure: str,
    effect: float,
    p: float,
    needed: int | None,
    medians: tuple[float | None, float | None] = (None, None),
) -> Shift:
    """Not judged yet: that takes all others' p."""
    return Shift(
        name=name, of=of, then=medians[0], now=medians[1], measure=measure, effect=effect, p=p,
        corrected_p=p, needed=needed, state="undecided",
    )  # fmt: skip


def images_needed(enough: float, kept: int) -> int | None:
    """New images n beside the `kept` m of the export so that mn/(m + n) is `enough`; None: no number of them is."""
    return int(np.ceil(enough * kept / (kept - enough))) if kept > enough else None


def pool_rare(table: Ints) -> Ints:
    """(2, C) counts to (2, K): classes that either set has too few of to test are one together."""
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / max(1, int(table.sum()))
    often = expected.min(axis=0) >= LEAST_EXPECTED
    rest = table[:, ~often].sum(axis=1, keepdims=True)
    kept = table[:, often]
    return np.concatenate([kept, rest], axis=1) if rest.sum() else kept


def stability_index(table: Ints) -> float:
    """Sum of (p - q) ln(p / q) over the columns of (2, K) counts, less its mean by chance (Yurdakul 2018: (K - 1)(1/n + 1/m)).

    Half an image is added to every count, so that a class that has vanished does not make it infinite.
    """
    if table.shape[1] < 2:
        return 0.0
    padded = table + 0.5
    p, q = padded / padded.sum(axis=1, keepdims=True)
    by_chance = (table.shape[1] - 1) * float((1 / np.maximum(table.sum(axis=1), 1)).sum())
    total = float(((p - q) * np.log(p / q)).sum())
    return max(0.0, total - float(by_chance))
