"""One trial: measure the student, distil it stage by stage, measure it again. Knows neither Optuna nor MLflow."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autokd.answers import Teacher, answers_for
from autokd.auditing import audit_student
from autokd.checkpoint import CHECKPOINT, read_checkpoint
from autokd.distill import BEST, train_stage
from autokd.donors import find_donor, inherit_from
from autokd.errors import AutoKDError, StorageError, storage_errors
from autokd.evaluation import predict, score
from autokd.failure import describe_bug, is_out_of_memory, over_memory
from autokd.fairness.audit import Audit
from autokd.objective import TeacherLogits
from autokd.peers import ALONE, Peers
from autokd.quantities import format_cost
from autokd.records import (
    PRETRAIN,
    TEACHER,
    AssistantInfo,
    Budget,
    Candidate,
    Cost,
    Epoch,
    Stage,
    StudentSpec,
    TrialResult,
    content_hash,
)
from autokd.shipped import count_trained, describe_counts, ship, take_counts
from autokd.stopwatch import Stopwatch
from autokd.students import by_contents, prune_student
from autokd.task import Task
from autokd.teachers import create, train_once, views_of
from autokd.weights import HEAD_STD, hash_file, load_weights

log = logging.getLogger(__name__)

UNPRUNED = "unpruned.safetensors"  # the best of the stages before pruning
AUDIT = "audit"  # the folder of the report on val; test_audit: on test


def trial_seed(search_seed: int, number: int, *, repeat: int = 0) -> int:
    """A seed of its own for each trial, the same whenever the search is repeated or goes on.

    `repeat`: counted from 1, when a finished trial is trained again.
    """
    return int(content_hash([search_seed, number, *([repeat] if repeat else [])]), 16) % 2**31


def run_trial(
    candidate: Candidate,
    task: Task,
    *,
    number: int,
    seed: int,
    folder: Path,
    control: str | None = None,
    cost: Cost | None = None,
    until: int | None = None,
    before: TrialResult | None = None,
    peers: Peers = ALONE,
) -> TrialResult:
    """Everything that is to be known about one candidate. What goes wrong ends the trial and is its result.

    `cost` is what is known of it already. Pauses after `until` epochs of the student's own; `before` is what an
    earlier pause came to, and it goes on from there. `peers` train the student's own stages together. Raises only StorageError: a full disk would fail every further
    trial too.
    """
    start = time.perf_counter()
    watch = Stopwatch(before.spent if before else None)
    result = replace(before, state="failed", reason=None) if before else TrialResult(
        number=number,
        seed=seed,
        candidate=candidate,
        state="failed",
        cost=None,
        excess={},
        control=control,
        threads=task.threads,
        folder=str(folder),
    )  # fmt: skip
    try:
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if result.cost is None:
                with watch("measure"):
                    result = _measure(result, task, cost)
            if result.state != "rejected":
                result = _train_and_evaluate(result, task, folder, until, watch, peers)
    except StorageError:
        raise
    except AutoKDError as error:
        result = replace(result, reason=str(error))
    except Exception as error:  # noqa: BLE001 - a bug in one architecture must not end the search
        if is_out_of_memory(error):
            result = over_memory(result, error)
        else:
            result = replace(result, reason=describe_bug(error, number, folder))
    seconds = result.seconds + time.perf_counter() - start
    return replace(result, seconds=seconds, spent=watch.seconds)


def _measure(blank: TrialResult, task: Task, known: Cost | None) -> TrialResult:
    """With its cost; rejected if that is over budget. Latency takes seconds: if it decides nothing, `time_student` measures it."""
    cost = known
    if cost is None or (task.latency_decides and cost.latency_ms is None):
        cost = task.measure_cost(blank.candidate.student, latency=task.latency_decides)
    measured = replace(blank, cost=cost, excess=task.excess(cost))
    if task.budget.admits(cost):
        return measured
    return replace(measured, state="rejected", reason=describe_excess(cost, task.budget))


def time_student(result: TrialResult, task: Task) -> Cost | None:
    """The cost of a trial's student with its latency; None: it has been measured, or can't be."""
    if result.cost is None or result.cost.latency_ms is not None:
        return None
    cost = task.measure_cost(result.candidate.student, latency=True)
    return cost if cost.latency_ms is not None else None


def _train_and_evaluate(
    measured: TrialResult,
    task: Task,
    folder: Path,
    until: int | None,
    watch: Stopwatch,
    peers: Peers,
) -> TrialResult:
    with watch("assistants"):
        teachers = find_or_train_teachers(measured.candidate, task)
    with watch("train"):
        history, model = _train(
            measured, teachers, task, folder=folder, until=until, watch=watch, peers=peers
        )
    paused = until is not None and len(history) == until
    result = replace(measured, history=history, state="stopped" if paused else "complete")
    if paused and not task.audits_pauses:
        shown = same_student(measured.candidate, history)
        best = max(shown, key=lambda epoch: epoch.val_accuracy)
        return replace(result, val={"accuracy": best.val_accuracy, "loss": best.val_loss})
    student, trained = measured.candidate.student, model
    if not paused:
        with watch("ship"):
            model = ship(
                model, student, folder, task.data, device=task.device, threads=task.threads
            )
    inputs = task.inputs(student)
    with watch("evaluate"):
        logits = predict(model, task.data.val, inputs=inputs, device=task.device)
    with watch("audit"):
        audit = audit_result(measured, task, teachers, logits, split_name="val", folder=folder)
        if not paused:
            audit.save(folder / AUDIT)
    assert measured.cost is not None
    cost = measured.cost
    if not paused:
        (folder / CHECKPOINT).unlink(missing_ok=True)
        with watch("measure"):
            cost = _count_again(measured.number, cost, student, trained, task)
    return replace(
        result,
        cost=cost,
        val=asdict(score(logits, task.data.val.labels)),
        audit=audit.figures(),
        excess=task.excess(cost, audit.figures()),
        assistants=() if paused else _describe_assistants(measured.candidate, teachers, task),
    )


def _count_again(
    number: int, recorded: Cost, spec: StudentSpec, trained: nn.Module, task: Task
) -> Cost:
    """Of the trained student: what it was chosen by is held against it before anybody ships it."""
    counted = count_trained(spec, trained, task.data)
    if differs := describe_counts(recorded, counted):
        log.warning("trial %d: its student has %s; its record is corrected", number, differs)
    return take_counts(recorded, counted)


def _train(
    measured: TrialResult,
    teachers: dict[str, Teacher],
    task: Task,
    *,
    folder: Path,
    until: int | None,
    watch: Stopwatch,
    peers: Peers,
) -> tuple[tuple[Epoch, ...], nn.Module]:
    """The student's own stages in turn, from the last pause on. The model has the weights of its best epoch on val."""
    checkpoint = read_checkpoint(folder) if measured.history else None
    if checkpoint and not _is_of(checkpoint, measured.history[-1]):
        checkpoint = None  # of a later pause that nobody heard of: driver or worker died then
    paused_in = checkpoint["stage"] if checkpoint else None
    history = list(measured.history) if checkpoint else []  # a lost checkpoint: from the start
    model: nn.Module | None = None
    for stage in measured.candidate.own_stages:
        resumed = stage.name == paused_in
        if paused_in and not resumed:
            continue
        paused_in = None
        earlier = [epoch for epoch in history if epoch.stage != stage.name]
        donor = None
        if stage.start_from is not None and not resumed:
            with watch("donor"):
                donor = find_donor(stage, measured.candidate, teachers, task)
        stage_seed = int(content_hash([measured.seed, stage.name]), 16) % 2**31
        torch.manual_seed(stage_seed)
        with watch("build"):
            begins = stage.start_from is None and not resumed
            model = create(stage, task.data, start=begins)
            if donor:
                model = inherit_from(donor, model, stage, measured.candidate)
            elif stage.start_from is not None and not resumed:
                model = _go_on_with(model, stage, measured.candidate, task, folder)
            elif resumed and not stage.student.pruned and (folder / UNPRUNED).exists():
                shutil.copy(folder / UNPRUNED, folder / BEST)  # pruned after the pause, unheard
        history += train_stage(
            stage,
            model,
            _logits(stage, teachers, task),
            inputs=task.inputs(stage.student),
            views=views_of(stage, task.data, cache=task.cache),
            val=task.data.val,
            seed=stage_seed,
            device=task.device,
            folder=folder,
            at_least=_to_beat(measured.candidate, stage, earlier),
            resume=resumed,
            until=None if until is None else until - len(earlier),
            watch=watch,
            peers=peers,
        )
        load_weights(model, folder / BEST)
        if len(history) == until:
            break
    assert model is not None, "a candidate has a stage that is no assistant"
    return tuple(history), model


