"""Whether old images can be told from new ones by all that is known of them at once."""

from __future__ import annotations

import numpy as np
from scipy.stats import mannwhitneyu

from autokd.drift.looks import Floats
from autokd.drift.seen import Seen

MOST = 2000  # images of each kind
LEAST = 8  # of each kind, below which there is nothing to learn from


def tell_apart(then: Seen, now: Seen) -> tuple[float, float]:
    """AUC on the half that the classifier did not learn from, and the p of an AUC as high by chance.

    A classifier two-sample test (Lopez-Paz & Oquab 2017): valid whatever the classifier, since its scores of held-out
    images are exchangeable where nothing has changed.
    """
    parts = [seen.sample(MOST).features for seen in (then, now)]
    if min(map(len, parts)) < LEAST:
        return 0.5, 1.0
    (old_half, old_rest), (new_half, new_rest) = (_halves(part) for part in parts)
    scores = _scores(old_half, new_half, np.concatenate([new_rest, old_rest]))
    new, old = scores[: len(new_rest)], scores[len(new_rest) :]
    found = mannwhitneyu(new, old, alternative="greater", method="asymptotic")
    return float(found.statistic) / (len(new) * len(old)), float(found.pvalue)


def _halves(features: Floats) -> tuple[Floats, Floats]:
    """By chance, but the same halves whatever order the images come in."""
    order = np.lexsort(features.T)
    mixed = features[order[np.random.default_rng(1).permutation(len(order))]]
    return mixed[::2], mixed[1::2]


def _scores(old: Floats, new: Floats, asked: Floats) -> Floats:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced")
    )
    model.fit(np.concatenate([old, new]), np.repeat([0, 1], [len(old), len(new)]))
    scores: Floats = model.decision_function(asked)
    return scores
