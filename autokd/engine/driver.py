"""The loop of a search: one driver owns ledger and decisions, workers only train."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from autokd.config import SearchConfig
from autokd.engine.affording import affordable
from autokd.engine.deaths import MOST_DEATHS, OWN, Died, given_up
from autokd.engine.executors import Executor, Work
from autokd.engine.exhaustion import EXHAUSTED, TooMany, first_untried
from autokd.engine.ledger import Entry, Ledger, Proposal
from autokd.engine.progress import Progress, Running, find_front, has_stalled, search_hypervolume
from autokd.engine.proposer import Proposer
from autokd.engine.strategies import Strategy
from autokd.errors import AutoKDError
from autokd.quantities import count_of
from autokd.records import Cost, TrialResult
from autokd.stopwatch import Stopwatch
from autokd.trial import describe_excess, trial_seed

log = logging.getLogger(__name__)

MOST_REJECTED = 20  # rejected trials for each one wanted, after which a search gives up


@dataclass(kw_only=True)
class Driver:
    """Made once a run. All that it decides follows from the ledger, so that a search that goes on decides the same."""

    ledger: Ledger
    proposer: Proposer
    strategy: Strategy
    controls: Sequence[Proposal]  # begun first, or when their donors can be afforded
    portfolio: Sequence[Proposal] = ()  # begun next: what earlier searches ended with
    limits: SearchConfig
    seed: int
    folder: Path  # trials' folders are made in it
    mirror: Callable[[TrialResult], None]  # told of every result, after the ledger
    observe: Callable[[Progress], None]
    watch: Stopwatch = field(init=False)  # over all runs that came to their end
    _busy: set[int] = field(default_factory=set)
    _in_process: bool = False  # whether a trial that ends its process ends this one
    _untold: list[TrialResult] = field(default_factory=list)  # recorded, and nobody has heard of it

    def __post_init__(self) -> None:
        self._start = time.monotonic()
        self._clock_before = self.ledger.clock
        self.watch = Stopwatch(self.ledger.notes.get("spent"))
        self._begun_before = self.ledger.begun
        self._tried = {entry.proposal.candidate.hash for entry in self.ledger.entries}
        self._front = find_front(self.ledger.results, self.proposer.scale.objectives)

    def run(self, executor: Executor) -> str:
        """Train until it is time to stop; why it stopped."""
        self._in_process = executor.in_process
        self._bury_what_ended_an_earlier_run()
        self.observe(self.progress())
        try:
            while True:
                try:
                    with self.watch("ask"):
                        while executor.has_room and (entry := self._next()):
                            self._submit(entry, executor)
                finally:
                    self._tell()  # now that no worker waits for it
                if not self._busy:
                    return (
                        self._limit() or self._stall() or self._enough() or "nothing left to train"
                    )
                with self.watch("wait"):
                    number, result = executor.next_result()
                self._busy.remove(number)
                if isinstance(result, Died):
                    self._bury(number, result.how)
                else:
                    self._record(result)
        finally:
            self.ledger.leave(self._busy)  # interrupted, and not dead: that is no trial's fault

    def _submit(self, entry: Entry, executor: Executor) -> None:
        work = self._work(entry)
        self._busy.add(entry.number)
        if self._in_process and not (entry.under_way or work.apart):
            self.ledger.begin(entry.number)
        executor.submit(work)

    def _bury_what_ended_an_earlier_run(self) -> None:
        for entry in self.ledger.entries:
            if entry.under_way and not entry.is_closed:
                self._bury(entry.number, OWN)

    def progress(self, latest: TrialResult | None = None) -> Progress:
        """`latest`: what has just come of a trial."""
        return Progress(
            results=tuple(self.ledger.results),
            latest=latest,
            running=tuple(self._running(self.ledger.entries[n]) for n in sorted(self._busy)),
            front=self._front,
            hypervolume=search_hypervolume(self._front, self.proposer.scale),
            target=self.limits.trials,
            epochs=self.ledger.epochs,
            seconds=time.monotonic() - self._start,
            begun_before=self._begun_before,
            time_limit=self.limits.time,
        )

    def _next(self) -> Entry | None:
        """First what an earlier run or a dead worker left, then controls that are due, who goes on, and somebody new."""
        if self._limit():
            return None
        entries, busy = self.ledger.entries, self._busy
        idle = [e for e in entries if e.number not in busy and not e.is_closed]
        if left := next((e for e in idle if not e.results or e.deaths), None):
            return left
        stalled = self._stall() is not None
        control = next((e for e in idle if e.proposal.control), None)
        if stalled or (control and self._is_half_over()):
            return control or self._begin_control(whatever_it_costs=True)
        all_begun = self._enough() is not None
        chosen = self.strategy.next_to_advance(entries, busy, all_begun=all_begun)
        found = chosen or self._begin()
        if found is None and not all_begun and self._enough():  # which has only now turned out
            return self.strategy.next_to_advance(entries, busy, all_begun=True)
        return found

    def _begin(self) -> Entry | None:
        """The controls, what earlier searches ended with, and then proposals until something fits the budget."""
        while not self._enough():
            if control := self._begin_control(whatever_it_costs=self._is_half_over()):
                return control
            if recalled := next(
                (p for p in self.portfolio if p.candidate.hash not in self._tried), None
            ):
                return self._add(recalled)
            number = len(self.ledger.entries)
            proposal, cost = self.proposer.propose(
                self.ledger.entries,
                self._tried,
                seed=trial_seed(self.seed, number),
                affords=affordable(self.ledger, self._busy),
            )
            if proposal.candidate.hash in self._tried:
                with suppress(TooMany):
                    untried = first_untried(self.proposer, self._tried)
                    if untried is None:
                        self.ledger.note("exhausted", EXHAUSTED)
                        return None
                    proposal, cost = untried
            entry = self._add(proposal)
            if isinstance(cost, Cost) and self.proposer.budget.admits(cost):
                return entry
            self._record(self._untrained(entry, cost))
        return None

    def _begin_control(self, *, whatever_it_costs: bool) -> Entry | None:
        begun = {entry.proposal.control for entry in self.ledger.entries}
        affords = affordable(self.ledger, self._busy)
        for each in self.controls:
            if each.control not in begun and (whatever_it_costs or affords(each.candidate)):
                return self._add(each)
        return None

    def _add(self, proposal: Proposal) -> Entry:
        self._tried.add(proposal.candidate.hash)
        with self.watch("record"):
            return self.ledger.add(proposal, under_way=self._in_process)

    def _work(self, entry: Entry) -> Work:
        epochs, until = entry.proposal.candidate.epochs, self._next_pause(entry)
        cost = self.proposer.cost_or_error(entry.proposal.candidate.student)
        return Work(
            candidate=entry.proposal.candidate,
            number=entry.number,
            seed=trial_seed(self.seed, entry.number),
            folder=self.folder / f"{entry.number:04d}",
            control=entry.proposal.control,
            cost=cost if isinstance(cost, Cost) else None,
            until=until if until < epochs else None,
            before=entry.result,
            apart=entry.deaths > 0,
        )

    def _next_pause(self, entry: Entry) -> int:
        """After how many of its epochs. Rungs are shares of those with labels: what comes before tells no accuracy."""
        candidate = entry.proposal.candidate
        first = candidate.pretrain_epochs
        return first + self.strategy.pauses(candidate.epochs - first)[len(entry.results)]

    def _running(self, entry: Entry) -> Running:
        candidate, done = entry.proposal.candidate, entry.result
        return Running(
            number=entry.number,
            student=candidate.student.describe(),
            stages=candidate.describe_stages(),
            epochs=len(done.history) if done else 0,
            until=self._next_pause(entry),
            total=candidate.epochs,
            val_accuracy=done.val["accuracy"] if done else None,
        )

    def _record(self, result: TrialResult) -> None:
        """Into the ledger first: what is there is never lost or repeated."""
        self.ledger.clock = self._clock_before + time.monotonic() - self._start
        with self.watch("record"):
            self.ledger.record(result)
        self._untold.append(result)
        if result.state == "complete":  # what the front beats, it beats for ever
            rivals = sorted((*self._front, result), key=lambda each: each.number)
            self._front = find_front(rivals, self.proposer.scale.objectives)

    def _tell(self) -> None:
        while self._untold:
            result = self._untold.pop(0)
            with self.watch("show"):
                progress = self.progress(result)  # before the mirror's thread is busy with it
            with self.watch("log"):
                self.mirror(result)
            with self.watch("show"):
                self.observe(progress)

    def _bury(self, number: int, how: str) -> None:
        """A process died with this trial, which is tried again from its last pause unless that has happened too often."""
        entry = self.ledger.died(number, how)
        log.warning("trial %d: its process died: %s", number, how)
        if entry.deaths > MOST_DEATHS:
            self._record(given_up(entry.result or self._untrained(entry, None), entry.died))

    def _untrained(self, entry: Entry, cost: Cost | AutoKDError | None) -> TrialResult:
        """The result of a candidate that is over budget, or can't be built."""
        untrained = TrialResult(
            number=entry.number,
            seed=trial_seed(self.seed, entry.number),
            candidate=entry.proposal.candidate,
            state="failed",
            cost=None,
            excess={},
            control=entry.proposal.control,
            reason=str(cost),
            folder=str(self.folder / f"{entry.number:04d}"),
        )
        if not isinstance(cost, Cost):
            return untrained
        return replace(
            untrained,
            state="rejected",
            cost=cost,
            excess=self.proposer.budget.excess(cost),
            reason=describe_excess(cost, self.proposer.budget),
            folder=None,
        )

    def _enough(self) -> str | None:
        """Why no further trial is begun; those that are begun may go on."""
        wanted = self.limits.trials
        if self.ledger.begun >= wanted:
            return count_of(wanted, "trial")
        if exhausted := self.ledger.notes.get("exhausted"):
            return str(exhausted)
        if self.ledger.rejected > MOST_REJECTED * wanted:
            return "too few candidates fit the budget"
        return None

    def _limit(self) -> str | None:
        """Why nothing at all is started any more."""
        limits = self.limits
        if limits.time and time.monotonic() - self._start >= limits.time:
            return "time is up"
        if limits.epochs and self.ledger.epochs >= limits.epochs:
            return count_of(limits.epochs, "epoch")
        return None

    def _stall(self) -> str | None:
        """Why nothing is started any more but what is left of the controls."""
        patience = self.limits.patience
        if patience:
            ended = [each.result for each in self.ledger.ended if each.result.state == "complete"]
            if has_stalled(ended, self.proposer.scale, patience=patience):
                return f"no larger hypervolume in {patience} finished trials"
        return None

    def _is_half_over(self) -> bool:
        """Then the controls that paused are trained on, whatever they came to: early on that time is better spent on others."""
        limits, gone = self.limits, time.monotonic() - self._start
        return (
            2 * self.ledger.begun >= limits.trials
            or (limits.epochs is not None and 2 * self.ledger.epochs >= limits.epochs)
            or (limits.time is not None and 2 * gone >= limits.time)
        )
