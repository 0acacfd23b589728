"""Reads searches back from the store alone."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd.errors import TrackingError, nearest_name
from autokd.records import (
    ALSO_COLUMNS,
    COSTS,
    REMEASURED,
    Budget,
    Candidate,
    also_column,
    also_metric,
    also_tag,
)
from autokd.tracking.rows import Row, Rows
from autokd.tracking.standing import ALSO_TEST, ON_FRONT, SHORTFALL
from autokd.tracking.store import Store, one_line_errors
from autokd.tracking.study_run import make_links
from autokd.tracking.trial_run import AGAIN

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

    AnyRun = Run | Row

COLUMNS = (
    "number",
    "run_id",
    "state",
    "control",
    "reason",
    "candidate",
    "student",
    "stages",
    "val_accuracy",
    "test_accuracy",
    "teacher_test_accuracy",
    "worst_group_accuracy",
    "worst_change",
    "gap_growth",
    "undecided",
    "test_undecided",
    "audit",
    "test_audit",
    *REMEASURED,
    "feasible",
    *COSTS,
    "front_rank",
    "seconds",
)
_INTEGERS = (
    "number",
    "macs",
    "params",
    "size_bytes",
    "activation_bytes",
    "front_rank",
    "undecided",
    "test_undecided",
    "seeds",
)
_BOOLEANS = ("feasible",)
_TEXTS = (
    "audit",
    "test_audit",
    "run_id",
    "state",
    "control",
    "reason",
    "candidate",
    "student",
    "stages",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEntry:
    """A search in a list of searches."""

    study: str
    experiment: str  # its name
    run_id: str
    status: str  # RUNNING, FINISHED, KILLED or FAILED
    begun: datetime  # when it was begun, or first trained a trial after it was begun again; UTC
    teacher: str
    data: str
    hypervolume: float | None  # None: not finished
    front_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStudy:
    """A search and its trials, as the store has them."""

    study: str
    run_id: str
    experiment_id: str
    status: str
    seed: int
    objectives: tuple[str, ...]
    budget: Budget
    teacher: Mapping[str, Any]  # name, hash, source, val_accuracy and the costs that were measured
    data: Mapping[str, Any]  # name, hash, source, classes, train_count, val_count, test_count
    hypervolume: float | None
    shortfall: str  # why no student is good enough, and what to try; empty: one is, or it runs
    trials: pd.DataFrame  # COLUMNS, by number; a missing value where a trial has none


def list_studies(store: Store | Rows) -> tuple[StudyEntry, ...]:
    """Every search of the store; first the one that was worked on last."""
    with one_line_errors(store):
        names = store.experiments()
        return tuple(_entry(run, names[run.info.experiment_id]) for run in _parents(store))


def count_studies(store: Store) -> int:
    with one_line_errors(store):
        return len(_parents(store))


def latest_page(store: Store | Rows) -> tuple[str, str] | None:
    """The latest search's name and its charts' place behind the interface's address; None where there is none yet."""
    with one_line_errors(store):
        for run in _parents(store):
            study, info = run.data.tags["autokd.study"], run.info
            return study, make_links(study, info.experiment_id, info.run_id).view
    return None


def read_study(store: Store | Rows, study: str | None, *, front_only: bool = False) -> StoredStudy:
    """One search by its name, or the latest. Raises TrackingError that names the known ones.

    With `front_only` its trials are the controls and those that nobody beat when they were written, or all that are
    complete where nobody marked any: quick, and the front is among them.
    """
    with one_line_errors(store):
        run = find_parent(store, study)
        read = partial(_children, store, run)
        if front_only:
            members = read({ON_FRONT: "true"}) or read(status="FINISHED")
            children = [*members, *read({"autokd.control": None})]
        else:
            children = read()
    params, metrics = run.data.params, run.data.metrics
    return StoredStudy(
        study=run.data.tags["autokd.study"],
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        status=run.info.status,
        seed=int(params["seed"]),
        objectives=tuple(params["objectives"].split()),
        budget=Budget(**{name: float(v) for name, v in _below(params, "budget.").items()}),
        teacher={"name": params["teacher"]}
        | _below(params, "teacher.")
        | {key: _number(key, v) for key, v in _below(metrics, "teacher/").items()},
        data={"name": params["data"]}
        | {key: _count(key, v) for key, v in _below(params, "data.").items()},
        hypervolume=metrics.get("hypervolume"),
        shortfall=run.data.tags.get(SHORTFALL, ""),
        trials=_frame(children, run.data.tags.get(ALSO_TEST, "").split()),
    )


def read_text(store: Store, run_id: str, path: str) -> str:
    """A text artifact of a run."""
    with tempfile.TemporaryDirectory() as folder:
        copy = store.client.download_artifacts(run_id, path, folder)
        return Path(copy).read_text(encoding="utf-8")


