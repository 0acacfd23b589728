"""What is in a space: its models, how many students each has, what they cost, and what fits the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autokd.config import Config
from autokd.data import load_data
from autokd.engine.place import CACHE, make_writable
from autokd.engine.survey import Sampled, survey
from autokd.records import Budget
from autokd.space import Space
from autokd.task import StudentCosts


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutline:
    """A timm model or a family, as it was sampled."""

    model: str
    students: int | None  # different architectures; None: a range is continuous
    sampled: tuple[Sampled, ...]  # cheapest first

    @property
    def fitting(self) -> int:
        return sum(each.fits for each in self.sampled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A space and its budget."""

    models: tuple[ModelOutline, ...]  # in the search file's order
    parameters: dict[str, Any]  # path in the search file -> its Optuna distribution
    budget: Budget

    @property
    def sampled(self) -> Sequence[Sampled]:
        """Cheapest first."""
        return sorted((s for m in self.models for s in m.sampled), key=lambda s: s.cost.macs)

    @property
    def students(self) -> int | None:
        counts = [model.students for model in self.models]
        return None if None in counts else sum(count or 0 for count in counts)


def outline(config: Config, *, directory: Path, students: int) -> Outline:
    """Of about so many sampled students, each with its exact cost. Trains nothing; refuses what `autokd check` does, but
    for the teacher."""
    cache = directory / CACHE
    make_writable(cache)
    data = load_data(config.data, seed=config.seed, cache=cache)
    space = Space(config, image_size=data.info.image_size, classes=len(data.info.class_names))
    costs = StudentCosts(data, space, weight_dtype=config.budget.weights)
    budget = config.budget.to_budget()
    found = survey(space, costs, budget=budget, seed=config.seed, samples=students)
    by_model: dict[str, list[Sampled]] = {model: [] for model in space.models}
    for sampled in found.sampled:
        by_model[sampled.spec.model].append(sampled)
    return Outline(
        models=tuple(
            ModelOutline(
                model=model,
                students=space.count_students(model),
                sampled=tuple(sorted(group, key=lambda s: s.cost.macs)),
            )
            for model, group in by_model.items()
        ),
        parameters=dict(space.distributions),
        budget=budget,
    )
