"""Which trials of a search were on its front when they were written: who reads the front need not read all trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autokd.pareto import is_on_front
from autokd.records import ACCURACIES, TrialResult

if TYPE_CHECKING:
    from mlflow.entities import Run

METRICS = {"val_accuracy": "val/accuracy", "worst_group_accuracy": "audit/worst_group_accuracy"}
ON_FRONT = "autokd.pareto"  # a tag: true or false
ALSO_TEST = "autokd.also_test"  # a tag: names of the further sets that the front was tested on
SHORTFALL = "autokd.shortfall"  # a tag: why no student is good enough; empty: one is


class Standing:
    """The front as far as the store has it. Equal trials stand side by side."""

    def __init__(self, objectives: Sequence[str]) -> None:
        self._objectives = objectives
        self._points: dict[str, list[float]] = {}  # by run id; every coordinate to be small

    def recall(self, members: Iterable[Run]) -> None:
        """Runs that an earlier driver marked."""
        for run in members:
            keys = (METRICS.get(name, f"cost/{name}") for name in self._objectives)
            values = [run.data.metrics.get(key, math.nan) for key in keys]
            self._points[run.info.run_id] = self._point(values)

    def forget(self, run_ids: Iterable[str]) -> None:
        """Runs that are written anew."""
        for run_id in run_ids:
            self._points.pop(run_id, None)

    def admits(self, result: TrialResult) -> bool:
        """Whether nobody beats it."""
        if result.state != "complete" or not result.feasible:
            return False
        points = [*self._points.values(), self._of(result)]
        return bool(is_on_front(np.array(points))[-1])

    def add(self, run_id: str, result: TrialResult) -> list[str]:
        """Those that have to leave for it."""
        self._points[run_id] = self._of(result)
        on_front = is_on_front(np.array([*self._points.values()]))
        beaten = [run for run, stays in zip(self._points, on_front, strict=True) if not stays]
        for run in beaten:
            del self._points[run]
        return beaten

    def _of(self, result: TrialResult) -> list[float]:
        return self._point([result.objective(name) for name in self._objectives])

    def _point(self, values: Sequence[float]) -> list[float]:
        pairs = zip(self._objectives, values, strict=True)
        return [-value if name in ACCURACIES else value for name, value in pairs]
