"""New images held against what a student was chosen on: accuracy, drift, the audit again, and a recommendation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autokd.config import MetadataConfig
from autokd.data import Arrived, number_clusters, read_arrived
from autokd.drift.accuracy import Accuracy, AccuracyChange, compare_accuracy, expected_accuracy
from autokd.drift.reference import Reference, count_right
from autokd.drift.seen import see
from autokd.drift.shift import ALPHA, LIMITS, MEANINGS, Shift, compare
from autokd.errors import DataError, storage_errors
from autokd.evaluation import predict
from autokd.fairness.audit import Audit, audit, plain
from autokd.monitoring.advice import Advice, advise
from autokd.monitoring.teacher import find_teacher
from autokd.monitoring.watched import Watched

SCHEMA = "autokd.monitor/1"
REPORT = "monitor.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Monitored:
    """What was found."""

    data: Path
    arrived: Arrived
    watched: Watched
    metadata: MetadataConfig | None
    shifts: tuple[Shift, ...]
    change: AccuracyChange | None  # None: no labels
    expected_accuracy: (
        float | None
    )  # a guess without labels; None: there are some, or confidence is worthless
    audit: Audit | None  # None: no labels
    notes: tuple[str, ...]  # what was not looked at, and why
    advice: Advice

    @property
    def recommendation(self) -> str:
        """keep, undecided, look closer or re-distil."""
        return self.advice.recommendation

    @property
    def exit_code(self) -> int:
        """0: keep; 3: undecided or look closer; 1: re-distil."""
        return self.advice.exit_code

    @property
    def images(self) -> int:
        return len(self.arrived.split)

    @property
    def reference(self) -> Reference:
        return self.watched.reference

    def to_dict(self) -> dict[str, Any]:
        reference, change = self.reference, self.change
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "recommendation": self.recommendation,
            "exit_code": self.exit_code,
            "reasons": self.advice.reasons,
            "notes": self.notes,
            "student": reference.source,
            "study": self.watched.study,
            "data": str(self.data),
            "images": self.images,
            "labelled": self.arrived.labelled,
            "at_export": {
                "data": reference.data_name,
                "data_hash": reference.data_hash,
                "images": reference.seen.images,
                "sample": len(reference.seen),
                "audits": reference.audits,
            },
            "drift": [asdict(shift) for shift in self.shifts],
            "alpha": ALPHA,
            "limits": LIMITS,
            "measures": MEANINGS,
            "accuracy": change and _accuracy_record(change),
            "expected_accuracy": self.expected_accuracy,
            "audit": self.audit and {
                "status": self.audit.status, "exit_code": self.audit.exit_code, "summary": self.audit.record["summary"],
            },
        }  # fmt: skip
        return dict(plain(record))

    def save(self, folder: str | Path) -> None:
        """monitor.json, and with labels the audit's report in audit/."""
        folder = Path(folder)
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / REPORT).write_text(text + "\n", encoding="utf-8")
            if self.audit is not None:
                self.audit.save(folder / "audit")


def monitor_student(
    watched: Watched,
    path: Path,
    *,
    metadata: MetadataConfig | None,
    labels_needed: bool = False,
    cache: Path,
    device: torch.device,
) -> Monitored:
    """Raises DataError for new images that can't be read, are of other classes, or lack the labels that are needed."""
    reference, config = watched.reference, watched.recorded.config
    arrived = read_arrived(
        path,
        class_names=reference.class_names,
        image_size=reference.image_size,
        channels=reference.channels,
        cache=cache,
        metadata=metadata,
    )
    if labels_needed:
        refuse_unlabelled(arrived, path)
    logits = predict(watched.model, arrived.split, inputs=watched.inputs, device=watched.device)
    seen = see(arrived.split, logits)
    shifts = compare(reference.seen, seen)
    notes = list(arrived.notes)
    change = expected = found = None
    against_teacher = False
    if arrived.labelled:
        now = count_right(logits, arrived.split.labels, split="new")
        change = compare_accuracy(reference.accuracy, now, margin=config.audit.margin)
        found, against_teacher, said = _audit(watched, arrived, logits, metadata, cache, device)
        notes += said
    else:
        if not any(shift.is_of_other_images for shift in shifts):
            expected = expected_accuracy(reference.seen, seen, reference.val)
        notes.append("No labels: accuracy was not measured and the audit not made.")
    advice = advise(
        shifts,
        change,
        found,
        reference=reference,
        against_teacher=against_teacher,
        expected=expected,
        margin=config.audit.margin,
    )
    return Monitored(
        data=path, arrived=arrived, watched=watched, metadata=metadata, shifts=shifts, change=change,
        expected_accuracy=expected, audit=found, notes=tuple(notes), advice=advice,
    )  # fmt: skip


def refuse_unlabelled(arrived: Arrived, path: Path) -> None:
    if not arrived.labelled:
        raise DataError(
            f"{path}: has no labels, which a search needs; put the images in one folder a class, or add labels to the .npz"
        )


def _audit(
    watched: Watched,
    arrived: Arrived,
    logits: Tensor,
    metadata: MetadataConfig | None,
    cache: Path,
    device: torch.device,
) -> tuple[Audit, bool, list[str]]:
    """Against the teacher where it is at hand; whether it was, and what was left out."""
    recorded, split = watched.recorded, arrived.split
    notes = []
    teacher, why = find_teacher(recorded, cache=cache, device=device)
    answers = None
    if teacher is None:
        notes.append(f"The student was audited alone, without its teacher: {why}.")
    else:
        answers = predict(teacher.model, split, inputs=teacher.inputs, device=device)
    groups = _groups(arrived, metadata)
    policy = recorded.config.audit.to_policy(seed=recorded.config.seed)
    if policy.required and groups is None:
        notes.append(
            f"The search's audit.required ({', '.join(policy.required)}) was not looked at: no groups were given."
        )
        policy = replace(policy, required=())
    cluster = None
    if metadata is not None and metadata.cluster and split.metadata is not None:
        cluster = number_clusters(split.metadata, metadata.cluster)
    done = audit(
        split.labels.numpy(),
        _probabilities(logits),
        teacher=None if answers is None else _probabilities(answers),
        groups=groups,
        cluster=cluster,
        class_names=watched.reference.class_names,
        ids=list(arrived.ids),
        policy=policy,
        about={
            "title": f"{watched.reference.source} on new images",
            "split": "new",
            "hashes": {"data at export": watched.reference.data_hash},
        },
    )
    return done, answers is not None, notes


def _groups(arrived: Arrived, metadata: MetadataConfig | None) -> dict[str, NDArray[Any]] | None:
    table = arrived.split.metadata
    if metadata is None or table is None or not metadata.groups:
        return None
    return {name: table[name].to_numpy() for name in metadata.groups}


def _probabilities(logits: Tensor) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = logits.double().softmax(dim=-1).numpy()
    return probabilities


def _accuracy_record(change: AccuracyChange) -> Mapping[str, Any]:
    def told(accuracy: Accuracy) -> dict[str, Any]:
        return asdict(accuracy) | {"accuracy": accuracy.share, "wilson95": accuracy.interval}

    return asdict(change) | {"then": told(change.then), "now": told(change.now)}
