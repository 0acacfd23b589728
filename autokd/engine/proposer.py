"""What to try next, by the highest rung that tells enough; a share at random, nothing over budget if it can be helped."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autokd.engine.foresight import Foresight, learn_latency
from autokd.engine.forest import Drawn, emptiest, most_promising
from autokd.engine.halving import at_rung, ranked
from autokd.engine.ledger import Entry, Proposal
from autokd.engine.scale import Scale
from autokd.errors import AutoKDError
from autokd.records import Budget, Candidate, Cost, StudentSpec, TrialResult
from autokd.space import Suggest

STARTUP_TRIALS = 10  # random ones before TPE has a say, counted with all that it sees
ENOUGH = 12  # results that a rung needs for a model of its own

DRAWN = 12  # architectures that a forest chooses among,
SETTINGS = 8  # with so many ways to train each
FEW = 4  # architectures that a random proposal is the least crowded of
PARENTS = 8  # best trials, near which every other architecture is drawn
TOLD = 600  # results that a forest is told of at most: half the best, half the latest
KEPT = 0.7  # chance of each of a parent's parameters to be handed on

Sample = Callable[[Suggest], Candidate]

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposer:
    """Proposes by what the ledger holds. The same entries and seed give the same proposal, in any process."""

    sample: Sample
    exact_cost: Callable[[StudentSpec], Cost]
    distributions: Mapping[str, BaseDistribution]
    budget: Budget
    scale: Scale
    rungs: int
    sampler: str  # forest, tpe or random
    random_share: float  # of proposals; they keep a model from settling too early
    resamples: int  # further tries when all that was drawn is over budget

    def propose(
        self,
        entries: Sequence[Entry],
        tried: Collection[str],
        *,
        seed: int,
        affords: Callable[[Candidate], bool] = lambda _: True,
    ) -> tuple[Proposal, Cost | AutoKDError]:
        """A candidate and its exact cost, or why that can't be had; `tried` are hashes of candidates.

        A forest's is one that the search `affords`, if any is.
        Over budget, or not to be built, only if `resamples` further tries came to nothing else.
        """
        if self.sampler == "forest":
            return self._ask_forest(entries, tried, seed, affords)
        return self._ask_optuna(entries, tried, seed)

    def _ask_forest(
        self,
        entries: Sequence[Entry],
        tried: Collection[str],
        seed: int,
        affords: Callable[[Candidate], bool],
    ) -> tuple[Proposal, Cost | AutoKDError]:
        rng = np.random.default_rng(seed)
        rung = self._rung(entries)
        there = [entry for entry in entries if at_rung(entry, rung)]
        best = ranked(there, rung, self.scale, most=TOLD // 2)[: TOLD // 2]
        informed = rng.random() >= self.random_share and len(there) >= STARTUP_TRIALS
        parents = ranked(best, rung, self.scale, most=PARENTS)
        numbers = {entry.number for entry in (*best, *there[-TOLD // 2 :])}
        told = [entry for entry in there if entry.number in numbers]
        foresight = self._foresight(entries)
        for attempt in range(self.resamples + 1):
            near = parents if informed or attempt else []  # what fits is often near what fits
            drawn = self._draw(near, rng, count=DRAWN if informed else FEW)
            pool = [
                Drawn(candidate=each.candidate, params=each.params, cost=cost)
                for each, cost in drawn
                if isinstance(cost, Cost) and self._may_fit(cost, foresight)
            ]
            affordable = [each for each in pool if affords(each.candidate)]
            last = attempt == self.resamples
            for part in filter(None, (affordable, pool if last else [])):
                for place in self._in_order(part, entries, told if informed else [], rung, seed):
                    found = part[place]
                    if found.candidate.hash not in tried:
                        return Proposal(candidate=found.candidate, params=found.params), found.cost
        return drawn[0]

    def _in_order(
        self,
        pool: Sequence[Drawn],
        entries: Sequence[Entry],
        told: Sequence[Entry],
        rung: int,
        seed: int,
    ) -> list[int]:
        """Places in the pool, best first: by what those told of came to on the rung; by cost alone if there are none."""
        running = [
            Drawn(candidate=each.candidate, params=each.params, cost=cost)
            for each in (entry.proposal for entry in entries if entry.result is None)
            if isinstance(cost := self.cost_or_error(each.candidate.student), Cost)
        ]
        if not told:
            done = [e.result.cost for e in entries if e.result and e.result.cost]
            return emptiest(pool, [*done, *(each.cost for each in running)])
        unfit = [_drawn(e, e.result) for e in entries if e.result and _is_unfit(e.result)]
        return most_promising(
            pool,
            [(_drawn(e, result), result) for e in told if (result := at_rung(e, rung))],
            running,
            unfit=unfit[-TOLD // 2 :],
            distributions=self.distributions,
            scale=self.scale,
            seed=seed,
        )

    def _draw(
        self, parents: Sequence[Entry], rng: np.random.Generator, *, count: int
    ) -> list[tuple[Proposal, Cost | AutoKDError]]:
        """So many architectures with some settings each: anywhere, or every other time near one of the parents."""
        drawn = []
        for place in range(count):
            parent: Mapping[str, Any] = {}
            if parents and place % 2:
                parent = parents[int(rng.integers(len(parents)))].proposal.params
            near = {name: value for name, value in parent.items() if rng.random() < KEPT}
            architecture: dict[str, Any] = {}
            for _ in range(SETTINGS if parents else 1):
                params: dict[str, Any] = {}
                candidate = self.sample(suggest_by(rng, near | architecture, params))
                architecture = {k: v for k, v in params.items() if k.startswith("students.")}
                cost = self.cost_or_error(candidate.student)
                drawn.append((Proposal(candidate=candidate, params=params), cost))
        return drawn

    def _ask_optuna(
        self, entries: Sequence[Entry], tried: Collection[str], seed: int
    ) -> tuple[Proposal, Cost | AutoKDError]:
        view = self._view(entries, seed)
        foresight = self._foresight(entries)
        for attempt in range(self.resamples + 1):
            trial = view.ask()
            candidate = self.sample(suggest_from(trial))
            cost = self.cost_or_error(candidate.student)
            fits = isinstance(cost, Cost) and self._may_fit(cost, foresight)
            if (fits and candidate.hash not in tried) or attempt == self.resamples:
                break
            excess = self.budget.excess(cost) if isinstance(cost, Cost) else {}
            for name, over in excess.items():
                trial.set_constraint(name, over)
            view.tell(trial, state=TrialState.PRUNED if isinstance(cost, Cost) else TrialState.FAIL)
        return Proposal(candidate=candidate, params=trial.params), cost

    def _foresight(self, entries: Sequence[Entry]) -> Foresight | None:
        """Of use where latency has a limit: it alone of a student's costs has to be measured."""
        if self.budget.latency_ms is None:
            return None
        return learn_latency([entry.result for entry in entries if entry.result])

    def _may_fit(self, cost: Cost, foresight: Foresight | None) -> bool:
        limit = self.budget.latency_ms
        too_slow = foresight and limit is not None and foresight.is_too_slow(cost, limit)
        return self.budget.admits(cost) and not too_slow

    def cost_or_error(self, spec: StudentSpec) -> Cost | AutoKDError:
        try:
            return self.exact_cost(spec)
        except AutoKDError as error:
            return error

    def _view(self, entries: Sequence[Entry], seed: int) -> optuna.Study:
        """One rung of the ledger as the sampler is to see it: every objective small and of about one size."""
        sampler: optuna.samplers.BaseSampler
        is_random = (
            self.sampler == "random" or np.random.default_rng(seed).random() < self.random_share
        )
        if is_random:
            sampler = optuna.samplers.RandomSampler(seed=seed)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # group=True
                sampler = optuna.samplers.TPESampler(
                    multivariate=True, group=True, seed=seed, n_startup_trials=STARTUP_TRIALS
                )
        view = optuna.create_study(
            directions=["minimize"] * len(self.scale.objectives), sampler=sampler
        )
        if not is_random:
            rung = self._rung(entries)
            seen = [self._as_seen(entry, rung) for entry in entries]
            view.add_trials([trial for trial in seen if trial is not None])
        return view

    def _rung(self, entries: Sequence[Entry]) -> int:
        """The highest with enough results; else the lowest."""
        for rung in reversed(range(1, self.rungs)):
            if sum(at_rung(entry, rung) is not None for entry in entries) >= ENOUGH:
                return rung
        return 0

    def _as_seen(self, entry: Entry, rung: int) -> FrozenTrial | None:
        """None: it was never there, and says nothing."""
        there, last = at_rung(entry, rung), entry.result
        if there is not None:
            state = TrialState.COMPLETE
        elif last is None:
            state = TrialState.RUNNING
        elif last.state == "stopped":
            return None
        else:  # a failure that broke a limit, such as memory, is to be learned from
            state = TrialState.PRUNED if not last.feasible else TrialState.FAIL
        shown = there or last
        return create_trial(
            state=state,
            values=self.scale.points([there])[0].tolist() if there else None,
            params=dict(entry.proposal.params),
            distributions={name: self.distributions[name] for name in entry.proposal.params},
            constraints=dict(shown.excess) if shown else {},
        )