def find_parent(store: Store | Rows, study: str | None) -> AnyRun:
    """A search's own run; the latest's when no name is given."""
    parents = _parents(store)
    if not parents:
        raise TrackingError(
            f"MLflow store {store.address} holds no search yet; run `autokd search` first"
        )
    if study is None:
        return parents[0]
    for run in parents:
        if run.data.tags["autokd.study"] == study:
            return run
    known = [run.data.tags["autokd.study"] for run in parents]
    raise TrackingError(
        f"unknown search '{study}'; known searches: {', '.join(known)}.{nearest_name(study, known)}"
    )


def _children(
    store: Store | Rows,
    parent: AnyRun,
    tags: Mapping[str, str | None] | None = None,
    *,
    status: str = "",
) -> list[AnyRun]:
    """A search's trials that have these tags too."""
    own = {"autokd.kind": "trial", "autokd.study": parent.data.tags["autokd.study"]}
    experiments = [parent.info.experiment_id]
    return list(store.tagged(experiments, own | dict(tags or {}), status=status))


def _parents(store: Store | Rows) -> list[AnyRun]:
    found = store.tagged(list(store.experiments()), {"autokd.kind": "study"})
    return sorted(found, key=_begun_ms, reverse=True)


def _entry(run: AnyRun, experiment: str) -> StudyEntry:
    size = run.data.metrics.get("front/size")
    return StudyEntry(
        study=run.data.tags["autokd.study"],
        experiment=experiment,
        run_id=run.info.run_id,
        status=run.info.status,
        begun=datetime.fromtimestamp(_begun_ms(run) / 1000, tz=UTC),
        teacher=run.data.params.get("teacher", ""),
        data=run.data.params.get("data", ""),
        hypervolume=run.data.metrics.get("hypervolume"),
        front_size=None if size is None else int(size),
    )


def _begun_ms(run: AnyRun) -> int:
    return int(run.data.tags.get("autokd.begun_ms", run.info.start_time))


def _frame(children: Iterable[AnyRun], further: Sequence[str]) -> pd.DataFrame:
    """`further`: the sets beside test, whose columns stand behind all others."""
    import pandas as pd

    by_number = {row["number"]: row for row in (_row(run, further) for run in children)}
    rows = [by_number[number] for number in sorted(by_number)]
    columns = {}
    for name in COLUMNS:
        kind: Any = "Int64" if name in _INTEGERS else "object" if name in _TEXTS else "float64"
        kind = "bool" if name in _BOOLEANS else kind
        columns[name] = pd.Series([row[name] for row in rows], dtype=kind)
    for name in (also_column(each, key) for each in further for key in ALSO_COLUMNS):
        kind = "object" if name.endswith(".audit") else "float64"
        columns[name] = pd.Series([row[name] for row in rows], dtype=kind)
    return pd.DataFrame(columns)


def _row(run: AnyRun, further: Sequence[str]) -> dict[str, Any]:
    tags, metrics = run.data.tags, run.data.metrics
    rank = tags.get("autokd.pareto_rank")
    row: dict[str, Any] = {
        "number": int(tags["autokd.trial"]),
        "run_id": run.info.run_id,
        "state": tags.get("autokd.state"),
        "control": tags.get("autokd.control"),
        "reason": tags.get("autokd.reason"),
        "candidate": tags.get("autokd.candidate"),
        "student": tags.get("autokd.student"),
        "stages": _stages(run),
        "val_accuracy": metrics.get("val/accuracy", math.nan),
        "test_accuracy": metrics.get("test/accuracy", math.nan),
        "teacher_test_accuracy": metrics.get("test/teacher_accuracy", math.nan),
        **{
            name: metrics.get(f"audit/{name}", math.nan)
            for name in ("worst_group_accuracy", "worst_change", "gap_growth")
        },
        **{name: metrics.get(f"{AGAIN}/{name}", math.nan) for name in REMEASURED},
        "seeds": metrics.get(f"{AGAIN}/seeds"),
        "undecided": metrics.get("audit/undecided"),
        "test_undecided": metrics.get("test/undecided"),
        "audit": tags.get("autokd.audit"),
        "test_audit": tags.get("autokd.test_audit"),
        "feasible": all(value <= 0 for value in _below(metrics, "excess/").values()),
        "front_rank": None if rank is None else int(rank),
        "seconds": metrics.get("seconds", math.nan),
    }
    for name in COSTS:
        value = metrics.get(f"cost/{name}")
        row[name] = None if value is None else _number(name, value)  # None becomes NaN or NA
    for name in further:
        for key in ALSO_COLUMNS:
            row[also_column(name, key)] = metrics.get(also_metric(name, key))
        row[also_column(name, "audit")] = tags.get(also_tag(name, "audit"))
    return row


def _stages(run: AnyRun) -> str | None:
    """None for a run that was cut off before its params were written."""
    if "stages" not in run.data.params:
        return None
    return Candidate.from_params(run.data.params).describe_stages()


def _below(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def _number(key: str, value: float) -> float | int:
    return int(value) if key in _INTEGERS else value


def _count(key: str, text: str) -> str | int:
    return int(text) if key == "classes" or key.endswith("_count") else text
