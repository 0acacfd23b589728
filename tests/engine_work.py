"""Parts of trials for executors of the tiny search, and what must be the same wherever they are evaluated."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from test_engine_driver import CONFIG

from autokd.engine.executors import InProcess, ProcessPool, Work
from autokd.records import TEACHER, Candidate, Stage, StudentSpec, Training, TrialResult
from autokd.task import create_task

EPOCHS = 4


def make_cache(folder: Path) -> Path:
    """With the search's teacher in it."""
    create_task(CONFIG, cache=folder, device="cpu", threads=1)
    return folder


def work(
    number: int,
    folder: Path,
    *,
    epochs: int = EPOCHS,
    until: int | None = None,
    before: TrialResult | None = None,
) -> Work:
    training = Training(
        epochs=epochs, batch_size=32, optimizer="adamw", learning_rate=1e-2, weight_decay=0.01
    )
    spec = StudentSpec(
        model="resnet",
        arguments={"width": 8, "depth": 1, "stages": 3, "stem_stride": 2},
        image_size=8,
    )
    stage = Stage(
        name="student",
        student=spec,
        teachers=(TEACHER,),
        loss_weights={"ce": 0.1, "kd": 0.9},
        temperature=4.0,
        training=training,
    )
    return Work(
        candidate=Candidate(stages=(stage,)),
        number=number,
        seed=number,
        folder=folder / str(number),
        control=None,
        cost=None,
        until=until,
        before=before,
    )


def outcome(result: TrialResult):
    return (result.number, result.state, result.reason, dict(result.val), result.seed)


def in_process(cache: Path) -> InProcess:
    new_pool = partial(ProcessPool, 1, CONFIG, cache=cache, device="cpu", threads=1)
    return InProcess(create_task(CONFIG, cache=cache, device="cpu", threads=1), new_pool)


def here(cache: Path, *works: Work):
    """What they come to in this process."""
    executor = in_process(cache)
    found = []
    for each in works:
        executor.submit(each)
        found.append(outcome(executor.next_result()[1]))
    return found
