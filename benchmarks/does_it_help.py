"""Does distillation help? One small student, a fixed number of epochs, every way of teaching it.

    python benchmarks/does_it_help.py fashion --root /usr/share/datasets/fashion-mnist --seeds 5

Each loss has the weights its authors give it; nothing was tuned here. The epoch that is kept is the best on val, test is
asked once for it. Prints a JSON line a training and then the tables: mean and 95 % interval (Student's t over seeds), and the
difference to the same seeds without a teacher. The teachers are trained once; seeds vary all that is random about a student.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t

from autokd.config import Config, override_config, parse_config
from autokd.on_test import accuracy_on_test
from autokd.records import Candidate, StudentSpec
from autokd.space import Space, centre
from autokd.task import Task, create_task
from autokd.trial import run_trial, trial_seed

TEACHER = {"model": "resnet", "arguments": {"width": 32, "depth": 1, "stages": 3, "stem_stride": 2}}
SETS: dict[str, dict[str, Any]] = {
    "fashion": {
        "data": {"source": "fashion_mnist", "limit": 12_000, "val_fraction": 1 / 6},
        "teacher": TEACHER | {"train": {"epochs": 20, "learning_rate": 5e-3}},
        "students": {"width": 8, "stem_stride": 2},
        "train": {"epochs": 12, "batch_size": 128, "learning_rate": 1e-2},
    },
    "cifar10": {
        "data": {"source": "cifar10", "limit": 12_000, "val_fraction": 1 / 6},
        "teacher": TEACHER | {"train": {"epochs": 30, "learning_rate": 5e-3}},
        "students": {"width": 8, "stem_stride": 2},
        "train": {"epochs": 20, "batch_size": 128, "learning_rate": 1e-2},
    },
    "digits": {
        "data": {"source": "digits", "flip": False},
        "teacher": {
            "model": "resnet",
            "arguments": {"width": 32, "depth": 1, "stages": 3, "stem_stride": 1},
            "train": {"epochs": 30, "batch_size": 64, "learning_rate": 5e-3},
        },
        "students": {"width": 8, "stem_stride": 2},
        "train": {"epochs": 12, "batch_size": 64, "learning_rate": 1e-2},
    },
}
KD = {"loss": "kd", "temperature": 4.0, "weight": 0.9, "label_weight": 0.1}
METHODS: dict[str, dict[str, Any]] = {  # name -> sections of the search file
    "no distillation": {"distill": {"loss": "none"}},
    "KD": {"distill": KD},
    "DKD": {
        "distill": {
            "loss": "dkd", "temperature": 4.0, "weight": 1.0, "label_weight": 1.0, "warmup": 1 / 12,
        }
    },
    "DIST": {"distill": {"loss": "dist", "temperature": 4.0, "weight": 2.0, "label_weight": 1.0}},
    "LSKD": {"distill": {"loss": "lskd", "temperature": 2.0, "weight": 9.0, "label_weight": 0.1}},
    "KD by an assistant": {"distill": KD, "schedule": {"assistants": 1}},
    "KD by teacher and assistant": {
        "distill": KD,
        "schedule": {"assistants": 1, "guidance": "dense", "teacher_drop": 0.25},
    },
    "KD by three teachers": {"distill": KD, "ensemble": {"members": 3}},
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """One student."""

    method: str
    seed: int
    val_accuracy: float
    test_accuracy: float
    seconds: float  # of its own training, without teacher and assistant


def read_config(name: str, method: str, root: Path | None, epochs: int | None) -> Config:
    """The set's search file with the method's values; one student is all that it holds."""
    setting = SETS[name]
    record = {
        "data": setting["data"] | ({"root": str(root)} if root else {}),
        "teacher": setting["teacher"],
        "students": {
            "model": "resnet",
            "families": {"resnet": {"depth": 1, "stages": 3, **setting["students"]}},
        },
        "train": setting["train"],
        "audit": {"robustness_images": 0},
    }
    changes = dict(METHODS[method])
    changes["train"] = {"epochs": epochs}  # None: the set's
    if members := changes.pop("ensemble", {}).get("members"):
        record["teacher"] = {"ensemble": [setting["teacher"]] * members}
    return override_config(parse_config(record, source=name), changes)


def make_candidate(config: Config, task: Task) -> Candidate:
    """An assistant is twice as wide as its student, half as wide as the teacher."""
    space = Space(config, image_size=task.data.info.image_size, classes=task.classes)

    def wider(student: StudentSpec, count: int) -> list[StudentSpec]:
        arguments = {**student.arguments, "width": 2 * student.arguments["width"]}
        spec = StudentSpec(model=student.model, arguments=arguments, image_size=student.image_size)
        return [spec] * count

    return space.sample(centre, wider)


def train(method: str, task: Task, candidate: Candidate, *, seed: int) -> Trained:
    with tempfile.TemporaryDirectory(prefix="autokd-helps-") as place:
        folder = Path(place)
        result = run_trial(candidate, task, number=seed, seed=trial_seed(11, seed), folder=folder)
        if result.state != "complete":
            raise SystemExit(f"{method}, seed {seed}: {result.reason}")
        test_accuracy = accuracy_on_test(result, task)
    return Trained(
        method=method,
        seed=seed,
        val_accuracy=result.val["accuracy"],
        test_accuracy=test_accuracy,
        seconds=result.spent["train"],
    )


def interval(values: list[float]) -> str:
    """``91.20 ± 0.31``, in percent: mean and half the width of its 95 % interval."""
    half = student_t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * statistics.mean(values):.2f} ± {100 * half:.2f}"


def table(trained: list[Trained]) -> str:
    by_method = {name: [t for t in trained if t.method == name] for name in METHODS}
    plain = by_method["no distillation"]
    rows = ["| | val, % | test, % | test against no distillation, points | s |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for name, found in by_method.items():
        if not found:
            continue
        against = ""
        if plain and found is not plain:
            pairs = zip(found, plain, strict=True)
            against = interval([t.test_accuracy - p.test_accuracy for t, p in pairs])
        rows.append(
            f"| {name} | {interval([t.val_accuracy for t in found])} "
            f"| {interval([t.test_accuracy for t in found])} | {against} "
            f"| {statistics.mean(t.seconds for t in found):.0f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=SETS)
    parser.add_argument("--root", type=Path, help="where the set's files are")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of every student; none: the set's own")
    parser.add_argument("--cache", type=Path, help="where teachers are kept; none: thrown away")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds must be 2 or more: one training has no spread")
    with tempfile.TemporaryDirectory(prefix="autokd-helps-") as place:
        cache = options.cache or Path(place)
        trained = []
        for method in options.methods:
            config = read_config(options.data, method, options.root, options.epochs)
            task = create_task(config, cache=cache, device="cpu", threads=1)
            candidate = make_candidate(config, task)
            print(f"{method}: teacher {task.teacher_info.val_accuracy:.2%} on val", flush=True)
            for seed in range(options.seeds):
                trained.append(train(method, task, candidate, seed=seed))
                print(json.dumps(asdict(trained[-1])), flush=True)
    train_count = task.data.info.train_count
    print(f"{train_count} images, {os.cpu_count()} cores, {platform.machine()}; one thread\n")
    print(table(trained))


if __name__ == "__main__":
    main()
