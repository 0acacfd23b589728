"""The box that a search's hypervolume is a share of: every objective from its best, 0, to the worst that counts, 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autokd.pareto import Points
from autokd.records import ACCURACIES, Cost, TeacherInfo, TrialResult

DECADES = 4  # of cost below the teacher's that count


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Accuracy is linear from a perfect student to chance; costs are logarithmic, from 1/10,000 of the teacher's to the
    teacher's own, so that half the cost counts as much at every size. Depends on data and teacher alone: hypervolumes
    of one task compare."""

    objectives: tuple[str, ...]
    teacher: TeacherInfo
    classes: int

    def to_record(self) -> dict[str, Any]:
        """With all that makes a hypervolume, so that one can be told from another that only looks like it."""
        return asdict(self) | {"reference": self.reference, "decades": DECADES}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Scale:
        teacher = record["teacher"]
        return cls(
            objectives=tuple(record["objectives"]),
            teacher=TeacherInfo(**teacher | {"cost": Cost(**teacher["cost"])}),
            classes=record["classes"],
        )

    def points(self, results: Sequence[TrialResult]) -> Points:
        """(N, M), every coordinate to be small."""
        rows = [[self._distance(result, name) for name in self.objectives] for result in results]
        return np.array(rows, dtype=np.float64).reshape(len(results), len(self.objectives))

    def known_points(self, costs: Sequence[Cost]) -> Points:
        """(N, M) of students that are not trained yet: NaN where training alone, or measuring, tells."""
        known = [[self._of_cost(cost, name) for name in self.objectives] for cost in costs]
        return np.array(known, dtype=np.float64).reshape(len(costs), len(self.objectives))

    @property
    def reference(self) -> list[float]:
        return [1.0] * len(self.objectives)

    def _distance(self, result: TrialResult, name: str) -> float:
        value = result.objective(name)
        if name in ACCURACIES:
            return (1 - value) / (1 - 1 / self.classes)
        return self._share(value, name)

    def _of_cost(self, cost: Cost, name: str) -> float:
        value = None if name in ACCURACIES else getattr(cost, name)
        return math.nan if value is None else self._share(value, name)

    def _share(self, value: float, name: str) -> float:
        own = getattr(self.teacher.cost, name)
        return max(0.0, 1 + math.log10(max(value, 1e-9) / own) / DECADES)
