"""What test and further labelled sets say of a finished student. Nothing is chosen by them, and test is shown each student once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor, nn

from autokd.auditing import look_beside_groups
from autokd.evaluation import predict, score
from autokd.records import TrialResult, Verdict
from autokd.shipped import load_shipped
from autokd.task import Task
from autokd.trial import AUDIT, audit_result, find_or_train_teachers

TEST = "test"


def evaluate_on_test(
    result: TrialResult, task: Task, *, repeats: Sequence[TrialResult] = (), on: str = TEST
) -> Verdict:
    """A finished student on the test split, or `on` a set of data.also_test, with its audit.

    For front members only, and once each. `repeats`: the same candidate from further seeds; the audit tells how much
    its groups change from seed to seed.
    """
    assert result.folder is not None
    folder, split = Path(result.folder), task.split(on)
    model, logits = _answer(result, task, on)
    seeds = [logits, *(_answer(repeat, task, on)[1] for repeat in repeats)]
    beside = None
    if on == TEST:
        beside = look_beside_groups(model, task.inputs(result.candidate.student), task)
    audit = audit_result(
        result,
        task,
        find_or_train_teachers(result.candidate, task),
        logits,
        split_name=on,
        folder=folder,
        generalisation=beside,
        student_seeds=seeds if repeats else (),
    )
    report = folder / (f"{TEST}_{AUDIT}" if on == TEST else f"also_test_{on}_{AUDIT}")
    audit.save(report)
    return Verdict(
        **asdict(score(logits, split.labels)),
        audit=audit.figures(),
        report=str(report),
        teacher_accuracy=score(task.answers(task.teacher, on), split.labels).accuracy,
        images=len(split),
        data_hash=None if on == TEST else task.data.also_test[on].hash,
    )


def accuracy_on_test(result: TrialResult, task: Task) -> float:
    """The same without an audit, for a front member's repeats."""
    return score(_answer(result, task, TEST)[1], task.data.test.labels).accuracy


def _answer(result: TrialResult, task: Task, split_name: str) -> tuple[nn.Module, Tensor]:
    """The finished student as it ships, and its logits (N, C)."""
    assert result.folder is not None
    stage = result.candidate.stages[-1]
    model = load_shipped(
        stage, Path(result.folder), task.data, device=task.device, threads=task.threads
    )
    inputs = task.inputs(stage.student)
    return model, predict(model, task.split(split_name), inputs=inputs, device=task.device)
