"""Latencies that decide nothing: measured when a search trains no more, so that no trial waits and nothing disturbs them."""

from __future__ import annotations

import logging
from dataclasses import replace

from autokd.engine.ledger import Ledger
from autokd.engine.progress import front_and_controls
from autokd.quantities import format_cost
from autokd.records import Cost, SearchInfo
from autokd.sections.teacher import TeacherConfig
from autokd.task import Task
from autokd.teachers import measure_teacher
from autokd.trial import time_student

log = logging.getLogger(__name__)


def time_teacher(info: SearchInfo, config: TeacherConfig, task: Task) -> SearchInfo:
    """With the teacher's latency."""
    if info.teacher.cost.latency_ms is not None:
        return info
    cost = measure_teacher(config, task.data, probe=task.probe, cache=task.cache)
    _log("teacher", cost)
    return replace(info, teacher=replace(info.teacher, cost=cost))


def time_students(ledger: Ledger, info: SearchInfo, task: Task) -> None:
    """Those of the front and the controls, into the ledger. An architecture takes 3 to 30 s, most of it for its ONNX file."""
    for result in front_and_controls(ledger.results, info.objectives):
        if cost := time_student(result, task):
            ledger.price(result.number, cost)
            _log(f"trial {result.number}", cost)


def _log(who: str, cost: Cost) -> None:
    if cost.latency_ms is not None:
        log.info("%s: latency %s", who, format_cost("latency_ms", cost.latency_ms))
