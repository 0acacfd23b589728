"""What is in a space: its models, how many students each has, what they cost, and what fits the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autokd.config import Config
from autokd.data import load_data
from autokd.engine.place import CACHE, make_writable
from autokd.engine.survey import Survey, survey_file
from autokd.records import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A space and its budget."""

    # model -> how many different architectures it has; None: without number, as a range is continuous
    students: Mapping[str, int | None]
    survey: Survey
    parameters: Mapping[str, Any]  # path in the search file -> its Optuna distribution
    budget: Budget

    @property
    def total(self) -> int | None:
        """Students of all models."""
        counts = self.students.values()
        return None if None in counts else sum(count or 0 for count in counts)


def outline(config: Config, *, directory: Path, students: int) -> Outline:
    """Of about so many sampled students, each with its exact cost. Trains nothing; refuses what `autokd check` does, but
    for the teacher."""
    cache = directory / CACHE
    make_writable(cache)
    data = load_data(config.data, seed=config.seed, cache=cache)
    space, _, found = survey_file(config, data, samples=students)
    return Outline(
        students={model: space.count_students(model) for model in space.models},
        survey=found,
        parameters=space.distributions,
        budget=config.budget.to_budget(),
    )
