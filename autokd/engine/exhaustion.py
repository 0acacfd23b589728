"""Whether a space has anything left to try: its candidates one after the other, where they can be counted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from optuna.distributions import CategoricalDistribution, IntDistribution

from autokd.engine.ledger import Proposal
from autokd.engine.proposer import Proposer, Sample
from autokd.records import Cost

MOST = 2000  # candidates that are looked at
EXHAUSTED = (
    "the space is exhausted: every candidate that fits the budget has begun; more values in students, distill or "
    "train make further ones, and search.final_seeds trains the best again"
)


class TooMany(Exception):  # noqa: N818 - an answer, not an error
    """The space has more candidates than are looked at, or a continuous range of them."""


def first_untried(proposer: Proposer, tried: Collection[str]) -> tuple[Proposal, Cost] | None:
    """The first candidate within budget that was not tried; None: there is none. Raises TooMany.

    `tried` are hashes, of everything that a candidate's training depends on but its seed.
    """
    for proposal in every_proposal(proposer.sample):
        if proposal.candidate.hash not in tried:
            cost = proposer.cost_or_error(proposal.candidate.student)
            if isinstance(cost, Cost) and proposer.budget.admits(cost):
                return proposal, cost
    return None


def every_proposal(sample: Sample) -> Iterator[Proposal]:
    """All that a space holds, each way through its choices once. Raises TooMany at the latest after `MOST` of them."""
    path: list[
        tuple[str, list[Any]]
    ] = []  # what is asked for in turn, with the values left to give
    for _ in range(MOST):
        params: dict[str, Any] = {}

        def suggest(name: str, distribution: Any, params: dict[str, Any] = params) -> Any:
            if name not in params:
                if len(params) == len(path):
                    path.append((name, _values(distribution)))
                params[name] = path[len(params)][1][0]
            return params[name]

        yield Proposal(candidate=sample(suggest), params=params)
        while path and len(path[-1][1]) == 1:
            path.pop()
        if not path:
            return
        del path[-1][1][0]
    raise TooMany


def _values(distribution: Any) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return [*distribution.choices]
    if not distribution.step:
        raise TooMany
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    if count > MOST:
        raise TooMany
    kind = int if isinstance(distribution, IntDistribution) else float
    return [kind(distribution.low + distribution.step * i) for i in range(count)]
