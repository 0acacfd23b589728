"""Single writes to MLflow that change nothing when they are repeated."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autokd.errors import TrackingError
from autokd.records import SearchInfo, TrialResult
from autokd.tracking import study_run, trial_run
from autokd.tracking.environment import mlflow_failures
from autokd.tracking.moved import ARTIFACTS
from autokd.tracking.store import Store, tag_is

if TYPE_CHECKING:
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trial's run belongs."""

    study: str
    experiment_id: str
    parent_id: str


def ensure_experiment(store: Store, info: SearchInfo) -> str:
    """The id of the task's experiment; made, or brought back when somebody deleted it."""
    name = study_run.experiment_name(info)
    location = None  # a server keeps artifacts where it was told to
    if not store.is_server:
        location = (store.directory / ARTIFACTS / study_run.artifact_folder(info)).as_uri()
    experiment = store.client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(store.client.create_experiment(name, artifact_location=location))
        except mlflow_failures():  # another process was faster
            experiment = store.client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        store.client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def find_study(store: Store, info: SearchInfo) -> Run | None:
    """The search's own run; one, also where a server that answered too late was asked to make it twice."""
    conditions = (tag_is("autokd.kind", "study"), tag_is("autokd.study", info.study))
    found = [*store.runs(store.experiment_ids(), *conditions)]
    if any(run.data.tags.get("autokd.fingerprint") != info.fingerprint for run in found):
        raise TrackingError(
            f"MLflow store {store.address} has a search named '{info.study}' with "
            "other settings; give this one another name"
        )
    described = [run for run in found if study_run.NOTE in run.data.tags] or found
    for twin in found:
        if twin is not described[0]:
            store.client.set_terminated(twin.info.run_id, "KILLED")
            store.client.delete_run(twin.info.run_id)
    return next(iter(described), None)


def write_trial(
    store: Store,
    result: TrialResult,
    place: Place,
    existing: Sequence[Run],
    *,
    on_front: bool = False,
) -> Run:
    """The trial's run, complete. `existing` are its runs in the store; all but a complete, equal one go.

    Points of a metric can't be taken back, so what was written half-way is made anew.
    """
    record = trial_run.record_hash(result)
    status = trial_run.STATUS[result.state]
    kept: Run | None = None
    for run in existing:
        if kept is None and run.data.tags.get(trial_run.RECORD_TAG) == record:
            kept = run
        else:
            store.client.delete_run(run.info.run_id)
    if kept is None:
        return _create_trial(store, result, place, record, on_front=on_front)
    if kept.data.tags.get(PARENT_TAG) != place.parent_id:
        store.client.set_tag(kept.info.run_id, PARENT_TAG, place.parent_id)
    if kept.info.status != status:
        store.client.set_terminated(kept.info.run_id, status)
    return kept


def write_teacher(store: Store, info: SearchInfo, place: Place, existing: Sequence[Run]) -> None:
    """A run of its own below the search's, beside its students."""
    tags, metrics = study_run.teacher_run(info)
    tags |= {PARENT_TAG: place.parent_id}
    for twin in existing[1:]:
        store.client.delete_run(twin.info.run_id)
    run = next(iter(existing), None) or store.client.create_run(
        place.experiment_id, tags=tags, run_name=f"teacher: {info.teacher.name}"
    )
    log_values(store, run, metrics, tags=tags)
    if not (run.inputs and run.inputs.dataset_inputs):
        log_dataset(store, run.info.run_id, info)
    if run.info.status != "FINISHED":
        store.client.set_terminated(run.info.run_id, "FINISHED")


def log_values(
    store: Store,
    run: Run,
    metrics: Mapping[str, float],
    *,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    step: int = 0,
) -> None:
    """One request; metrics whose latest value is the same already are left out, so that no point doubles."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    old_metrics, old_tags = run.data.metrics, run.data.tags
    store.client.log_batch(
        run.info.run_id,
        metrics=[
            Metric(key, float(value), now, step)
            for key, value in metrics.items()
            if math.isfinite(value) and old_metrics.get(key) != value
        ],
        params=[Param(key, value) for key, value in (params or {}).items()],
        tags=[RunTag(key, v) for key, v in (tags or {}).items() if old_tags.get(key) != v],
    )


def log_dataset(store: Store, run_id: str, info: SearchInfo) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(**study_run.dataset_record(info))
    context = InputTag("mlflow.data.context", "train, val and test")
    store.client.log_inputs(run_id, datasets=[DatasetInput(dataset, [context])])


def time_tag() -> dict[str, str]:
    """When a search was begun, or trained on after that; orders searches from the latest, the one worked on last."""
    return {"autokd.begun_ms": str(int(time.time() * 1000))}


def date(store: Store, run_id: str) -> None:
    """A search that goes on is the latest from its first new trial on; one that is only looked at again is not."""
    for name, value in time_tag().items():
        store.client.set_tag(run_id, name, value)


def _create_trial(
    store: Store, result: TrialResult, place: Place, record: str, *, on_front: bool
) -> Run:
    from mlflow.entities import Metric, Param

    start = int((time.time() - _finite(result.seconds)) * 1000)
    tags = {PARENT_TAG: place.parent_id, "autokd.study": place.study}
    run = store.client.create_run(
        place.experiment_id,
        start_time=start,
        tags=tags | trial_run.trial_tags(result, on_front=on_front),
        run_name=result.name,
    )
    run_id = run.info.run_id
    store.client.log_batch(
        run_id,
        params=[Param(key, value) for key, value in trial_run.trial_params(result).items()],
        metrics=[
            Metric(point.key, point.value, start + int(point.seconds * 1000), point.step)
            for point in trial_run.trial_points(result)
        ],
    )
    for path in trial_run.trial_files(result):
        store.client.log_artifact(run_id, str(path))
    if (audit := trial_run.audit_folder(result)) is not None:
        store.client.log_artifacts(run_id, str(audit), trial_run.AUDIT)
    for name, text in trial_run.long_texts(result).items():
        store.client.log_text(run_id, text, name)
    store.client.set_tag(run_id, trial_run.RECORD_TAG, record)
    store.client.set_terminated(run_id, trial_run.STATUS[result.state])
    return run


def _finite(seconds: float) -> float:
    return seconds if math.isfinite(seconds) else 0.0
