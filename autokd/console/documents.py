"""What commands say to scripts: one document each, of plain records. Keys stay as they are; more may come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd.kept import Kept
from autokd.records import COSTS

if TYPE_CHECKING:
    import pandas as pd

    from autokd.engine.check import Check
    from autokd.engine.finish import SearchResult
    from autokd.engine.outline import Outline
    from autokd.engine.rerun import Rerun
    from autokd.engine.survey import Survey
    from autokd.exporting.export import Exported
    from autokd.exporting.registered import Registered
    from autokd.insight import Insight
    from autokd.tracking.read import StoredStudy


def search_document(result: SearchResult) -> dict[str, Any]:
    return {
        "study": result.study,
        "run_id": result.run_id,
        "stopped_because": result.stopped_because,
        "interrupted": result.interrupted,
        "summary": result.summary,
        "shortfall": result.shortfall,
        "front": rows(result.front),
        "links": result.links,
        "pending": result.pending,
    }


def front_document(frame: pd.DataFrame, stored: StoredStudy) -> dict[str, Any]:
    return {
        "study": stored.study,
        "run_id": stored.run_id,
        "status": stored.status.lower(),
        "objectives": stored.objectives,
        "hypervolume": stored.hypervolume,
        "teacher": stored.teacher,
        "shortfall": stored.shortfall or None,
        "front": rows(frame),
    }


def check_document(file: Path, check: Check) -> dict[str, Any]:
    data = _fields(check.data)
    return {
        "file": file,
        "data": data | {"classes": len(data.pop("class_names"))},
        "metadata": check.join,
        "teacher_weights": list(check.weights),
        "starts": list(check.starts),
        "teacher": None
        if check.teacher is None
        else {"val_accuracy": check.teacher.accuracy, "doubts": [*check.teacher.doubts]},
        "parameter_count": check.parameters,
        **survey_document(check.survey),
        "device": check.device,
        "typical": check.typical.spec.describe(),
        "trial_seconds": check.trial_seconds,
        "live_seconds": check.live_seconds,
        "teacher_seconds": check.teacher_seconds,
        "least_share": check.least_share,
    }


def outline_document(file: Path, found: Outline) -> dict[str, Any]:
    return {
        "file": file,
        "total": found.total,
        "students": found.students,
        "budget": found.budget.limits,
        **survey_document(found.survey),
        "parameters": {name: vars(each) for name, each in found.parameters.items()},
    }


def survey_document(survey: Survey) -> dict[str, Any]:
    return {
        "sampled": len(survey.sampled),
        "feasible_share": survey.feasible_share,
        "models": {
            model: {
                "sampled": len(group),
                "feasible": sum(each.fits for each in group),
                **{name: _range([each.cost.known(name) for each in group]) for name in COSTS},
            }
            for model, group in survey.by_model().items()
        },
    }


def insight_document(insight: Insight) -> dict[str, Any]:
    return _fields(insight) | {"proposed": insight.proposed}


def rerun_document(rerun: Rerun) -> dict[str, Any]:
    result = rerun.result
    return {
        "student": result.candidate.student.describe(),
        "candidate": result.candidate.hash,
        "state": result.state,
        "reason": result.reason,
        "val_accuracy": result.val.get("accuracy"),
        "recorded_val_accuracy": rerun.recorded.val_accuracy,
        "same_teacher": rerun.same_teacher,
        "processes": rerun.processes,
        "seconds": result.seconds,
    }


def export_document(exported: Exported) -> dict[str, Any]:
    return _fields(exported) | {"holds": exported.parity.holds, "problems": exported.problems}


def registered_document(registered: Registered) -> dict[str, Any]:
    """Without the store's URI, which may hold a password."""
    document = _fields(registered)
    del document["tracking_uri"]
    return document | {"uri": registered.version.uri}


def kept_document(folder: Path, kept: Sequence[Kept]) -> dict[str, Any]:
    kinds: dict[str, dict[str, float]] = {}
    for each in kept:
        kind = kinds.setdefault(each.kind, {"number": 0, "size_bytes": 0, "used": 0.0})
        kind["number"] += 1
        kind["size_bytes"] += each.size_bytes
        kind["used"] = max(kind["used"], each.used)
    return {"folder": folder, "size_bytes": sum(each.size_bytes for each in kept), "kinds": kinds}


def cleared_document(kinds: Collection[str], freed: int) -> dict[str, Any]:
    return {"cleared": [*kinds], "freed_bytes": freed}


def rows(frame: pd.DataFrame) -> list[Mapping[Any, Any]]:
    return frame.to_dict("records")  # type: ignore[return-value]


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _range(values: Sequence[float | None]) -> list[float] | None:
    """Lowest and highest; None where a cost was not measured."""
    known = [value for value in values if value is not None]
    return [min(known), max(known)] if known else None
