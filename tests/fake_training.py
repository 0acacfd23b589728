"""A search without images: students whose accuracy is made up from their size, their settings and how long they learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine_records import CONFIG, TEACHER_INFO, made_up_cost

from autokd.config import Config, override_config
from autokd.engine.controls import control_proposals
from autokd.engine.deaths import Died
from autokd.engine.driver import Driver
from autokd.engine.executors import Work
from autokd.engine.ledger import Ledger
from autokd.engine.progress import Progress
from autokd.engine.proposer import Proposer
from autokd.engine.scale import Scale
from autokd.engine.strategies import make_strategy
from autokd.engine.survey import survey
from autokd.records import Budget, Candidate, Epoch, TrialResult
from autokd.space import Space

EPOCHS = 9
SETTINGS = override_config(CONFIG, {"train": {"epochs": EPOCHS}})
BUDGET = Budget(macs=4_000_000)
SCALE = Scale(objectives=("val_accuracy", "macs"), teacher=TEACHER_INFO, classes=10)


def accuracy_after(candidate: Candidate, seed: int, epoch: int) -> float:
    """Larger students get further; a learning rate near 0.01 is best; everyone needs time."""
    stage = candidate.stages[-1]
    size = math.log10(made_up_cost(stage.student).macs) / 10
    off = abs(math.log10(stage.training.learning_rate) + 2) / 4
    chance = (seed * 7919 % 100) / 5000
    return min(0.99, max(0.1, (size + 0.3 - off) * (1 - 0.7 ** (epoch + 1)) + chance))


def train(work: Work) -> TrialResult:
    """What a worker would find."""
    before = work.before.history if work.before else ()
    until = work.until or work.candidate.epochs
    new = [
        Epoch(
            stage="student",
            epoch=epoch,
            train_loss=1.0,
            val_loss=1.0,
            val_accuracy=accuracy_after(work.candidate, work.seed, epoch),
            learning_rate=0.01,
            seconds=0.0,
        )
        for epoch in range(len(before) + 1, until + 1)
    ]
    history = (*before, *new)
    cost = made_up_cost(work.candidate.student)
    return TrialResult(
        number=work.number,
        seed=work.seed,
        candidate=work.candidate,
        state="complete" if work.until is None else "stopped",
        cost=cost,
        excess=BUDGET.excess(cost),
        val={"accuracy": max(e.val_accuracy for e in history), "loss": 1.0},
        history=history,
        control=work.control,
    )


class AtOnce:
    """An executor whose training takes no time; it may hold several trials, and gives back the first or the last."""

    in_process = False

    def __init__(
        self,
        room: int = 1,
        *,
        last_first: bool = False,
        dies: Callable[[Work], bool] = lambda _: False,
    ):
        self.room, self.last_first, self.dies = room, last_first, dies
        self.works: list[Work] = []
        self.done: list[Work] = []

    @property
    def has_room(self) -> bool:
        return len(self.works) < self.room

    def submit(self, work: Work) -> None:
        assert work.number not in {each.number for each in self.works}
        self.works.append(work)

    def next_result(self) -> tuple[int, TrialResult | Died]:
        work = self.works.pop(-1 if self.last_first else 0)
        self.done.append(work)
        return work.number, Died() if self.dies(work) else train(work)

    def close(self) -> None:
        self.works.clear()


def make_driver(
    ledger: Ledger,
    *,
    observe: Callable[[Progress], None] = lambda _: None,
    mirror: Callable[[TrialResult], None] = lambda _: None,
    controls: bool = True,
    seed: int = 0,
    budget: Budget = BUDGET,
    resamples: int = 2,
    settings: Config = SETTINGS,
    **limits: object,
) -> Driver:
    config = settings.search.model_copy(update={"trials": 30} | limits)
    strategy = make_strategy(config, SCALE, epochs=EPOCHS)
    space = Space(settings, image_size=8)
    sample = replace(
        survey(space, made_up_cost, budget=budget, seed=0), teacher_macs=TEACHER_INFO.cost.macs
    )
    return Driver(
        ledger=ledger,
        proposer=Proposer(
            sample=space.sample,
            exact_cost=made_up_cost,
            distributions=space.distributions,
            budget=budget,
            scale=SCALE,
            rungs=strategy.rungs,
            sampler=strategy.sampler,
            random_share=strategy.random_share,
            resamples=resamples,
        ),
        strategy=strategy,
        controls=control_proposals(space, sample) if controls else [],
        limits=config,
        seed=seed,
        folder=Path("nowhere"),
        mirror=mirror,
        observe=observe,
    )
