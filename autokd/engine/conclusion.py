"""What a search came to, from its ledger alone: front, words, pictures; and MLflow is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from autokd.engine.insight import find_insight
from autokd.engine.ledger import Ledger
from autokd.engine.progress import find_front
from autokd.engine.repeats import remeasure
from autokd.engine.scale import Scale
from autokd.insight import Insight
from autokd.records import (
    FrontMember,
    Places,
    Remeasured,
    Report,
    SearchInfo,
    TrialResult,
    Verdict,
)
from autokd.report.change import worst_change_html
from autokd.report.frame import front_frame
from autokd.report.front import front_markdown, front_note
from autokd.report.insight.page import insight_html
from autokd.report.insight.words import closing_sentences
from autokd.report.parallel import parallel_html
from autokd.report.plot import pareto_html
from autokd.report.shortfall import Shortfall, find_shortfall
from autokd.report.words import summarise
from autokd.tracking.write import Tracker

TEST, TEST_OF_REPEATS, ALSO_TEST = "test", "test of repeats", "also test"  # notes of the ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """A search as it stands."""

    results: tuple[TrialResult, ...]
    front: tuple[TrialResult, ...]
    members: tuple[FrontMember, ...]  # of the front, in its order
    frame: pd.DataFrame  # columns: autokd.report.frame.COLUMNS
    summary: str
    insight: Insight | None  # None: the search is to go on
    shortfall: Shortfall | None  # None: a student is good enough, or the search is to go on


def conclude(info: SearchInfo, ledger: Ledger, *, tested: bool) -> Conclusion:
    """`tested`: what test says is in the ledger, as the search has ended."""
    results = tuple(ledger.results)
    front = find_front(results, info.objectives)
    verdicts = ledger.notes.get(TEST, {}) if tested else {}
    again = _again(ledger) if tested else {}
    config = yaml.safe_load(info.config)
    further = [*(config.get("data", {}).get("also_test") or {})] if tested else []
    members = tuple(
        FrontMember(
            number=result.number,
            rank=rank,
            verdict=_verdict(result, verdicts.get(str(result.number))),
            again=again.get(result.number),
            also=_also(result, further, ledger),
        )
        for rank, result in enumerate(front, start=1)
    )
    bias = config.get("audit", {}).get("accept_teacher_bias")
    summary = summarise(results, front, info.teacher, members, again=again, accepted_bias=bias)
    insight = find_insight(ledger, study=info.study) if tested else None
    if insight:
        summary = " ".join([summary, *closing_sentences(insight)])
    return Conclusion(
        results=results,
        front=front,
        members=members,
        frame=front_frame(front, info.teacher, members),
        summary=summary,
        insight=insight,
        shortfall=find_shortfall(results, front, members, info, growth=insight.growth)
        if insight
        else None,
    )


def tell(
    found: Conclusion,
    info: SearchInfo,
    tracker: Tracker,
    *,
    scale: Scale,
    reason: str,
) -> None:
    """MLflow, of a search that has ended for `reason`. Raises TrackingError when the store is away."""
    assert found.insight is not None
    tracker.finish(
        found.members,
        found.results,
        growth=found.insight.growth,
        stopped=reason,
        report=partial(_report, found, info, scale),
        frame=found.frame,
        info=info,
    )


def _report(found: Conclusion, info: SearchInfo, scale: Scale, places: Places) -> Report:
    assert found.insight is not None
    results, front, title = found.results, found.front, info.study
    pages = {number: places.address + page for number, page in places.trials.items()}
    shortfall = found.shortfall.text() if found.shortfall else ""
    words = {"summary": found.summary, "shortfall": shortfall}
    return Report(
        shortfall=shortfall,
        note=front_note(front, found.members, info, places, **words),
        files={
            "report.md": front_markdown(front, found.members, info, places, **words),
            "pareto.html": pareto_html(
                results, front, info.teacher, info.budget, title=title, pages=pages
            ),
            "parallel.html": parallel_html(results, front, info.objectives, title=title),
            "fairness.html": worst_change_html(results, front, title=title),
            "insight.html": insight_html(found.insight),
            "scale.json": json.dumps(scale.to_record(), indent=1),
        },
    )


def _verdict(result: TrialResult, record: Mapping[str, Any] | None) -> Verdict | None:
    if record is None:
        return None
    verdict = Verdict.from_dict(record)
    folder = Path(result.folder) if result.folder else Path(verdict.report).parent
    return replace(verdict, report=str(folder / Path(verdict.report).name))  # may have been moved


def _also(result: TrialResult, names: Sequence[str], ledger: Ledger) -> dict[str, Verdict]:
    """What the further sets of the search file say, in its order."""
    records = ledger.notes.get(ALSO_TEST, {}).get(str(result.number), {})
    found = {name: _verdict(result, records.get(name)) for name in names}
    return {name: verdict for name, verdict in found.items() if verdict}


def _again(ledger: Ledger) -> dict[int, Remeasured]:
    """Of every trial that was trained again, by its number."""
    by_seed = {int(seed): a for seed, a in ledger.notes.get(TEST_OF_REPEATS, {}).items()}
    found = {entry.number: remeasure(entry, by_seed) for entry in ledger.entries if entry.repeats}
    return {number: again for number, again in found.items() if again}
