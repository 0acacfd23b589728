"""Costs of finished students, counted once more when a search ends.

An earlier version remembered costs without the share that is pruned, so that records of searches that choose it are wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from autokd.engine.ledger import Ledger
from autokd.records import Cost, StudentSpec
from autokd.shipped import describe_counts, take_counts
from autokd.task import Task

log = logging.getLogger(__name__)


def recount_students(ledger: Ledger, exact_cost: Callable[[StudentSpec], Cost], task: Task) -> None:
    """Hold every finished trial's record against its student, and against the limits once more where the two differ."""
    for result in ledger.results:
        if result.state != "complete" or result.cost is None:
            continue
        counted = exact_cost(result.candidate.student)
        if differs := describe_counts(result.cost, counted):
            cost = take_counts(result.cost, counted)
            ledger.price(result.number, cost, excess=task.excess(cost, result.audit))
            log.warning(
                "trial %d: its student has %s; its record is corrected", result.number, differs
            )
