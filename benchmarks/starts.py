"""What a student's start is worth: random weights, a published model's, or those of a teacher that was fine-tuned from it.

    python benchmarks/starts.py cifar10_small.npz lite0.safetensors --labelled 1000 10000 --seeds 5 --results starts.jsonl

The teacher is EfficientNet-Lite0 with ImageNet weights (a file in the names of timm's tf_efficientnet_lite0), fine-tuned at
64 pixels; the student is of its family at 32, at most a fifth of its MACs. Each start with and without distillation. Of the
labelled images a fifth is val. A seed has its own images, teacher and students; all are the same for every start. The epoch
that is kept is the best on val, test is asked once for it. `--results` keeps a JSON line a training; what is there is not
trained again. One thread a seed, so many `--processes` seeds at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from does_it_help import interval

from autokd.config import Config, parse_config
from autokd.donors import teacher_as_donor
from autokd.evaluation import score
from autokd.on_test import accuracy_on_test
from autokd.records import Candidate
from autokd.space import Space, Surroundings, centre
from autokd.task import Task, create_task
from autokd.trial import run_trial, trial_seed

DONOR = "tf_efficientnet_lite0"
STUDENT = {"width": 0.875, "depth": 0.75, "padding": "same", "stem_stride": 2}
STUDENT_SIZE = 32
KD = {"loss": "kd", "temperature": 3.0, "weight": 0.9, "label_weight": 0.5}
RANDOM, PUBLISHED, FINE_TUNED = "random", "heir of the published model", "heir of the teacher"
STARTS = (RANDOM, PUBLISHED, FINE_TUNED)
LOSSES = {"labels": {"loss": "none"}, "KD": KD}
EPOCHS = {1000: 60, 10_000: 10}  # of a student; in between and beyond, the nearest
TEACHER_EPOCHS = {1000: 10, 10_000: 5}


@dataclass(frozen=True)
class Trained:
    """One student, or a seed's teacher."""

    labelled: int
    seed: int
    start: str
    loss: str
    val_accuracy: float
    test_accuracy: float
    teacher_val_accuracy: float
    teacher_test_accuracy: float
    macs_share: float  # of the teacher's
    seconds: float  # of its own training


@dataclass(frozen=True)
class Job:
    data: Path
    weights: Path
    labelled: int
    seed: int
    done: frozenset[tuple[str, str]]
    cache: Path


def read_config(job: Job, start: str, loss: str) -> Config:
    nearest = min(EPOCHS, key=lambda count: abs(count - job.labelled))
    teacher: dict[str, Any] = {"model": DONOR, "pretrained": str(job.weights), "image_size": 64}
    students = {
        "model": "efficientnet_lite",
        "families": {"efficientnet_lite": STUDENT},
        "image_size": STUDENT_SIZE,
        "start": "random" if start == RANDOM else "heir",
        "pretrained": {DONOR: str(job.weights)},
    }
    record = {
        "seed": job.seed,
        "data": {
            "source": "npz", "root": str(job.data), "image_size": 64, "limit": job.labelled, "val_fraction": 0.2,
        },
        "teacher": teacher | {"train": {"epochs": TEACHER_EPOCHS[nearest]}},
        "students": students,
        "distill": LOSSES[loss],
        "train": {"epochs": EPOCHS[nearest], "batch_size": 64, "learning_rate": 1e-2},
        "audit": {"robustness_images": 0},
    }  # fmt: skip
    return parse_config(record, source="starts")


def make_candidate(config: Config, task: Task, start: str) -> Candidate:
    """Where the published model is to be inherited from, the space is told of no teacher: it would come first."""
    around = Surroundings(
        channels=task.data.info.channels,
        classes=task.classes,
        mean=task.data.mean,
        std=task.data.std,
        teacher=teacher_as_donor(config.teacher, task.data) if start == FINE_TUNED else None,
    )
    space = Space(config, image_size=task.data.info.image_size, classes=task.classes, around=around)
    return space.sample(centre)


