"""A warm start: what earlier searches ended with, as the first proposals of a new one on other data or from another teacher.

Proposals are carried over, results are not: an accuracy on other images says nothing here. Wistuba et al. (2015), "Sequential
model-free hyperparameter tuning", call such a list a portfolio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import zip_longest
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from autokd.engine.database import known_studies
from autokd.engine.ledger import Entry, Ledger, Proposal
from autokd.engine.progress import find_front
from autokd.engine.scale import Scale
from autokd.errors import AutoKDError, ConfigError, nearest_name
from autokd.pareto import spread_order
from autokd.records import Budget, Candidate, Cost, StudentSpec
from autokd.space import Suggest, centre

MOST = 16  # proposals of a warm start


def earlier_fronts(url: str, studies: Sequence[str]) -> list[dict[str, Any]]:
    """Of each front what is furthest apart first, in turns: ``{"origin": "STUDY, trial N", "params": {…}}``.

    Raises ConfigError where a study is not in the ledger or has no front.
    """
    fronts = [[_told(study, entry) for entry in _front(url, study)] for study in studies]
    turns = [told for turn in zip_longest(*fronts) for told in turn if told]
    return turns[:MOST]


def carry_over(
    told: Sequence[Mapping[str, Any]],
    *,
    sample: Callable[[Suggest], Candidate],
    exact_cost: Callable[[StudentSpec], Cost],
    budget: Budget,
) -> list[Proposal]:
    """The same choices in this search's space, or the nearest that it has; what is over its budget is left out."""
    proposals: dict[str, Proposal] = {}
    for each in told:
        params: dict[str, Any] = {}
        candidate = sample(_nearest_to(each["params"], params))
        try:
            fits = budget.admits(exact_cost(candidate.student))
        except AutoKDError:  # such a student can't be built for these images
            fits = False
        if fits:
            found = Proposal(candidate=candidate, params=params, origin=each["origin"])
            proposals.setdefault(candidate.hash, found)
    return list(proposals.values())


def _front(url: str, study: str) -> list[Entry]:
    with closing(Ledger(url, study)) as book:
        if "scale" not in book.notes:
            known = known_studies(url)
            raise ConfigError(
                f"search.warm_start: unknown search '{study}'; known: {', '.join(known) or 'none'}."
                f"{nearest_name(study, known)}"
            )
        scale = Scale.from_record(book.notes["scale"])
        results = book.results
        front = find_front(results, scale.objectives)
        if not front:
            raise ConfigError(f"search.warm_start: {study} has no finished student yet")
        points = scale.points(front)
        spread = np.ptp(points, axis=0)
        order = spread_order(points / np.where(spread > 0, spread, 1.0), len(front))
        return [book.entries[front[place].number] for place in order]


def _told(study: str, entry: Entry) -> dict[str, Any]:
    return {"origin": f"{study}, trial {entry.number}", "params": dict(entry.proposal.params)}


def _nearest_to(wanted: Mapping[str, Any], params: dict[str, Any]) -> Suggest:
    """Gives the wanted values as far as a distribution has them, and remembers in `params` what it gave."""

    def suggest(name: str, distribution: BaseDistribution) -> Any:
        middle = centre(name, distribution)
        params[name] = _nearest(distribution, wanted[name], middle) if name in wanted else middle
        return params[name]

    return suggest


def _nearest(distribution: Any, value: Any, otherwise: Any) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices else otherwise
    if isinstance(value, (str, bool)) or value is None:
        return otherwise
    value = min(distribution.high, max(distribution.low, value))
    if distribution.step:
        steps = round((value - distribution.low) / distribution.step)
        value = distribution.low + steps * distribution.step
    return round(value) if isinstance(distribution, IntDistribution) else float(value)
