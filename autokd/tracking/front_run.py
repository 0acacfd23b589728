"""The front in MLflow: tags and colours of trials, test figures, the parent's metrics and report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.insight import Growth
from autokd.records import COSTS, FrontMember, SearchInfo, TrialResult, Verdict, also_tag
from autokd.tracking import trial_run
from autokd.tracking.runs import log_values
from autokd.tracking.standing import ON_FRONT
from autokd.tracking.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

RANK_TAG = "autokd.pareto_rank"
TEST_AUDIT = "test_audit"  # the folder of the audit on test, in the run of a member
TEST_AUDIT_TAG = "autokd.test_audit"


def mark_front(store: Store, front: Sequence[FrontMember], written: Mapping[int, Run]) -> None:
    """Charts take a point's colour from its run; trials that have left the front lose theirs."""
    members = {member.number: member for member in front}
    for number, run in written.items():
        member = members.get(number)
        tags = {
            ON_FRONT: "true" if member else "false",
            "mlflow.runColor": trial_run.FRONT_COLOUR if member else trial_run.OTHER_COLOUR,
        }
        metrics = {}
        if member:
            tags[RANK_TAG] = f"{member.rank:02d}"  # tags are sorted as text
            if verdict := member.verdict:
                metrics = _verdict_metrics(verdict, "test")
                metrics |= trial_run.again_metrics(member.again)
                tags[TEST_AUDIT_TAG] = verdict.audit.status
                if TEST_AUDIT_TAG not in run.data.tags and Path(verdict.report).is_dir():
                    store.client.log_artifacts(run.info.run_id, verdict.report, TEST_AUDIT)
            for name, verdict in member.also.items():
                metrics |= _verdict_metrics(verdict, f"also_test.{name}")
                data_tag = also_tag(name, "data")  # what the set was when it was asked
                tags |= {
                    also_tag(name, "audit"): verdict.audit.status,
                    data_tag: verdict.data_hash or "",
                }
                asked = tags[data_tag] != run.data.tags.get(data_tag)
                if asked and Path(verdict.report).is_dir():
                    folder = Path(verdict.report).name
                    store.client.log_artifacts(run.info.run_id, verdict.report, folder)
        elif RANK_TAG in run.data.tags:
            store.client.delete_tag(run.info.run_id, RANK_TAG)
        if metrics or tags.items() - run.data.tags.items():
            log_values(store, run, metrics, tags=tags)


def _verdict_metrics(verdict: Verdict, prefix: str) -> dict[str, float]:
    values = {
        "accuracy": verdict.accuracy,
        "loss": verdict.loss,
        "teacher_accuracy": verdict.teacher_accuracy,
        "images": verdict.images,
    }
    known = {f"{prefix}/{key}": float(v) for key, v in values.items() if v is not None}
    return known | trial_run.audit_metrics(verdict.audit, prefix)


def log_front_metrics(
    store: Store,
    run_id: str,
    info: SearchInfo,
    front: Sequence[FrontMember],
    trials: Sequence[TrialResult],
    *,
    growth: Sequence[Growth],
) -> None:
    """Hypervolume by the number of trials that had been begun; the front's accuracy and first cost by rank."""
    from mlflow.entities import Metric

    run = store.client.get_run(run_id)
    log_values(store, run, {"front/size": float(len(front))}, step=len(trials))
    known = {m.step for m in store.client.get_metric_history(run_id, "hypervolume")}
    latest = {
        grown.trials: grown.hypervolume for grown in growth
    }  # of several at one step the last
    now = int(time.time() * 1000)
    missing = [
        Metric("hypervolume", value, now, step)
        for step, value in latest.items()
        if step not in known
    ]
    if missing:
        store.client.log_batch(run_id, metrics=missing)
    results = {result.number: result for result in trials}
    cost_name = next(name for name in info.objectives if name in COSTS)
    points: list[tuple[str, float, int]] = []
    for member in sorted(front, key=lambda member: member.rank):
        result = results[member.number]
        cost = getattr(result.cost, cost_name, None)
        points.append(("front/accuracy", float(result.val["accuracy"]), member.rank))
        points += [] if cost is None else [(f"front/{cost_name}", float(cost), member.rank)]
    if points and set(points) != _latest_front(store, run_id, cost_name):
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, rank) for key, value, rank in points]
        store.client.log_batch(run_id, metrics=metrics)


def log_report(store: Store, run_id: str, files: Mapping[str, str], frame: pd.DataFrame) -> None:
    """Files replace those of an earlier finish."""
    texts = {
        **files,
        "front.csv": frame.to_csv(index=False),
        "front.json": frame.to_json(orient="split", index=False),
    }
    for name, text in texts.items():
        store.client.log_text(run_id, text, f"report/{name}")
    # Lets the interface show the JSON file as a table that can be sorted.
    table = '[{"path": "report/front.json", "type": "table"}]'
    store.client.set_tag(run_id, "mlflow.loggedArtifacts", table)


def _latest_front(store: Store, run_id: str, cost_name: str) -> set[tuple[str, float, int]]:
    """What the last finish wrote; all its points carry one time."""
    history = [
        metric
        for key in ("front/accuracy", f"front/{cost_name}")
        for metric in store.client.get_metric_history(run_id, key)
    ]
    newest = max((metric.timestamp for metric in history), default=0)
    return {(m.key, m.value, m.step) for m in history if m.timestamp == newest}
