"""What the parent run of a search holds: tags, params, metrics, its data set and its notes, as plain values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from autokd.masking import without_secrets
from autokd.quantities import format_bytes, format_count
from autokd.records import COSTS, SearchInfo
from autokd.tracking.view import view_key


@dataclass(frozen=True, slots=True)
class Links:
    """Places in MLflow's interface, to be put behind its address and a slash."""

    view: str  # the chart page of the search's complete trials
    run: str  # the search's own page: note, report, params


NOTE = "mlflow.note.content"  # the tag that a run's page shows first
TEACHER_COLOUR = "#000000"
UNENDED = "The search has not ended: the same command goes on with it."

# Unless told of the work flow, MLflow shows its pages about language models.
_MODE = "?workflowType=machine_learning"


def make_links(study: str, experiment_id: str, run_id: str) -> Links:
    page = f"#/experiments/{experiment_id}/runs"
    return Links(
        view=f"{page}{_MODE}&compareRunsMode=CHART&viewStateShareKey={view_key(study)}",
        run=run_page(experiment_id, run_id),
    )


def run_page(experiment_id: str, run_id: str, tab: str = "") -> str:
    return f"#/experiments/{experiment_id}/runs/{run_id}{tab}{_MODE}"


def version_page(name: str, number: int) -> str:
    return f"#/models/{quote(name)}/versions/{number}{_MODE}"


def experiment_name(info: SearchInfo) -> str:
    """One task, one experiment: searches from one teacher on one data set stand side by side."""
    return f"autokd/{info.data.name}-from-{info.teacher.name}"


def artifact_folder(info: SearchInfo) -> str:
    name = experiment_name(info).removeprefix("autokd/")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def study_tags(
    info: SearchInfo, *, versions: Mapping[str, str], git_commit: str | None, command: str | None
) -> dict[str, str]:
    """Versions are tags, not params: they may change before a search goes on."""
    tags = {
        "autokd.kind": "study",
        "autokd.study": info.study,
        "autokd.fingerprint": info.fingerprint,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": without_secrets(command or "autokd search"),
    }
    tags |= {f"autokd.version.{name}": version for name, version in versions.items()}
    return tags | ({"mlflow.source.git.commit": git_commit} if git_commit else {})


def study_params(info: SearchInfo) -> dict[str, str]:
    params = {
        "teacher": info.teacher.name,
        "teacher.hash": info.teacher.hash,
        "teacher.source": info.teacher.source,
        "data": info.data.name,
        "data.hash": info.data.hash,
        "data.source": info.data.source,
        "data.classes": str(len(info.data.class_names)),
        "data.train_count": str(info.data.train_count),
        "data.val_count": str(info.data.val_count),
        "data.test_count": str(info.data.test_count),
        "data.unlabelled_count": str(info.data.unlabelled_count),
        "objectives": " ".join(info.objectives),
        "seed": str(info.seed),
    }
    return params | {f"budget.{name}": repr(limit) for name, limit in info.budget.limits.items()}


def teacher_metrics(info: SearchInfo) -> dict[str, float]:
    metrics = {"teacher/val_accuracy": info.teacher.val_accuracy}
    for name in COSTS:
        value = getattr(info.teacher.cost, name)
        metrics |= {f"teacher/{name}": float(value)} if value is not None else {}
    return metrics


def teacher_run(info: SearchInfo) -> tuple[dict[str, str], dict[str, float]]:
    """Tags and metrics of the teacher's own run: the same names as its students', so that charts and tables compare them."""
    teacher = info.teacher
    tags = {
        "autokd.kind": "teacher",
        "autokd.study": info.study,
        "autokd.state": "complete",
        "autokd.student": f"teacher: {teacher.name}",
        "mlflow.note.content": f"The teacher of {info.study}: {teacher.name}, {teacher.source}.",
        "mlflow.runColor": TEACHER_COLOUR,
    }
    costs = {f"cost/{name}": getattr(teacher.cost, name) for name in COSTS}
    metrics = {name: float(value) for name, value in costs.items() if value is not None}
    return tags, metrics | {"val/accuracy": teacher.val_accuracy}


def dataset_record(info: SearchInfo) -> dict[str, str]:
    """The arguments of mlflow.entities.Dataset."""
    data = info.data
    remote = data.source.startswith(("http://", "https://"))
    splits = {"train": data.train_count, "val": data.val_count, "test": data.test_count}
    return {
        "name": data.name[:500],
        "digest": data.hash[:36],
        "source_type": "http" if remote else "local",
        "source": json.dumps({"url" if remote else "uri": data.source}),
        "profile": json.dumps({"num_rows": sum(splits.values())} | splits),
    }


def begin_note(info: SearchInfo, links: Links) -> str:
    teacher, data = info.teacher, info.data
    return "\n\n".join(
        [
            f"Students of **{teacher.name}** ({teacher.val_accuracy:.1%} on val, "
            f"{format_count(teacher.cost.macs)} MACs) on **{data.name}** "
            f"({data.train_count} training images). {_budget(info)}",
            f"[Chart of the trials]({links.view})",
        ]
    )


def _budget(info: SearchInfo) -> str:
    limits = [_limit(name, limit) for name, limit in info.budget.limits.items()]
    return f"Budget: {', '.join(limits)}." if limits else "No budget."


def _limit(name: str, limit: float) -> str:
    if name.endswith("_bytes"):
        return f"{name.removesuffix('_bytes')} ≤ {format_bytes(limit)}"
    if name == "latency_ms":
        return f"latency ≤ {limit:g} ms"
    return f"{name} ≤ {format_count(limit)}"
