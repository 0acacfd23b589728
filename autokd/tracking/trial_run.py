"""What the run of one trial holds: tags, params, metrics and files, as plain values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from autokd.records import COSTS, PRETRAIN, REMEASURED, AuditFigures, Remeasured, TrialResult
from autokd.tracking.standing import ON_FRONT

REASON_LENGTH = 2000  # characters; MLflow cuts tags in silence where they pass its limit
FILES = ("best.safetensors", "student.int8.onnx", "last.safetensors", "candidate.yaml")
STATUS = {"complete": "FINISHED", "stopped": "KILLED", "rejected": "KILLED", "failed": "FAILED"}
AUDIT = "audit"  # the folder of a trial's audit, beside its weights and in its run
AGAIN = "again"  # before the names of figures from further seeds
AUDIT_FIGURES = (
    "worst_group_accuracy",
    "worst_label_group_accuracy",
    "accuracy_gap",
    "gap_growth",
    "worst_change",
    "undecided",
)
BESIDE = ("latency_median_ms", "latency_p90_ms", "reference_ms", "pressure")  # no limits
# Charts take a point's colour from its run. Written with it, so that the end of a search touches its front alone.
FRONT_COLOUR = "#d62728"
OTHER_COLOUR = "#b5b5b5"
# Before the names of figures on val of a student that is to be pruned yet: its costs are those of what is left.
BEFORE_PRUNING = "before_pruning"
RECORD_TAG = "autokd.record"  # written last: a run without it was cut off half-way


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric. Times count from the trial's start."""

    key: str
    value: float
    step: int
    seconds: float


def record_hash(result: TrialResult) -> str:
    """Of all that a run shows of a result: equal hashes need no second writing."""
    record = asdict(result) | {"folder": None}
    text = json.dumps(record, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def trial_tags(result: TrialResult, *, on_front: bool = False) -> dict[str, str]:
    """Without the record's hash, which is written last."""
    dropped = sorted({point.key for point in _points(result) if not math.isfinite(point.value)})
    tags = {
        "autokd.kind": "trial",
        "autokd.trial": str(result.number),
        "autokd.state": result.state,
        "autokd.candidate": result.candidate.hash,
        "autokd.student": result.candidate.student.describe(),
        ON_FRONT: "true" if on_front else "false",
        "mlflow.runColor": OTHER_COLOUR,
        "mlflow.note.content": _note(result),
    }
    if result.audit is not None:
        tags["autokd.audit"] = result.audit.status
        tags["autokd.worst_group"] = result.audit.worst_group or "none judged"
    if result.cost is not None and result.cost.device is not None:
        busy = ", while the machine was busy" if result.cost.contended else ""
        tags["autokd.latency_device"] = result.cost.device + busy
    if result.control is not None:
        tags["autokd.control"] = _cut(result.control)
    if result.reason is not None:
        tags["autokd.reason"] = _cut(result.reason)
    if dropped:
        tags["autokd.not_finite"] = " ".join(dropped)
    return tags


def trial_params(result: TrialResult) -> dict[str, str]:
    """`Candidate.from_params` gives the candidate back."""
    return result.candidate.to_params() | {
        "seed": str(result.seed),
        "threads": str(result.threads),
    }


def trial_points(result: TrialResult) -> list[Point]:
    """Curves and final values that are finite numbers."""
    return [point for point in _points(result) if math.isfinite(point.value)]


def trial_files(result: TrialResult) -> list[Path]:
    if result.folder is None:
        return []
    return [path for name in FILES if (path := Path(result.folder) / name).is_file()]


def audit_metrics(audit: AuditFigures | None, prefix: str) -> dict[str, float]:
    """The figures that runs are sorted by; those that are undefined are left out."""
    values = {f"{prefix}/{name}": getattr(audit, name, None) for name in AUDIT_FIGURES}
    return {key: float(value) for key, value in values.items() if value is not None}


def again_metrics(again: Remeasured | None) -> dict[str, float]:
    """Accuracy from further seeds: mean, spread, and what is lost against the accuracy that was chosen."""
    values = {f"{AGAIN}/{name}": getattr(again, name, None) for name in REMEASURED}
    return {key: float(value) for key, value in values.items() if value is not None}


def audit_folder(result: TrialResult) -> Path | None:
    """The report of the audit on val."""
    if result.folder is None or not (Path(result.folder) / AUDIT).is_dir():
        return None
    return Path(result.folder) / AUDIT


def long_texts(result: TrialResult) -> dict[str, str]:
    """What a tag could not hold: file name -> the whole text."""
    if result.reason is None or len(result.reason) <= REASON_LENGTH:
        return {}
    return {"reason.txt": result.reason}


def _points(result: TrialResult) -> Iterator[Point]:
    seconds = 0.0
    for step, epoch in enumerate(result.history, start=1):
        seconds += epoch.seconds if math.isfinite(epoch.seconds) else 0.0
        # in charts of its own: another loss, and no accuracy yet
        part = PRETRAIN if epoch.stage == PRETRAIN else "train"
        yield Point(f"{part}/loss", epoch.train_loss, step, seconds)
        yield Point(f"{part}/learning_rate", epoch.learning_rate, step, seconds)
        if epoch.at_once:
            yield Point(f"{part}/at_once", epoch.at_once, step, seconds)
        if epoch.stage != PRETRAIN:
            yield Point("val/epoch_accuracy", epoch.val_accuracy, step, seconds)
            yield Point("val/epoch_loss", epoch.val_loss, step, seconds)
    of_what = BEFORE_PRUNING if result.before_pruning else "val"
    final = {f"{of_what}/{name}": value for name, value in result.val.items()}
    for name in (*COSTS, *BESIDE) if result.cost else ():
        value = getattr(result.cost, name)
        final |= {f"cost/{name}": value} if value is not None else {}
    of_what = f"{BEFORE_PRUNING}/audit" if result.before_pruning else "audit"
    final |= audit_metrics(result.audit, of_what)
    final |= {f"excess/{name}": value for name, value in result.excess.items()}
    for key, value in (final | {"seconds": result.seconds}).items():
        yield Point(key, float(value), 0, max(seconds, 0.0))


def _note(result: TrialResult) -> str:
    # charts show the first words beside a point, as they are written
    lines = [
        f"{result.candidate.student.describe()} · {result.candidate.describe_stages()} · {result.state}"
    ]
    if result.before_pruning:
        lines.append(
            "Its accuracy is the whole student's, its costs those of what pruning would leave."
        )
    lines += [f"Audit on val: {result.audit.sentence}"] if result.audit else []
    lines += [f"Control: {_cut(result.control)}"] if result.control else []
    lines += [f"Reason: {_cut(result.reason)}"] if result.reason else []
    return "\n\n".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= REASON_LENGTH else f"{text[: REASON_LENGTH - 1]}…"