def _go_on_with(
    model: nn.Module, stage: Stage, candidate: Candidate, task: Task, folder: Path
) -> nn.Module:
    """The stage's student with the best weights so far, of which pruning takes the smallest channels."""
    before = candidate.stage(stage.start_from)
    if before.student == stage.student:
        load_weights(model, folder / BEST)
        return model
    shutil.copy(folder / BEST, folder / UNPRUNED)
    whole = create(before, task.data)
    load_weights(whole, folder / BEST)
    return prune_student(whole, stage.student, channels=task.data.info.channels, trained=True)


def same_student(candidate: Candidate, history: Sequence[Epoch]) -> list[Epoch]:
    """The epochs of what the last one trained: before pruning it was another, and without labels it could not classify."""
    now = candidate.stage(history[-1].stage)
    stages = {s.name for s in candidate.stages if s.student == now.student and s.name != PRETRAIN}
    return [epoch for epoch in history if epoch.stage in stages | {now.name}]


def _to_beat(candidate: Candidate, stage: Stage, earlier: Sequence[Epoch]) -> float:
    """Val accuracy of the best weights so far, of this very architecture."""
    same = [
        epoch.val_accuracy
        for epoch in earlier
        if candidate.stage(epoch.stage).student == stage.student and epoch.stage != PRETRAIN
    ]
    return max(same, default=-1.0)


