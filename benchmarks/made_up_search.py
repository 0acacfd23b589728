"""A search without images or a teacher, for benchmarks: the search's own parts, exact costs, and training that is made up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autokd.config import load_config, override_config
from autokd.data import load_data
from autokd.engine.controls import control_proposals
from autokd.engine.driver import Driver
from autokd.engine.executors import Work
from autokd.engine.halving import rank
from autokd.engine.ledger import Ledger, Proposal
from autokd.engine.progress import Progress
from autokd.engine.proposer import Proposer, suggest_by
from autokd.engine.scale import Scale
from autokd.engine.status import Board
from autokd.engine.strategies import make_strategy
from autokd.engine.survey import survey
from autokd.records import AuditFigures, Cost, Epoch, SearchInfo, TeacherInfo, TrialResult
from autokd.space import Space
from autokd.task import StudentCosts
from autokd.tracking.write import Tracker
from autokd.trial import trial_seed

QUICKSTART = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
RESNETS = {"width": {"low": 8, "high": 48, "step": 2}, "depth": [1, 2], "stem_stride": [1, 2]}
CONVNEXTS = {"width": {"low": 8, "high": 24, "step": 2}, "depth": 1, "patch_size": 1}
WIDER = {"resnet": RESNETS | {"stages": 3}, "convnext": CONVNEXTS}  # 93 architectures
STUDY = "overhead"
OBJECTIVES = ("val_accuracy", "macs")
REJECTED = 0.2  # of recorded trials: over budget

TEACHER = TeacherInfo(
    name="resnet",
    hash="made up",
    cost=Cost(macs=3_467_520, params=314_906, size_bytes=1_271_184),
    val_accuracy=0.99,
    source="made up",
)
AUDIT = AuditFigures(
    status="pass",
    sentence="No class lost more than 5 points.",
    worst_group="class=8",
    worst_group_accuracy=0.8,
    worst_label_group_accuracy=0.8,
    accuracy_gap=0.1,
    gap_growth=0.02,
    worst_change_group="class=8",
    worst_change=-0.03,
    undecided=7,
)


class Mirror(Protocol):
    """Where results are kept beside the ledger."""

    def log_trial(self, result: TrialResult) -> None: ...


class Search:
    """The parts of a search as `autokd search` puts them together, without images or a teacher."""

    def __init__(self, folder: Path) -> None:
        self.config = override_config(load_config(QUICKSTART), {"students": {"families": WIDER}})
        data = load_data(self.config.data, seed=0, cache=folder)
        self.info = SearchInfo(
            study=STUDY,
            config="name: overhead\n",
            fingerprint=STUDY,
            seed=0,
            objectives=OBJECTIVES,
            budget=self.config.budget.to_budget(),
            data=data.info,
            teacher=TEACHER,
        )
        self.space = Space(self.config, image_size=data.info.image_size)
        self.costs = StudentCosts(data, self.space)
        self.scale = Scale(objectives=self.info.objectives, teacher=TEACHER, classes=10)
        self.strategy = make_strategy(self.config.search, self.scale, epochs=self.space.most_epochs)
        self.pauses = self.strategy.pauses(self.space.most_epochs)

    def driver(self, ledger: Ledger, mirror: Mirror, *, new: int, folder: Path) -> Driver:
        begun = sum(entry.result.state != "rejected" for entry in ledger.entries if entry.result)
        board = Board(ledger)

        def show(progress: Progress) -> None:
            board.write(progress)

        sample = survey(self.space, self.costs, budget=self.info.budget, seed=0)
        sample = replace(sample, teacher_macs=TEACHER.cost.macs)
        proposer = Proposer(
            sample=lambda suggest: self.space.sample(
                suggest,
                lambda student, count: sample.choose_assistants(self.costs(student).macs, count),
            ),
            exact_cost=self.costs,
            distributions=self.space.distributions,
            budget=self.info.budget,
            scale=self.scale,
            rungs=self.strategy.rungs,
            sampler=self.strategy.sampler,
            random_share=self.strategy.random_share,
            resamples=self.config.search.resamples,
        )
        return Driver(
            ledger=ledger,
            proposer=proposer,
            strategy=self.strategy,
            controls=[] if begun else control_proposals(self.space, sample),
            limits=self.config.search.model_copy(update={"trials": begun + new}),
            seed=0,
            folder=folder,
            mirror=mirror.log_trial,
            observe=show,
        )


class MadeUpTraining:
    """An executor whose training takes no time."""

    in_process = False

    def __init__(self) -> None:
        self._work: Work | None = None

    @property
    def has_room(self) -> bool:
        return self._work is None

    def submit(self, work: Work) -> None:
        self._work = work

    def next_result(self) -> tuple[int, TrialResult]:
        work, self._work = self._work, None
        assert work is not None
        assert work.cost is not None
        until = work.until or work.candidate.epochs
        blank = made_up(work.number, Proposal(candidate=work.candidate, params={}), work.cost)
        return work.number, trained(replace(blank, control=work.control), until)

    def close(self) -> None: ...


def made_up(number: int, proposal: Proposal, cost: Cost) -> TrialResult:
    return TrialResult(
        number=number,
        seed=trial_seed(0, number),
        candidate=proposal.candidate,
        state="rejected",
        cost=cost,
        excess={"macs": 0.0, "params": 0.0},
        reason="over budget: macs 1.20M > 1.00M",
    )


def trained(blank: TrialResult, until: int) -> TrialResult:
    """Larger students get further, a learning rate near 0.01 is best, everyone needs time, chance does the rest."""
    stage, cost = blank.candidate.stages[-1], blank.cost
    assert cost is not None
    best = 0.35 + 0.1 * np.log10(cost.macs) - 0.3 * abs(np.log10(stage.training.learning_rate) + 2)
    best += np.random.default_rng(blank.seed).normal(0, 0.02)
    history = tuple(
        Epoch(
            stage="student",
            epoch=epoch,
            train_loss=1.0 / epoch,
            val_loss=1.1 / epoch,
            val_accuracy=round(float(np.clip(best * (1 - 0.6**epoch), 0.1, 0.99)), 4),
            learning_rate=stage.training.learning_rate,
            seconds=0.15,
        )
        for epoch in range(1, until + 1)
    )
    ended = until == blank.candidate.epochs
    return replace(
        blank,
        state="complete" if ended else "stopped",
        reason=None,
        cost=replace(cost, latency_ms=0.3, latency_p90_ms=0.4, device="made up") if ended else cost,
        val={"accuracy": history[-1].val_accuracy, "loss": 0.5},
        history=history,
        audit=AUDIT if ended else None,
        seconds=0.15 * until,
    )


def recorded(search: Search, count: int) -> Iterator[tuple[Proposal, list[TrialResult]]]:
    """Random candidates with what synchronous halving would have made of them."""
    rng = np.random.default_rng(0)
    proposals: list[Proposal] = []
    blanks: list[TrialResult] = []
    rejected = 0
    while len(proposals) < count:
        params: dict[str, Any] = {}
        candidate = search.space.sample(suggest_by(rng, {}, params))
        cost, proposal = (
            search.costs(candidate.student),
            Proposal(candidate=candidate, params=params),
        )
        fits = search.info.budget.admits(cost)
        if not fits and rejected >= REJECTED * count:
            continue
        rejected += not fits
        blanks.append(
            replace(made_up(len(proposals), proposal, cost), excess=search.info.budget.excess(cost))
        )
        proposals.append(proposal)
    results: list[list[TrialResult]] = [[blank] if not blank.feasible else [] for blank in blanks]
    there = [blank.number for blank in blanks if blank.feasible]
    for until in search.pauses:
        for number in there:
            results[number].append(trained(blanks[number], until))
        points = search.scale.points([results[number][-1] for number in there])
        best = rank(points, np.ones(len(there), dtype=bool), int(len(there) / 3)) if there else []
        there = [there[place] for place in best]
    yield from zip(proposals, results, strict=True)


def begin(tracker: Tracker, search: Search, begun: int) -> None:
    tracker.begin(search.info, versions={}, git_commit=None, command=None, begun=begun)
