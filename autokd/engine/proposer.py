"""What to try next: TPE on the highest rung that tells enough, a share at random, nothing over budget if it can be helped."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autokd.engine.halving import at_rung
from autokd.engine.ledger import Entry, Proposal
from autokd.engine.scale import Scale
from autokd.errors import AutoKDError
from autokd.records import Budget, Candidate, Cost, StudentSpec
from autokd.space import Suggest

STARTUP_TRIALS = 10  # random ones before TPE has a say, counted with all that it sees
ENOUGH = 12  # results that a rung needs for a model of its own

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
    random_share: float
    resamples: int  # further proposals when one is over budget

    def propose(
        self, entries: Sequence[Entry], tried: Collection[str], *, seed: int
    ) -> tuple[Proposal, Cost | AutoKDError]:
        """A candidate and its exact cost, or why that can't be had; `tried` are hashes of candidates.

        Over budget, or not to be built, only if `resamples` further proposals were so too.
        """
        view = self._view(entries, seed)
        for attempt in range(self.resamples + 1):
            trial = view.ask()
            candidate = self.sample(suggest_from(trial))
            cost = self.cost_or_error(candidate.student)
            fits = isinstance(cost, Cost) and self.budget.admits(cost)
            if (fits and candidate.hash not in tried) or attempt == self.resamples:
                break
            for name, excess in (
                self.budget.excess(cost) if isinstance(cost, Cost) else {}
            ).items():
                trial.set_constraint(name, excess)
            view.tell(trial, state=TrialState.PRUNED if isinstance(cost, Cost) else TrialState.FAIL)
        return Proposal(candidate=candidate, params=trial.params), cost

    def cost_or_error(self, spec: StudentSpec) -> Cost | AutoKDError:
        try:
            return self.exact_cost(spec)
        except AutoKDError as error:
            return error

    def _view(self, entries: Sequence[Entry], seed: int) -> optuna.Study:
        """One rung of the ledger as the sampler is to see it: every objective small and of about one size."""
        sampler: optuna.samplers.BaseSampler
        is_random = np.random.default_rng(seed).random() < self.random_share
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