def run(job: Job) -> list[Trained]:
    found = []
    task = None
    for start in STARTS:
        for loss in LOSSES:
            if (start, loss) in job.done:
                continue
            config = read_config(job, start, loss)
            task = task or create_task(config, cache=job.cache, device="cpu", threads=1)
            candidate = make_candidate(config, task, start)
            found.append(train(job, task, candidate, start, loss))
            print(json.dumps(asdict(found[-1])), flush=True)
    return found


def train(job: Job, task: Task, candidate: Candidate, start: str, loss: str) -> Trained:
    with tempfile.TemporaryDirectory(prefix="autokd-starts-") as place:
        seed = trial_seed(11, job.seed)
        result = run_trial(candidate, task, number=job.seed, seed=seed, folder=Path(place))
        if result.state != "complete" or result.cost is None:
            raise SystemExit(f"{start}, {loss}, seed {job.seed}: {result.reason}")
        test_accuracy = accuracy_on_test(result, task)
    of_teacher = score(task.answers(task.teacher, "test"), task.data.test.labels)
    return Trained(
        labelled=job.labelled,
        seed=job.seed,
        start=start,
        loss=loss,
        val_accuracy=result.val["accuracy"],
        test_accuracy=test_accuracy,
        teacher_val_accuracy=task.teacher_info.val_accuracy,
        teacher_test_accuracy=of_teacher.accuracy,
        macs_share=result.cost.macs / task.teacher_info.cost.macs,
        seconds=result.spent["train"],
    )


def table(trained: list[Trained]) -> str:
    rows = ["| labelled | start | loss | n | val, % | test, % | of the teacher's test, % | s |"]
    rows.append(f"|{' --- |' * 8}")
    for labelled in sorted({t.labelled for t in trained}):
        of = [t for t in trained if t.labelled == labelled]
        by_seed = {t.seed: t for t in of}.values()
        val, test = (
            interval([getattr(t, f"teacher_{split}_accuracy") for t in by_seed])
            for split in ("val", "test")
        )
        rows.append(f"| {labelled} | teacher | | {len(by_seed)} | {val} | {test} | 100 | |")
        for start in STARTS:
            for loss in LOSSES:
                if found := [t for t in of if (t.start, t.loss) == (start, loss)]:
                    rows.append(
                        f"| {labelled} | {start} | {loss} | {len(found)} "
                        f"| {interval([t.val_accuracy for t in found])} "
                        f"| {interval([t.test_accuracy for t in found])} "
                        f"| {interval([t.test_accuracy / t.teacher_test_accuracy for t in found])} "
                        f"| {statistics.mean(t.seconds for t in found):.0f} |"
                    )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="an .npz file of colour images with its split")
    parser.add_argument("weights", type=Path, help=f"of {DONOR}, as timm names them")
    parser.add_argument("--labelled", type=int, nargs="+", default=[1000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="where teachers are kept; none: thrown away")
    parser.add_argument("--results", type=Path, default=Path("starts.jsonl"))
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds must be 2 or more: one training has no spread")
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    known = [Trained(**json.loads(line)) for line in lines]
    with tempfile.TemporaryDirectory(prefix="autokd-starts-") as place:
        jobs = [
            Job(
                data=options.data.resolve(), weights=options.weights.resolve(), labelled=labelled, seed=seed,
                done=frozenset((t.start, t.loss) for t in known if (t.labelled, t.seed) == (labelled, seed)),
                cache=(options.cache or Path(place)).resolve(),
            )
            for labelled in options.labelled
            for seed in range(options.seeds)
        ]  # fmt: skip
        with (
            ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool,
            options.results.open("a") as file,
        ):
            for found in pool.map(run, jobs):
                known += found
                file.writelines(json.dumps(asdict(each)) + "\n" for each in found)
                file.flush()
    share = max(t.macs_share for t in known)
    print(
        f"students of {share:.0%} of the teacher's MACs; {os.cpu_count()} cores, {platform.machine()}\n"
    )
    print(table(known))


if __name__ == "__main__":
    main()
