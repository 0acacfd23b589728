"""What a student costs that leaves: counted in its weights, and held against its trial's record and the search's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autokd.exporting.formats import Leaving
from autokd.quantities import format_bytes
from autokd.records import Budget
from autokd.shipped import COUNTED, count_trained, describe_counts
from autokd.trial import describe_excess

Facts = Mapping[str, float | str]  # a trial's metrics and tags in MLflow
SAME = 0.005  # share that a record may differ by: another version of torch or timm counts a file's header anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Costs that follow from shapes, as the weights have them, and what was wrong with the record."""

    costs: Mapping[str, float]
    problems: tuple[str, ...]  # one line each

    def correct(self, facts: Facts) -> Facts:
        """What is known of a trial, with these costs."""
        return {**facts, **{f"cost/{name}": value for name, value in self.costs.items()}}


def count_again(student: Leaving, facts: Facts, budget: Budget) -> Counted:
    """Hold the weights against the record and the limits. Raises CostError where they are not those of the candidate."""
    counted = count_trained(student.stage.student, student.load("fp32"), student.data)
    known: dict[str, Any] = {n: facts[f"cost/{n}"] for n in COUNTED if f"cost/{n}" in facts}
    problems = []
    if differs := describe_counts(replace(counted, **known), counted, same=SAME):
        problems.append(f"costs: has {differs} that its record says; the model card is right")
    if not budget.admits(counted):
        problems.append(f"costs: {describe_excess(counted, budget)}")
    return Counted(
        costs={name: float(getattr(counted, name)) for name in COUNTED}, problems=tuple(problems)
    )


def describe_file(size_bytes: int, counted: Counted, budget: Budget) -> str | None:
    """Where a file is above a limit that its weights keep."""
    limit, weights = budget.size_bytes, counted.costs["size_bytes"]
    if limit is None or not weights <= limit < size_bytes:
        return None
    return (
        f"The file's {format_bytes(size_bytes)} are above the limit of {format_bytes(limit)}, which is on weights "
        f"({format_bytes(weights)}): the rest is the graph"
    )
