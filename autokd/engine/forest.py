"""Which of some candidates promises most: a forest for what training alone tells, costs as they are known exactly.

Expected hypervolume improvement (Emmerich et al. 2006) with the trees of a forest (Hutter et al. 2011; extremely randomised,
Geurts et al. 2006) as samples of what a candidate may come to. What a student costs is known before it is trained, so only accuracies are guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from autokd.engine.scale import Scale
from autokd.pareto import Points, hypervolume_gains, is_on_front
from autokd.records import Candidate, Cost, TrialResult

TREES = 32
ABSENT = -1.0  # of a parameter that a candidate has not; values lie in 0..1
SOFT = 0.02  # added to an error before its logarithm: errors near 0 are not told apart for ever
KNOWN = ("macs", "params", "size_bytes", "activation_bytes")  # before training

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]  # as trees take features


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A candidate that may be proposed: within budget, and not tried yet."""

    candidate: Candidate
    params: Mapping[str, Any]
    cost: Cost


def most_promising(
    pool: Sequence[Drawn],
    seen: Sequence[tuple[Drawn, TrialResult]],
    running: Sequence[Drawn],
    *,
    unfit: Sequence[Drawn] = (),
    distributions: Mapping[str, BaseDistribution],
    scale: Scale,
    seed: int,
) -> list[int]:
    """Places in the pool, first the candidate that is expected to add most to the hypervolume of what was seen.

    `running` are taken to come to what the forest expects of them, so that they are not proposed twice over; of
    `unfit` nothing is known but that they broke a limit, such as memory.
    """
    if not pool:
        return []
    guessed = [i for i, name in enumerate(scale.objectives) if name not in KNOWN]
    points = scale.points([result for _, result in seen])
    broken = np.array([[float(not result.feasible)] for _, result in seen])
    targets = np.hstack([np.log(points[:, guessed] + SOFT), broken])
    of_unfit = np.append(
        targets[:, :-1].mean(axis=0), 1.0
    )  # neither good nor bad, but out of limits
    targets = np.vstack([targets, np.tile(of_unfit, (len(unfit), 1))])
    told = [*(each for each, _ in seen), *unfit]
    trees = _fit_trees(_features(told, distributions), targets, seed=seed)

    def expect(drawn: Sequence[Drawn]) -> tuple[NDArray[np.float64], Floats]:
        """(trees, N, objectives) that each tree expects, and (N,) the chance that no limit is broken."""
        features = _features(drawn, distributions)
        leaves = np.stack([tree.predict(features) for tree in trees])
        leaves = leaves.reshape(TREES, len(drawn), len(guessed) + 1)
        expected = np.broadcast_to(
            scale.known_points([each.cost for each in drawn]),
            (TREES, len(drawn), len(scale.objectives)),
        ).copy()
        expected[:, :, guessed] = np.exp(leaves[:, :, :-1]) - SOFT
        return expected, 1 - leaves[:, :, -1].mean(axis=0)

    known = points[broken[:, 0] == 0]
    if running:
        known = np.vstack([known, expect(running)[0].mean(axis=0)])
    expected, chance = expect(pool)
    return _falling(chance * _expected_gain(known, expected, scale))


def _fit_trees(features: Singles, targets: Floats, *, seed: int) -> list[Any]:
    """Extremely randomised trees, each of a bootstrap sample. scikit-learn's forest of them takes twice the time to make."""
    import sklearn  # a second and a half that no search needs before it has something to learn from
    from sklearn.tree import ExtraTreeRegressor

    rng = np.random.default_rng(seed)
    trees = []
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for number in range(TREES):
            drawn = rng.integers(len(features), size=len(features))
            times = np.bincount(drawn, minlength=len(features)).astype(float)
            tree = ExtraTreeRegressor(max_features=0.5, random_state=number)
            tree.fit(features, targets, sample_weight=times, check_input=False)
            trees.append(tree.tree_)
    return trees


def emptiest(pool: Sequence[Drawn], tried: Sequence[Cost]) -> list[int]:
    """Places in the pool, first the candidate in whose neighbourhood of cost least was tried: fronts reach over all of it."""
    own = np.log([each.cost.macs for each in pool])
    others = np.log([max(1, cost.macs) for cost in tried])
    crowd: Floats = np.exp(-(((own[:, None] - others[None, :]) / 0.35) ** 2)).sum(axis=1)
    return _falling(-crowd)


def _falling(values: Floats) -> list[int]:
    """Places from the highest value down; of equal ones the first."""
    order: list[int] = np.argsort(-values, kind="stable").tolist()
    return order


def _expected_gain(known: Points, expected: NDArray[np.float64], scale: Scale) -> Floats:
    """(trees, N, M) -> (N,): mean over trees of the hypervolume that a point adds."""
    front = known[is_on_front(known)] if len(known) else known
    trees, pool, objectives = expected.shape
    gains = hypervolume_gains(expected.reshape(-1, objectives), front, scale.reference)
    mean: Floats = gains.reshape(trees, pool).mean(axis=0)
    return mean


def _features(drawn: Sequence[Drawn], distributions: Mapping[str, BaseDistribution]) -> Singles:
    """(N, F): parameters as shares of their ranges, choices as one of several, and what is known of the cost."""
    columns = []
    for name, distribution in distributions.items():
        values = [each.params.get(name) for each in drawn]
        if isinstance(distribution, CategoricalDistribution):
            columns += [[float(v == choice) for v in values] for choice in distribution.choices]
        else:
            columns.append([ABSENT if v is None else _share(v, distribution) for v in values])
    columns += [[np.log(getattr(each.cost, name)) for each in drawn] for name in ("macs", "params")]
    columns.append([float(len(each.candidate.assistants)) for each in drawn])
    return np.array(columns, dtype=np.float32).T.copy()  # in the order that trees read


def _share(value: float, distribution: Any) -> float:
    low, high = distribution.low, distribution.high
    if distribution.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low))
