"""What a first stage without labels brings: digits with a few labels a class, the other images of train without, and a good teacher.

    python benchmarks/pretraining.py --labels 10 --seeds 6

The teacher knows all labels of train, as one from elsewhere would. All students have as many epochs over all images of train.
Val accuracy of the best epoch with labels, mean and standard error over seeds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autokd.config import load_config, override_config
from autokd.records import PRETRAIN, TEACHER, Candidate, Stage, StudentSpec, Training
from autokd.space.stages import pretrain_stage
from autokd.task import Task, create_task
from autokd.trial import run_trial, trial_seed

QUICKSTART = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
STUDENT = StudentSpec(
    model="resnet",
    arguments={"width": 8, "depth": 1, "stages": 3, "stem_stride": 1},
    image_size=8,
)
KD = {"ce": 0.1, "kd": 0.9}
EPOCHS, FIRST = 12, 4


def make_task(cache: Path, labels: int) -> Task:
    """Few labels, and the teacher of all."""
    whole, few = (
        create_task(
            override_config(load_config(QUICKSTART), {"data": {"per_class": each}}),
            cache=cache,
            device="cpu",
            threads=1,
        )
        for each in (None, labels)
    )
    return replace(few, teacher=whole.teacher, teacher_info=whole.teacher_info)


def own(weights: Mapping[str, float], epochs: int) -> Stage:
    training = Training(
        epochs=epochs, batch_size=32, optimizer="adamw", learning_rate=5e-3, weight_decay=0.05,
        augmentation="light",
    )  # fmt: skip
    return Stage(
        name="student", student=STUDENT, teachers=(TEACHER,), loss_weights=weights, temperature=4.0,
        training=training,
    )  # fmt: skip


def first_on(what: str, weights: Mapping[str, float]) -> Candidate:
    student = own(weights, EPOCHS - FIRST)
    first = pretrain_stage(student, FIRST, on_features=what == "features")
    return Candidate(stages=(first, replace(student, start_from=PRETRAIN)))


CASES = {
    "kd": Candidate(stages=(own(KD, EPOCHS),)),
    "features, then kd": first_on("features", KD),
    "logits, then kd": first_on("logits", KD),
    "features and labels": Candidate(stages=(own({"ce": 0.1, "pooled": 1.0}, EPOCHS),)),
    "features, then features and labels": first_on("features", {"ce": 0.1, "pooled": 1.0}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[10])
    parser.add_argument("--seeds", type=int, default=6)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}; one thread")
    with tempfile.TemporaryDirectory(prefix="autokd-pretraining-") as cache:
        for labels in options.labels:
            task = make_task(Path(cache), labels)
            print(f"{labels} labels a class; teacher: {task.teacher_info.val_accuracy:.1%}")
            for name, candidate in CASES.items():
                found = []
                for number in range(options.seeds):
                    with tempfile.TemporaryDirectory(prefix="autokd-pretraining-") as folder:
                        result = run_trial(
                            candidate, task, number=number, seed=trial_seed(7, number), folder=Path(folder)
                        )  # fmt: skip
                    found.append(result.val["accuracy"])
                error = statistics.stdev(found) / len(found) ** 0.5
                print(f"| {name} | {statistics.mean(found):.1%} | {error:.1%} |", flush=True)


if __name__ == "__main__":
    main()