def _is_of(checkpoint: Mapping[str, Any], pause: Epoch) -> bool:
    return (checkpoint["stage"], checkpoint["epoch"]) == (pause.stage, pause.epoch)


def audit_result(
    result: TrialResult,
    task: Task,
    teachers: Mapping[str, Teacher],
    student: Tensor,
    *,
    split_name: str,
    folder: Path,
    generalisation: Mapping[str, Any] | None = None,
    student_seeds: Sequence[Tensor] = (),
) -> Audit:
    """Of the student's logits (N, C) on val or test against those of all who taught it."""
    return audit_student(
        task,
        split_name=split_name,
        title=f"Trial {result.number}: {result.candidate.student.describe()}",
        student=student,
        teachers=teachers,
        model_hash=hash_file(folder / BEST),
        generalisation=generalisation,
        student_seeds=student_seeds,
    )


def find_or_train_teachers(candidate: Candidate, task: Task) -> dict[str, Teacher]:
    """The search's teacher and the candidate's assistants."""
    teachers = {TEACHER: task.teacher}
    for stage in candidate.assistants:
        teachers[stage.name] = _find_or_train_assistant(stage, candidate, teachers, task)
    return teachers


def _find_or_train_assistant(
    stage: Stage, candidate: Candidate, teachers: dict[str, Teacher], task: Task
) -> Teacher:
    """Named by what makes it, not by its trial: the next trial that needs the same assistant finds it."""
    donor = find_donor(stage, candidate, teachers, task)
    sources = [teachers[name].hash for name in stage.teachers] + ([donor.hash] if donor else [])
    inputs = task.inputs(stage.student)
    head = [HEAD_STD] if stage.student.start else []  # once it was timm's
    named = replace(stage, student=by_contents(stage.student))
    key = content_hash([named.identity(), sources, inputs.identity(), task.data.drawing(), *head])

    def begin() -> nn.Module:
        assert donor is not None
        return inherit_from(donor, create(stage, task.data), stage, candidate)

    return train_once(
        stage,
        _logits(stage, teachers, task),
        data=task.data,
        inputs=inputs,
        key=key,
        folder=task.cache / "assistants",
        device=task.device,
        cache=task.cache,
        shared=task.shared,
        begin=begin if donor else None,
    )


def _describe_assistants(
    candidate: Candidate, teachers: Mapping[str, Teacher], task: Task
) -> tuple[AssistantInfo, ...]:
    """The audit has asked them about val already."""
    found = []
    for stage in candidate.assistants:
        teacher, spec = teachers[stage.name], stage.student
        cost = task.remember(
            f"cost of {teacher.hash}", partial(task.measure_cost, spec, latency=False)
        )
        accuracy = score(task.answers(teacher, "val"), task.data.val.labels).accuracy
        found.append(AssistantInfo(student=spec.describe(), cost=cost, val_accuracy=accuracy))
    return tuple(found)


def _logits(stage: Stage, teachers: dict[str, Teacher], task: Task) -> list[TeacherLogits]:
    views = views_of(stage, task.data, cache=task.cache)
    return [
        answers_for(
            stage,
            teachers[name],
            views,
            task.cache / "logits",
            classes=task.classes,
            shared=task.shared,
        )
        for name in stage.teachers
    ]


def describe_excess(cost: Cost, budget: Budget) -> str:
    """``over budget: macs 412M > 300M, params 6.10M > 5.00M``."""
    over = [
        f"{name} {format_cost(name, cost.known(name) or 0)} > {format_cost(name, budget.limits[name])}"
        for name, excess in budget.excess(cost).items()
        if excess > 0
    ]
    return "over budget: " + ", ".join(over)
