"""The box that a search's hypervolume is a share of: every objective from its best, 0, to the worst that counts, 1."""

from __future__ import annotations

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
        return self._distances(
            [[result.objective(name) for result in results] for name in self.objectives]
        )

    def known_points(self, costs: Sequence[Cost]) -> Points:
        """(N, M) of students that are not trained yet: NaN where training alone, or measuring, tells."""
        return self._distances(
            [
                [None if name in ACCURACIES else getattr(cost, name) for cost in costs]
                for name in self.objectives
            ]
        )

    @property
    def reference(self) -> list[float]:
        return [1.0] * len(self.objectives)

    def _distances(self, columns: Sequence[Sequence[float | None]]) -> Points:
        """(M, N) as people see them -> (N, M)."""
        shares = []
        for name, column in zip(self.objectives, columns, strict=True):
            values = np.array(column, dtype=np.float64)  # None becomes NaN
            if name in ACCURACIES:
                shares.append((1 - values) / (1 - 1 / self.classes))
            else:
                own = max(getattr(self.teacher.cost, name), 1e-9)
                shares.append(np.maximum(0, 1 + np.log10(np.maximum(values, 1e-9) / own) / DECADES))
        return np.stack(shares, axis=1)
