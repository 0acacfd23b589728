"""What test says of a finished student. Nothing is chosen by it, and each student is shown to it once."""

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


def evaluate_on_test(
    result: TrialResult, task: Task, *, repeats: Sequence[TrialResult] = ()
) -> Verdict:
    """A finished student on the test split, with its audit. For front members only, and once each.

    `repeats`: the same candidate from further seeds; the audit tells how much its groups change from seed to seed.
    """
    assert result.folder is not None
    folder, split = Path(result.folder), task.data.test
    model, logits = _answer_test(result, task)
    seeds = [logits, *(_answer_test(repeat, task)[1] for repeat in repeats)]
    audit = audit_result(
        result,
        task,
        find_or_train_teachers(result.candidate, task),
        logits,
        split_name="test",
        folder=folder,
        generalisation=look_beside_groups(model, task.inputs(result.candidate.student), task),
        student_seeds=seeds if repeats else (),
    )
    report = folder / f"test_{AUDIT}"
    audit.save(report)
    return Verdict(**asdict(score(logits, split.labels)), audit=audit.figures(), report=str(report))


def accuracy_on_test(result: TrialResult, task: Task) -> float:
    """The same without an audit, for a front member's repeats."""
    return score(_answer_test(result, task)[1], task.data.test.labels).accuracy


def _answer_test(result: TrialResult, task: Task) -> tuple[nn.Module, Tensor]:
    """The finished student as it ships, and its logits (N, C) of the test split."""
    assert result.folder is not None
    stage = result.candidate.stages[-1]
    model = load_shipped(
        stage, Path(result.folder), task.data, device=task.device, threads=task.threads
    )
    inputs = task.inputs(stage.student)
    return model, predict(model, task.data.test, inputs=inputs, device=task.device)
