"""The end of a search: its front is tested, once, and what came of it all is told."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from autokd.engine.conclusion import ALSO_TEST, TEST, TEST_OF_REPEATS, conclude, tell
from autokd.engine.executors import at_hand
from autokd.engine.ledger import Ledger
from autokd.engine.progress import find_front, front_and_controls
from autokd.engine.scale import Scale
from autokd.errors import AutoKDError, DataError
from autokd.on_test import accuracy_on_test, evaluate_on_test
from autokd.records import SearchInfo, TrialResult
from autokd.report.shortfall import Shortfall
from autokd.task import Task
from autokd.tracking.write import Tracker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search came to."""

    study: str
    run_id: str | None  # of the MLflow parent run; None: MLflow was away all the time
    front: pd.DataFrame  # columns: autokd.report.frame.COLUMNS
    summary: str
    shortfall: Shortfall | None  # why no student is good enough; None: one is, or it is to go on
    stopped_because: str
    interrupted: bool  # by its user: the front is not tested yet, and the same search goes on
    links: Mapping[
        str, str
    ]  # into the MLflow UI, below its address; empty where it was not told how the search ended
    results: tuple[TrialResult, ...]
    info: SearchInfo
    pending: int  # trials that MLflow does not have, because it was away


def describe_rest(
    ledger: Ledger,
    objectives: Sequence[str],
    *,
    models: bool,
    also_test: Mapping[str, str] | None = None,
) -> str:
    """Return what is done after the last trial, as a list in words: it takes a while, and no trial tells of it.

    `also_test`: the hash of each further set, by its name.
    """
    front = find_front(ledger.results, objectives)
    shown = front_and_controls(ledger.results, objectives)
    untimed = sum(each.cost is not None and each.cost.latency_ms is None for each in shown)
    untested = sum(str(each.number) not in ledger.notes.get(TEST, {}) for each in front)
    further = {
        name: sum(not _is_known(result, name, data_hash, ledger) for result in front)
        for name, data_hash in (also_test or {}).items()
    }
    parts = [
        f"latency of students ({untimed})" if untimed else "",
        f"test of the front ({untested})" if untested else "",
        *(f"its test on {name} ({count})" for name, count in further.items() if count),
        f"models for MLflow ({len(front)})" if models and front else "",
        "the report",
    ]
    return ", ".join(filter(None, parts))


def finish(
    info: SearchInfo,
    task: Task,
    ledger: Ledger,
    tracker: Tracker,
    *,
    scale: Scale,
    reason: str,
    interrupted: bool,
) -> SearchResult:
    """Mark the front and write the report; test its members unless the search is to go on."""
    if not interrupted:
        front = find_front(ledger.results, info.objectives)
        _test(front, task, ledger)
        _test_repeats(front, task, ledger)
        ask_further_sets(front, task, ledger)
    found = conclude(info, ledger, tested=not interrupted)
    told = True
    try:
        if interrupted:
            tracker.interrupt(found.summary)
        else:
            tell(found, info, tracker, scale=scale, reason=reason)
    except AutoKDError as error:
        told = False
        log.warning("%s", error)
    return SearchResult(
        study=info.study,
        run_id=tracker.run_id,
        front=found.frame,
        summary=found.summary,
        shortfall=found.shortfall,
        stopped_because=reason,
        interrupted=interrupted,
        links=asdict(tracker.links()) if told and tracker.run_id else {},
        results=found.results,
        info=info,
        pending=tracker.pending,
    )


def _test(front: Sequence[TrialResult], task: Task, ledger: Ledger) -> None:
    """What test says, noted in the ledger: the split is looked at once for each student."""
    known = ledger.notes.get(TEST, {})
    for result in front:
        if str(result.number) not in known:
            log.info("trial %d on test", result.number)
            repeats = [
                at_hand(repeat, task) for repeat in ledger.entries[result.number].finished_repeats
            ]
            verdict = evaluate_on_test(at_hand(result, task), task, repeats=repeats)
            known = known | {str(result.number): asdict(verdict)}
            ledger.note(TEST, known)


def _test_repeats(front: Sequence[TrialResult], task: Task, ledger: Ledger) -> None:
    """Test is asked for repeats of the front alone, once each."""
    known: dict[str, float] = ledger.notes.get(TEST_OF_REPEATS, {})
    for result in front:
        for repeat in ledger.entries[result.number].finished_repeats:
            if str(repeat.seed) not in known:
                known = known | {str(repeat.seed): accuracy_on_test(at_hand(repeat, task), task)}
                ledger.note(TEST_OF_REPEATS, known)


def ask_further_sets(front: Sequence[TrialResult], task: Task, ledger: Ledger) -> None:
    """What further sets say: once of each student, and again where a set has changed.

    One that can't be read any more is named, and the search ends without it.
    """
    for name, further in task.data.also_test.items():
        for result in front:
            if _is_known(result, name, further.hash, ledger):
                continue
            log.info("trial %d on %s", result.number, name)
            repeats = [
                at_hand(repeat, task) for repeat in ledger.entries[result.number].finished_repeats
            ]
            try:
                verdict = evaluate_on_test(at_hand(result, task), task, repeats=repeats, on=name)
            except DataError as error:
                log.warning(
                    "data.also_test.%s: %s; the front goes without it until the same command is run again",
                    name,
                    error,
                )
                break
            known, number = ledger.notes.get(ALSO_TEST, {}), str(result.number)
            of_trial = known.get(number, {}) | {name: asdict(verdict)}
            ledger.note(ALSO_TEST, known | {number: of_trial})


def _is_known(result: TrialResult, name: str, data_hash: str, ledger: Ledger) -> bool:
    """Whether a further set, as it is now, has been asked about a student."""
    known = ledger.notes.get(ALSO_TEST, {}).get(str(result.number), {}).get(name, {})
    return bool(known.get("data_hash") == data_hash)
