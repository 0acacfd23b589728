"""A linear classifier of features, its strength chosen by cross-validation on the images that it is fitted to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 3  # five chose the same strengths, in 1.3 to 2 times the seconds
STRENGTHS = np.logspace(-4, 0, 5)  # C of the logistic regression, of standardised features
RIDGES = np.logspace(0, 5, 11)  # alpha of the ridge regression, likewise
SCALES = (0.1, 1000.0)  # of ridge's answers as logits
# images x features x classes, up to which the logistic regression takes a minute or less on one thread
LOGISTIC = 2.5e8
STEPS, TOLERANCE = 100, 1e-3  # of its optimiser


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearClassifier:
    """Logits are ``features @ weight.T + bias``."""

    weight: NDArray[np.float64]  # (C, D)
    bias: NDArray[np.float64]  # (C,)
    method: str  # how it was fitted, in words


def fit_classifier(
    features: NDArray[np.float32], labels: NDArray[np.int64], *, classes: int
) -> LinearClassifier:
    """Fit features (N, D) and labels (N,) by logistic regression; by ridge regression where that would take too long, or
    a class has a single image. A class without images is never the answer."""
    present, targets = np.unique(labels, return_inverse=True)
    logistic = features.size * classes <= LOGISTIC and np.bincount(targets).min() > 1
    fit = _logistic if logistic and len(present) > 1 else _ridge
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = features.std(axis=0, dtype=np.float64)
    deviation[deviation < 1e-6] = 1.0  # a feature that is always the same tells nothing
    with warnings.catch_warnings():
        # of optimisers that stopped early, which the strength makes up for
        warnings.simplefilter("ignore")
        weight, bias, method = fit((features - mean) / deviation, targets)
    weight = weight / deviation
    bias = bias - weight @ mean
    all_weight, all_bias = np.zeros((classes, features.shape[1])), np.full(classes, -1e3)
    all_weight[present], all_bias[present] = weight, bias
    return LinearClassifier(weight=all_weight, bias=all_bias, method=method)


def _logistic(features: NDArray[Any], targets: NDArray[Any]) -> tuple[Any, Any, str]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    folds = min(FOLDS, int(np.bincount(targets).min()))
    search = GridSearchCV(
        LogisticRegression(max_iter=STEPS, tol=TOLERANCE),
        {"C": STRENGTHS},
        scoring="neg_log_loss",
        cv=StratifiedKFold(folds, shuffle=True, random_state=0),
    ).fit(features, targets)
    weight, bias = search.best_estimator_.coef_, search.best_estimator_.intercept_
    if len(weight) == 1:  # of two classes the second alone has logits
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias, f"logistic regression, C = {search.best_params_['C']:g}"


def _ridge(features: NDArray[Any], targets: NDArray[Any]) -> tuple[Any, Any, str]:
    """Its answers to images that it was not fitted to say how far they are spread out to be logits."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    wanted = np.eye(int(targets.max()) + 1)[targets]
    chosen = RidgeCV(alphas=RIDGES).fit(features, wanted)
    folds = KFold(min(FOLDS, len(targets)), shuffle=True, random_state=0)
    answers = cross_val_predict(Ridge(alpha=chosen.alpha_), features, wanted, cv=folds)

    def loss(log_scale: float) -> float:
        return -float((wanted * log_softmax(np.exp(log_scale) * answers, axis=1)).sum())

    scale = np.exp(minimize_scalar(loss, bounds=np.log(SCALES), method="bounded").x)
    weight, bias = np.atleast_2d(chosen.coef_), np.atleast_1d(chosen.intercept_)
    return scale * weight, scale * bias, f"ridge regression, alpha = {chosen.alpha_:g}"
