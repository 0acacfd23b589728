"""How slow a student will be, guessed from those that were measured: only to pass over what is clearly too slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autokd.records import Cost, TrialResult

ENOUGH = 8  # architectures that were measured, below which nothing is guessed
PENALTY = 0.1  # of the ridge regression
MARGIN = 2.0  # standard errors, in logarithms, that a guess must be over the limit by

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Foresight:
    """Linear in the logarithm of MACs, with a factor for int8, fitted to one device. Parameters and activations add
    nothing to that (docs/costs.md)."""

    model: Any
    measured: int  # architectures
    error: float  # of the logarithm: standard deviation, each architecture guessed from all others
    median_error: float  # of the latency, as a share, likewise

    def guess(self, cost: Cost) -> float:
        """Milliseconds that a limit would be held against."""
        return float(np.exp(self.model.predict(_features([cost]))[0]))

    def is_too_slow(self, cost: Cost, limit: float) -> bool:
        """Far enough over the limit that measuring it would be lost time. Never of what was measured."""
        if cost.latency_ms is not None:
            return False
        return self.guess(cost) > limit * float(np.exp(MARGIN * self.error))


def learn_latency(results: Sequence[TrialResult]) -> Foresight | None:
    """From all students whose latency was measured, over the limit or not; None: too few to say anything."""
    measured: dict[tuple[int, int, str], Cost] = {}
    for result in results:
        cost = result.cost
        if cost and cost.known("latency_ms") is not None and not cost.contended:
            measured[(cost.macs, cost.params, cost.weight_dtype)] = cost
    if len(measured) < ENOUGH:
        return None
    from sklearn.linear_model import Ridge  # a second and a half, for latency limits alone
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    costs = list(measured.values())
    features = _features(costs)
    targets = np.log([cost.known("latency_ms") or 1.0 for cost in costs])
    model = make_pipeline(StandardScaler(), Ridge(alpha=PENALTY)).fit(features, targets)
    # Each one guessed from all others, without a fit for each: every proposal asks. (Ridge's hat matrix, Golub et al. 1979)
    scaled = model[0].transform(features)
    inner = np.linalg.inv(scaled.T @ scaled + PENALTY * np.eye(scaled.shape[1]))
    leverage = 1 / len(costs) + np.einsum("ij,jk,ik->i", scaled, inner, scaled)
    residuals = (targets - model.predict(features)) / (1 - leverage)
    return Foresight(
        model=model,
        measured=len(costs),
        error=float(np.sqrt(np.mean(residuals**2))),
        median_error=float(np.median(np.abs(np.expm1(-residuals)))),
    )


def _features(costs: Sequence[Cost]) -> Floats:
    """(N, 2)."""
    return np.array(
        [(np.log(max(cost.macs, 1)), cost.weight_dtype == "int8") for cost in costs], float
    )
