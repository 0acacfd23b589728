"""What a student costs that leaves: counted in its weights, and held against its trial's record and the search's limits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autokd.exporting.formats import Leaving
from autokd.records import Budget
from autokd.shipped import COUNTED, count_trained, describe_counts
from autokd.trial import describe_excess

log = logging.getLogger(__name__)

Facts = Mapping[str, float | str]  # a trial's metrics and tags in MLflow


def count_again(student: Leaving, facts: Facts, budget: Budget) -> Facts:
    """The trial's facts with the costs that its weights have. Warns where the record says otherwise, or a limit is broken.

    Raises CostError where the weights are not those of the candidate.
    """
    counted = count_trained(student.stage.student, student.load("fp32"), student.data)
    known: dict[str, Any] = {n: facts[f"cost/{n}"] for n in COUNTED if f"cost/{n}" in facts}
    recorded = replace(counted, **known)
    if differs := describe_counts(recorded, counted):
        log.warning("%s: has %s that its record says; the card is right", student.source, differs)
    if not budget.admits(counted):
        log.warning("%s: is %s", student.source, describe_excess(counted, budget))
    return {**facts, **{f"cost/{name}": getattr(counted, name) for name in known}}