def suggest_from(trial: optuna.Trial) -> Suggest:
    """Ask an Optuna trial for a value of the distribution."""

    def suggest(name: str, distribution: Any) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return trial.suggest_categorical(name, distribution.choices)
        ask = (
            trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
        )
        options = {"log": distribution.log} if distribution.log else {"step": distribution.step}
        return ask(name, distribution.low, distribution.high, **options)

    return suggest


def suggest_by(
    rng: np.random.Generator, fixed: Mapping[str, Any], params: dict[str, Any]
) -> Suggest:
    """Draw values evenly where none is fixed, and remember all of them in `params`."""

    def suggest(name: str, distribution: Any) -> Any:
        if name not in params:
            params[name] = fixed[name] if name in fixed else _draw_value(distribution, rng)
        return params[name]

    return suggest


def _draw_value(distribution: Any, rng: np.random.Generator) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[rng.integers(len(distribution.choices))]
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.log:
        edges = (
            (low - 0.5, high + 0.5) if isinstance(distribution, IntDistribution) else (low, high)
        )
        value = float(np.exp(rng.uniform(*np.log(edges))))
    elif step is not None:
        value = low + step * int(rng.integers(round((high - low) / step) + 1))
    else:
        value = float(rng.uniform(low, high))
    if isinstance(distribution, IntDistribution):
        return int(min(high, max(low, round(value))))
    return float(min(high, max(low, value)))


def _is_unfit(result: TrialResult) -> bool:
    """It broke a limit that only training shows."""
    return result.state == "failed" and not result.feasible and result.cost is not None


def _drawn(entry: Entry, result: TrialResult) -> Drawn:
    assert result.cost is not None
    proposal = entry.proposal
    return Drawn(candidate=proposal.candidate, params=proposal.params, cost=result.cost)
