"""A random sample of the space with its exact costs: what fits the budget, what assistants there are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from autokd.config import Config
from autokd.data import ImageData
from autokd.donors import teacher_as_donor
from autokd.engine.proposer import suggest_from
from autokd.errors import ConfigError
from autokd.quantities import format_cost
from autokd.records import COSTS, PRETRAINED, Budget, Cost, StudentSpec
from autokd.space import Space, Surroundings
from autokd.students import load_start, starts_from_file
from autokd.task import StudentCosts
from autokd.teachers import build_student

SAMPLES = 48  # students that a survey looks at
MORE_SAMPLES = 512  # at most, where none of the first fits the budget
SECONDS = 30.0  # after which no further ones are looked for
ASSISTANTS = 4  # sizes that all trials of a search share


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One student of the space."""

    spec: StudentSpec
    params: dict[str, Any]
    cost: Cost
    fits: bool
    whole: Cost  # before any of it is pruned: an assistant never is


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a sample of the space looks like. Never empty."""

    sampled: tuple[Sampled, ...]
    teacher_macs: int | None  # None: not known yet

    @property
    def feasible(self) -> list[Sampled]:
        """Those within budget, cheapest first."""
        return sorted((s for s in self.sampled if s.fits), key=lambda s: s.cost.macs)

    @property
    def feasible_share(self) -> float:
        return len(self.feasible) / len(self.sampled)

    def by_model(self) -> dict[str, list[Sampled]]:
        models: dict[str, list[Sampled]] = {}
        for sampled in self.sampled:
            models.setdefault(sampled.spec.model, []).append(sampled)
        return models

    def choose_assistants(self, student_macs: int, count: int) -> list[StudentSpec]:
        """`count` models that divide the way from teacher to student evenly in log MACs, dearest first.

        From a handful of sizes that all trials share; fewer where there are not so many in between.
        """
        if self.teacher_macs is None or student_macs >= self.teacher_macs:
            return []
        between = [s for s in self._assistants() if student_macs < s.whole.macs < self.teacher_macs]
        chosen: list[Sampled] = []
        for i in range(1, count + 1):
            target = math.log(self.teacher_macs) + i / (count + 1) * math.log(
                student_macs / self.teacher_macs
            )
            left = [s for s in between if s not in chosen]
            if left:
                chosen.append(min(left, key=lambda s: abs(math.log(s.whole.macs) - target)))
        return [s.spec for s in sorted(chosen, key=lambda s: -s.whole.macs)]

    def _assistants(self) -> list[Sampled]:
        """Spread evenly in log MACs between the cheapest student and the teacher."""
        assert self.teacher_macs is not None
        below = [s for s in self.sampled if s.whole.macs < self.teacher_macs]
        if not below:
            return []
        low = math.log(min(s.whole.macs for s in below))
        high = math.log(self.teacher_macs)
        targets = [low + (high - low) * i / (ASSISTANTS + 1) for i in range(1, ASSISTANTS + 1)]
        return [min(below, key=lambda s, t=t: abs(math.log(s.whole.macs) - t)) for t in targets]  # type: ignore[misc]


def survey_file(
    config: Config, data: ImageData, *, samples: int = SAMPLES
) -> tuple[Space, StudentCosts, Survey]:
    """A search file's space on its data, with the exact costs of its students and a sample of them."""
    classes = len(data.info.class_names)
    around = Surroundings(
        channels=data.info.channels,
        classes=classes,
        mean=data.mean,
        std=data.std,
        teacher=teacher_as_donor(config.teacher, data),
    )
    space = Space(config, image_size=data.info.image_size, classes=classes, around=around)
    costs = StudentCosts(data, space)
    budget = config.budget.to_budget()
    return space, costs, survey(space, costs, budget=budget, seed=config.seed, samples=samples)


def try_starts(found: Survey, donors: Iterable[StudentSpec], data: ImageData) -> tuple[str, ...]:
    """Return for each file that students start from, or their donors, what is taken of it.

    Of the hub's weights the first are tried, as they are fetched. Raises CheckpointError where weights can't be had or
    don't fit, before each trial would find that out for itself.
    """
    students = [each.spec for each in found.sampled]
    starting = {
        (spec.model.partition(".")[0], spec.start): spec
        for spec in (*donors, *students)  # which may be the same weights by two names
    }
    fetched = [spec for spec in starting.values() if spec.start == PRETRAINED]
    for spec in fetched[:1]:
        build_student(spec, data, start=True)
    return tuple(_describe(spec, data) for spec in starting.values() if starts_from_file(spec))


def _describe(spec: StudentSpec, data: ImageData) -> str:
    whole, classes = replace(spec, pruned=0.0), len(data.info.class_names)
    model = build_student(whole, data)
    loaded = load_start(model, whole, classes=classes, channels=data.info.channels)
    return f"{spec.model} starts from {loaded.sentence()}"


def survey(
    space: Space,
    exact_cost: Callable[[StudentSpec], Cost],
    *,
    budget: Budget,
    seed: int,
    teacher_macs: int | None = None,
    samples: int = SAMPLES,
) -> Survey:
    """Sample so many students of the space, and more until something fits the budget. Raises ConfigError, with the smallest costs found, if nothing does."""
    study = optuna.create_study(
        directions=["minimize"], sampler=optuna.samplers.RandomSampler(seed=seed)
    )
    sampled: list[Sampled] = []
    start = time.monotonic()
    choices = space.buildable_choices()
    for choice in choices:
        study.enqueue_trial(
            choice
        )  # every model at every image size once, so that none surprises a trial
    for i in range(max(MORE_SAMPLES, samples, len(choices))):
        enough = i >= max(samples, len(choices)) and any(s.fits for s in sampled)
        if enough or (sampled and time.monotonic() - start > SECONDS):
            break
        trial = study.ask()
        spec = space.sample_student(suggest_from(trial))
        cost = exact_cost(spec)
        sampled.append(
            Sampled(
                spec=spec,
                params=trial.params,
                cost=cost,
                fits=budget.admits(cost),
                whole=exact_cost(replace(spec, pruned=0.0)) if spec.pruned else cost,
            )
        )
    if not any(s.fits for s in sampled):
        raise ConfigError(_nothing_fits(sampled, budget))
    return Survey(sampled=tuple(sampled), teacher_macs=teacher_macs)


def _nothing_fits(sampled: Sequence[Sampled], budget: Budget) -> str:
    smallest = {
        name: min(s.cost.known(name) or 0 for s in sampled)
        for name in COSTS
        if budget.limits.get(name) is not None and sampled[0].cost.known(name) is not None
    }
    found = ", ".join(
        f"{name} {format_cost(name, value)} (limit {format_cost(name, budget.limits[name])})"
        for name, value in smallest.items()
    )
    return (
        f"budget: none of {len(sampled)} sampled students fits it; smallest found: {found}; "
        "raise the budget, or add smaller students"
    )
