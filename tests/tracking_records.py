"""Records of a small made-up search, for the tests of autokd.tracking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from engine_records import make_member

from autokd.insight import Growth
from autokd.records import (
    TEACHER,
    Budget,
    Candidate,
    Cost,
    DataInfo,
    Epoch,
    Places,
    Report,
    SearchInfo,
    Stage,
    StudentSpec,
    TeacherInfo,
    Training,
    TrialResult,
)
from autokd.tracking.store import Store
from autokd.tracking.write import Tracker

BUDGET = Budget(macs=20e6, size_bytes=1e6)


GROWTH = (
    Growth(clock=0.0, epochs=0, trials=0, hypervolume=0.0),
    Growth(clock=9.0, epochs=3, trials=2, hypervolume=0.6),
    Growth(clock=12.0, epochs=5, trials=3, hypervolume=0.7),
)


def make_report(places: Places) -> Report:
    """Says where everything is."""
    pages = " ".join(f"{number}: {page}" for number, page in sorted(places.trials.items()))
    files = {"report.md": f"# Front\n{pages}", "pareto.html": "<p>front</p>"}
    return Report(note=f"{places.view} {places.report.format('report.md')}", files=files)


def make_info(study: str = "digits", **changes: Any) -> SearchInfo:
    fields: dict[str, Any] = {
        "study": study,
        "config": "name: digits\n",
        "fingerprint": "f00d",
        "seed": 3,
        "objectives": ("val_accuracy", "macs"),
        "budget": BUDGET,
        "data": DataInfo(
            name="digits",
            source="scikit-learn",
            hash="abcd1234",
            class_names=("0", "1"),
            channels=1,
            image_size=16,
            train_count=100,
            val_count=20,
            test_count=30,
        ),
        "teacher": TeacherInfo(
            name="resnet18",
            hash="beef",
            cost=Cost(macs=557_000_000, params=11_200_000, size_bytes=44_800_000),
            val_accuracy=0.98,
            source="trained here",
        ),
    }
    return SearchInfo(**(fields | changes))


def make_candidate(width: int = 16, learning_rate: float = 3e-4) -> Candidate:
    training = Training(
        epochs=2,
        batch_size=64,
        optimizer="adamw",
        learning_rate=learning_rate,
        weight_decay=0.05,
        patience=None,
    )
    assistant = Stage(
        name="assistant_1",
        student=StudentSpec(model="resnet", arguments={"width": 32, "depth": 2}, image_size=16),
        teachers=(TEACHER,),
        loss_weights={"kd": 0.9, "ce": 0.1},
        temperature=4.0,
        training=training,
    )
    student = Stage(
        name="student",
        student=StudentSpec(
            model="resnet",
            arguments={"width": width, "blocks": (1, 2), "stem": "3", "pool": None},
            image_size=16,
        ),
        teachers=(TEACHER, "assistant_1"),
        loss_weights={"kd": 1.0},
        temperature=2.5,
        training=training,
    )
    return Candidate(stages=(assistant, student))


def make_result(number: int = 7, **changes: Any) -> TrialResult:
    cost = Cost(macs=1_000_000 * (number + 1), params=40_000, size_bytes=160_000, latency_ms=0.8)
    history = tuple(
        Epoch(
            stage=stage,
            epoch=epoch,
            train_loss=1.0 / epoch,
            val_loss=0.9 / epoch,
            val_accuracy=0.4 * epoch,
            learning_rate=1e-3,
            seconds=2.0,
        )
        for stage in ("assistant_1", "student")
        for epoch in (1, 2)
    )
    fields: dict[str, Any] = {
        "number": number,
        "seed": 100 + number,
        "candidate": make_candidate(width=8 + number),
        "state": "complete",
        "cost": cost,
        "excess": BUDGET.excess(cost),
        "val": {"accuracy": 0.8 + number / 100, "loss": 0.4},
        "history": history,
        "seconds": 8.0,
    }
    return TrialResult(**(fields | changes))


def make_folder(folder: Path) -> str:
    folder.mkdir(parents=True)
    (folder / "best.safetensors").write_bytes(b"weights")
    (folder / "candidate.yaml").write_text("stages: []\n")
    (folder / "notes.txt").write_text("not to be logged")
    return str(folder)


def begin(store: Store, info: SearchInfo | None = None) -> Tracker:
    tracker = Tracker(store)
    tracker.begin(
        info or make_info(), versions={"torch": "2.9"}, git_commit="0" * 40, command="autokd search"
    )
    return tracker


def finish(
    tracker: Tracker,
    trials: list[TrialResult],
    front: list[int],
    info: SearchInfo | None = None,
) -> None:
    members = [
        make_member(number, rank=rank, accuracy=0.75) for rank, number in enumerate(front, start=1)
    ]
    tracker.finish(
        members,
        trials,
        growth=GROWTH,
        stopped="5 trials",
        report=make_report,
        frame=pd.DataFrame({"trial": front}),
        info=info or make_info(),
    )


def trial_runs(store: Store) -> dict[int, Any]:
    """Every active trial run by its number; two of one number are an error."""
    runs = list(store.runs(store.experiment_ids(), "tags.\"autokd.kind\" = 'trial'"))
    by_number = {int(run.data.tags["autokd.trial"]): run for run in runs}
    assert len(by_number) == len(runs)
    return by_number
