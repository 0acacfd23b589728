"""The end of a search: its front, tested once, its report and what MLflow is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from autokd.engine.executors import at_hand
from autokd.engine.insight import find_insight
from autokd.engine.ledger import Ledger
from autokd.engine.progress import find_front, search_hypervolume
from autokd.engine.repeats import remeasure
from autokd.engine.scale import Scale
from autokd.errors import AutoKDError
from autokd.on_test import accuracy_on_test, evaluate_on_test
from autokd.records import FrontMember, Remeasured, SearchInfo, TrialResult, Verdict
from autokd.report.change import worst_change_html
from autokd.report.frame import front_frame
from autokd.report.insight.page import insight_html
from autokd.report.insight.words import closing_sentences
from autokd.report.plot import pareto_html
from autokd.report.words import summarise
from autokd.task import Task
from autokd.tracking.write import Tracker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search came to."""

    study: str
    run_id: str  # of the MLflow parent run
    front: pd.DataFrame  # columns: autokd.report.frame.COLUMNS
    summary: str
    stopped_because: str
    interrupted: bool  # by its user: the front is not tested yet, and the same search goes on
    links: Mapping[str, str]  # into the MLflow UI, below its address
    results: tuple[TrialResult, ...]
    info: SearchInfo
    pending: int  # trials that MLflow does not have, because it was away


def finish(
    info: SearchInfo,
    task: Task,
    ledger: Ledger,
    tracker: Tracker,
    *,
    run_id: str,
    scale: Scale,
    reason: str,
    interrupted: bool,
) -> SearchResult:
    """Mark the front and write the report; test its members unless the search is to go on."""
    results = ledger.results
    front = find_front(results, info.objectives)
    verdicts = {} if interrupted else _test(front, task, ledger)
    again = {} if interrupted else _remeasure(front, task, ledger)
    members = [
        FrontMember(
            number=result.number,
            rank=rank,
            verdict=verdicts.get(result.number),
            again=again.get(result.number),
        )
        for rank, result in enumerate(front, start=1)
    ]
    frame = front_frame(front, info.teacher, members)
    summary = summarise(
        results,
        front,
        info.teacher,
        members,
        again=again,
        accepted_bias=task.policy.accept_teacher_bias,
    )
    pages = {
        "pareto.html": pareto_html(results, front, info.teacher, info.budget, title=info.study),
        "fairness.html": worst_change_html(results, front, title=info.study),
        "scale.json": json.dumps(scale.to_record(), indent=1),
    }
    if not interrupted:
        insight = find_insight(ledger, study=info.study)
        summary = " ".join([summary, *closing_sentences(insight)])
        pages["insight.html"] = insight_html(insight)
    try:
        if interrupted:
            tracker.interrupt()
        else:
            tracker.finish(
                members,
                results,
                hypervolume=search_hypervolume(results, scale),
                stopped=reason,
                summary=summary,
                pages=pages,
                frame=frame,
            )
    except AutoKDError as error:
        log.warning("%s", error)
    return SearchResult(
        study=info.study,
        run_id=run_id,
        front=frame,
        summary=summary,
        stopped_because=reason,
        interrupted=interrupted,
        links=asdict(tracker.links()),
        results=tuple(results),
        info=info,
        pending=tracker.pending,
    )


def _test(front: Sequence[TrialResult], task: Task, ledger: Ledger) -> dict[int, Verdict]:
    """What test says, by trial number. Kept in the ledger: the split is looked at once for each student."""
    known = {
        int(number): Verdict.from_dict(record)
        for number, record in ledger.notes.get("test", {}).items()
    }
    for result in front:
        if result.number not in known:
            log.info("trial %d on test", result.number)
            repeats = [at_hand(repeat, task) for repeat in _repeats(ledger, result)]
            known[result.number] = evaluate_on_test(at_hand(result, task), task, repeats=repeats)
            ledger.note("test", {str(n): asdict(verdict) for n, verdict in known.items()})
    return known


def _remeasure(front: Sequence[TrialResult], task: Task, ledger: Ledger) -> dict[int, Remeasured]:
    """Of every trial that was trained again, by its number. Test is asked for repeats of the front alone, once each."""
    known: dict[str, float] = ledger.notes.get("test of repeats", {})
    for result in front:
        for repeat in _repeats(ledger, result):
            if str(repeat.seed) not in known:
                known = known | {str(repeat.seed): accuracy_on_test(at_hand(repeat, task), task)}
                ledger.note("test of repeats", known)
    by_seed = {int(seed): accuracy for seed, accuracy in known.items()}
    found = {entry.number: remeasure(entry, by_seed) for entry in ledger.entries if entry.repeats}
    return {number: again for number, again in found.items() if again}


def _repeats(ledger: Ledger, result: TrialResult) -> list[TrialResult]:
    return ledger.entries[result.number].finished_repeats
