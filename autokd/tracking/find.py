"""Finds one trial by what a person has at hand: a run id, a candidate's hash, or STUDY/NUMBER."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.errors import TrackingError
from autokd.tracking.front_run import TEST_AUDIT
from autokd.tracking.read import find_parent, read_text
from autokd.tracking.store import Store, one_line_errors, tag_is
from autokd.tracking.trial_run import AUDIT, FILES

if TYPE_CHECKING:
    from mlflow.entities import Run

WEIGHTS, INT8_GRAPH, _, CANDIDATE_FILE = FILES
SHORTEST = 6  # hex digits of a run id or hash
AUDIT_FILE = "audit.json"
AUDITS = {
    "val": AUDIT,
    "test": TEST_AUDIT,
}  # folders of a trial's run, by the split that was audited
_ALSO_AUDIT = re.compile(r"autokd\.also_test\.[^.]+\.audit")
FORMS = "give a trial's number, STUDY/NUMBER, or 6 digits or more of an MLflow run id or a candidate's hash"
_TRIAL = tag_is("autokd.kind", "trial")


def names_latest(reference: str) -> bool:
    """Whether a reference is a trial's number alone, and so means the latest search."""
    return reference.isdigit() and len(reference) < SHORTEST


def find_candidate(store: Store, reference: str) -> tuple[str, str]:
    """The text of the trial's candidate.yaml, and a line that says which trial it is."""
    with one_line_errors(store):
        run = _find_run(store, reference)
        _check_files(store, run, CANDIDATE_FILE, so="it can't be run again from here")
        return read_text(store, run.info.run_id, CANDIDATE_FILE), _describe(run)


def find_audit(store: Store, reference: str, split: str) -> str:
    """The text of the audit.json that a trial has on val, on test or on a further set by its name."""
    with one_line_errors(store):
        run = _find_run(store, reference)
        further = sorted(k.split(".")[2] for k in run.data.tags if _ALSO_AUDIT.fullmatch(k))
        folders = AUDITS | {name: f"also_test_{name}_{AUDIT}" for name in further}
        if split not in folders:
            raise TrackingError(f"split is '{split}'; known: {', '.join(folders)}")
        path = f"{folders[split]}/{AUDIT_FILE}"
        if path not in {
            f.path for f in store.client.list_artifacts(run.info.run_id, folders[split])
        }:
            raise TrackingError(
                f"{_describe(run)} has no audit on {split}; students that were trained to their end have one on val, "
                "members of a finished search's front on test too"
            )
        return read_text(store, run.info.run_id, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrial:
    """What the store knows of one trial."""

    description: str
    run_id: str
    experiment_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def facts(self) -> dict[str, float | str]:
        return {**self.metrics, **self.tags}


def fetch_trial(store: Store, reference: str, folder: Path) -> StoredTrial:
    """A trained student's candidate.yaml and weights into `folder`, with what is known of it."""
    with one_line_errors(store):
        run = _find_run(store, reference)
        number, state = (run.data.tags.get(f"autokd.{name}", "") for name in ("trial", "state"))
        if state != "complete":
            raise TrackingError(
                f"{_describe(run)} was not trained to its end; do that with `autokd run {number} --output DIR`, "
                "and export DIR"
            )
        files = _check_files(store, run, CANDIDATE_FILE, WEIGHTS, so="there is nothing to export")
        for name in files & {CANDIDATE_FILE, WEIGHTS, INT8_GRAPH}:
            store.client.download_artifacts(run.info.run_id, name, str(folder))
        return StoredTrial(
            description=_describe(run),
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            metrics=run.data.metrics,
            tags=run.data.tags,
        )


def _check_files(store: Store, run: Run, *wanted: str, so: str) -> set[str]:
    """All files of the run, these among them."""
    files = {file.path for file in store.client.list_artifacts(run.info.run_id)}
    for name in wanted:
        if name not in files:
            raise TrackingError(f"{_describe(run)} has no {name}, so {so}")
    return files


def _find_run(store: Store, reference: str) -> Run:
    study, slash, number = reference.rpartition("/")
    if names_latest(reference) or (slash and number.isdigit()):
        return _find_by_number(store, study or None, int(number))
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},32}}", reference):
        raise TrackingError(f"'{reference}' names no trial; {FORMS}")
    ids = store.experiment_ids()
    by_id = list(store.runs(ids, _TRIAL, f"attributes.run_id LIKE '{reference}%'"))
    by_hash = list(store.runs(ids, _TRIAL, f"tags.\"autokd.candidate\" LIKE '{reference}%'"))
    hashes = {run.data.tags["autokd.candidate"] for run in by_hash}
    if not by_id and not by_hash:
        raise TrackingError(
            f"no trial in MLflow store {store.address} has a run id or candidate hash that starts "
            f"with '{reference}'"
        )
    if len(by_id) + len(hashes) > 1:
        found = ", ".join(sorted({run.info.run_id for run in by_id} | hashes)[:5])
        raise TrackingError(f"'{reference}' fits several: {found}; give more digits")
    return by_id[0] if by_id else max(by_hash, key=_worth)


def _find_by_number(store: Store, study: str | None, number: int) -> Run:
    parent = find_parent(store, study)
    study = parent.data.tags["autokd.study"]
    conditions = (_TRIAL, tag_is("autokd.study", study), tag_is("autokd.trial", str(number)))
    for run in store.runs([parent.info.experiment_id], *conditions):
        return run
    raise TrackingError(f"search '{study}' has no trial {number} in MLflow store {store.address}")


def _worth(run: Run) -> tuple[bool, int]:
    """Of one candidate's trials the latest complete one stands for it."""
    return run.data.tags.get("autokd.state") == "complete", run.info.start_time


def _describe(run: Run) -> str:
    tags = run.data.tags
    accuracy = run.data.metrics.get("val/accuracy")
    parts = [tags.get("autokd.student", "unknown student"), tags.get("autokd.state", "unfinished")]
    parts += [] if accuracy is None else [f"val accuracy {accuracy:.4f}"]
    return f"trial {tags['autokd.trial']} of search {tags['autokd.study']} ({', '.join(parts)})"
