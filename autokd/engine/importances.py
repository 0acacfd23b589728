"""Which parameters decide who gets to the front, and which only look as if they did."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import create_trial

from autokd.engine.halving import at_rung, rank
from autokd.engine.ledger import Entry
from autokd.engine.scale import Scale
from autokd.insight import Importance, Importances
from autokd.records import TrialResult

ENOUGH = 40  # students that a rung is taken for; fewer find little
LEAST = 20  # students, of which five are the best quarter; Optuna's documentation asks for five
MOST = 500  # students; of more, so many at random
BEST = 0.25  # share of students that counts as having got there
SHUFFLES = 100
HALVES = 50
SURE = 0.95  # of the shuffles

optuna.logging.set_verbosity(optuna.logging.WARNING)

Trained = tuple[Entry, TrialResult]


def find_importances(
    entries: Sequence[Entry],
    *,
    distributions: Mapping[str, BaseDistribution],
    scale: Scale,
    pauses: Sequence[int],
    seed: int = 0,
) -> Importances:
    """PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255; conditional parameters: arXiv 2601.20800), by Optuna.

    A parameter is important when the best quarter has other values of it than all have. Best are those that halving
    would promote: front by front, spread out, the infeasible last. They are compared on the highest rung that enough
    have reached; `pauses` are the rungs' epochs. Controls are left out: nothing chose them.
    """
    rng = np.random.default_rng(seed)
    rung, trained = _comparable([e for e in entries if not e.proposal.control], len(pauses))
    if len(trained) > MOST:
        trained = [trained[i] for i in sorted(rng.choice(len(trained), MOST, replace=False))]
    searched = [name for name in distributions if _count_values(name, trained) > 1]
    found: tuple[Importance, ...] = ()
    missing = None
    if len(trained) < LEAST:
        missing = f"{len(trained)} students have been trained far enough, and fewer than {LEAST} tell nothing"
    elif len(searched) < 2:
        missing = "fewer than two parameters are searched, so there is nothing to compare"
    else:
        found = _importances(trained, searched, distributions, scale, rng)
    return Importances(
        students=len(trained),
        best=_count_best(trained),
        epochs_share=pauses[rung] / pauses[-1],
        parameters=found,
        missing=missing,
    )


def _comparable(entries: Sequence[Entry], rungs: int) -> tuple[int, list[Trained]]:
    """The highest rung with enough results, or else the lowest."""
    for rung in reversed(range(rungs)):
        there = [(entry, result) for entry in entries if (result := at_rung(entry, rung))]
        if len(there) >= ENOUGH:
            break
    return rung, there


def _count_best(trained: Sequence[Trained]) -> int:
    """As Optuna cuts a quantile."""
    return math.ceil(BEST * len(trained))


def _count_values(name: str, trained: Sequence[Trained]) -> int:
    params = [entry.proposal.params for entry, _ in trained]
    return len({each[name] for each in params if name in each})


def _importances(
    trained: Sequence[Trained],
    names: Sequence[str],
    distributions: Mapping[str, BaseDistribution],
    scale: Scale,
    rng: np.random.Generator,
) -> tuple[Importance, ...]:
    """What stands out first, and then the largest."""
    points = scale.points([result for _, result in trained])
    feasible = np.array([result.feasible for _, result in trained])
    study = _study([entry for entry, _ in trained], distributions)
    everyone = np.arange(len(trained))

    def measure(members: NDArray[np.int64], *, shuffled: bool = False) -> NDArray[np.float64]:
        """One a parameter, from some of the students; shuffled: whoever is best is so by chance."""
        places = np.full(len(trained), np.inf)  # the others are left out
        order = rank(points[members], feasible[members], len(members))
        places[rng.permutation(members) if shuffled else members[order]] = range(len(members))
        return _divergences(study, places, names)

    found = measure(everyone)
    whole = found.sum() or 1.0
    by_chance = _most_by_chance(
        np.array([measure(everyone, shuffled=True) for _ in range(SHUFFLES)])
    )
    size = len(trained) // 2
    halves = np.array([measure(rng.permutation(everyone)[:size]) for _ in range(HALVES)])
    shares = halves / np.maximum(halves.sum(axis=1, keepdims=True), 1e-12)
    low, high = np.quantile(shares, (0.1, 0.9), axis=0)
    order = rank(points, feasible, len(trained))
    all_params = [trained[place][0].proposal.params for place in order]
    best_params = all_params[: _count_best(trained)]
    importances = [
        Importance(
            parameter=name,
            share=float(found[i] / whole),
            spread=float(high[i] - low[i]) / 2,
            chance=min(1.0, float(by_chance[i] / whole)),
            best_values=_in_words(name, distributions[name], best_params),
            all_values=_in_words(name, distributions[name], all_params),
        )
        for i, name in enumerate(names)
    ]
    return tuple(sorted(importances, key=lambda each: (not each.stands_out, -each.share)))


def _study(entries: Sequence[Entry], distributions: Mapping[str, BaseDistribution]) -> optuna.Study:
    """Of their parameters alone."""
    study = optuna.create_study()
    study.add_trials(
        [
            create_trial(
                value=0.0,
                params=dict(entry.proposal.params),
                distributions={name: distributions[name] for name in entry.proposal.params},
            )
            for entry in entries
        ]
    )
    return study


def _divergences(
    study: optuna.Study, places: NDArray[np.float64], names: Sequence[str]
) -> NDArray[np.float64]:
    """(P,) of students in this order, best first; infinity: not one of them."""
    # not above: with scikit-learn, which takes a second and a half
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():
        # that small is taken for good; of rare branches; that normalize=False is experimental
        for category in (UserWarning, optuna.exceptions.ExperimentalWarning):
            warnings.simplefilter("ignore", category)
        found = get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST),
            target=lambda trial: float(places[trial.number]),
            normalize=False,
        )
    return np.array([found[name] for name in names])


def _most_by_chance(shuffled: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, P) -> (P,): above these nothing is in 95 of 100 shuffles, in none of the parameters.

    Westfall and Young (1993): the largest of all parameters, each on its own scale, since a parameter with many
    values looks important more easily than one with two.
    """
    own = np.quantile(shuffled, SURE, axis=0)
    largest = (shuffled / np.maximum(own, 1e-12)).max(axis=1)
    limits: NDArray[np.float64] = own * np.quantile(largest, SURE)
    return limits


def _in_words(
    name: str, distribution: BaseDistribution, students: Sequence[Mapping[str, Any]]
) -> str:
    """The middle half of numbers: ``0.005 – 0.02``; the most frequent of choices: ``kd: 80%, dkd: 20%``."""
    values = [params[name] for params in students if name in params]
    if not values:
        return "–"
    if isinstance(distribution, CategoricalDistribution):
        counts = {choice: values.count(choice) for choice in distribution.choices}
        most = sorted(counts, key=lambda choice: -counts[choice])[:2]
        return ", ".join(f"{c}: {counts[c] / len(values):.0%}" for c in most if counts[c])
    low, high = np.quantile(values, (0.25, 0.75))
    return f"{low:.3g}" if low == high else f"{low:.3g} – {high:.3g}"
