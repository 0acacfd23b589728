"""Does a mitigation help the worst group? Digits of two populations of writers, one teacher, several seeds.

Run with ``python benchmarks/mitigation.py --data mnist_writers.npz --setting minority`` (arrays images, label, hsf, writer).
Settings: `minority`, pupils (hsf 4) are 5 % of train; `inverted`, a tenth of train is from a site that inverts images, half of
val and test is, and the teacher has seen none; `inverted-labels`, the same without a teacher. A student is a ResNet of width 4.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from autokd.config import parse_config
from autokd.data import ImageData, MemoryImages, Split
from autokd.distill import BEST, train_stage
from autokd.evaluation import predict
from autokd.mitigation import MFD, MITIGATIONS, NEED_TEACHER
from autokd.records import TEACHER, Stage, StudentSpec, Training
from autokd.task import Task, create_task
from autokd.teachers import CachedLogits, create
from autokd.weights import load_weights

EPOCHS = {"minority": 20, "inverted": 6, "inverted-labels": 6}
STUDENT = StudentSpec(
    model="resnet",
    arguments={"width": 4, "depth": 1, "stages": 3, "stem_stride": 4},
    image_size=28,
)


def load_task(path: Path, cache: Path) -> Task:
    record = {
        "data": {
            "source": "npz",
            "root": str(path),
            "val_fraction": 0.2,
            "test_fraction": 0.3,
            "views": 2,
            "flip": False,
            "metadata": {"groups": ["hsf"], "cluster": "writer"},
        },
        "teacher": {
            "model": "resnet",
            "arguments": {"width": 24, "depth": 1, "stages": 3, "stem_stride": 2},
            "train": {
                "epochs": 8,
                "batch_size": 128,
                "learning_rate": 5e-3,
                "augmentation": "light",
            },
        },
        "students": {"model": "resnet"},
    }
    return create_task(parse_config(record, source=""), cache=cache, device="cpu", threads=1)


def without_most_pupils(data: ImageData) -> ImageData:
    train = data.train
    pupils = train.metadata["hsf"].to_numpy() == 4
    kept = np.random.default_rng(0).permutation(np.flatnonzero(pupils))[: pupils.sum() // 20]
    index = torch.from_numpy(np.sort(np.concatenate([np.flatnonzero(~pupils), kept])))
    fewer = replace(
        train,
        images=MemoryImages(train.images.pixels[index]),
        labels=train.labels[index],
        rows=train.rows[index],
        metadata=train.metadata.iloc[index.numpy()].reset_index(drop=True),
        groups=train.groups[index],
    )
    return replace(data, train=fewer, info=replace(data.info, hash=f"{data.info.hash}-minority"))


def with_inverting_site(data: ImageData) -> ImageData:
    def invert(split: Split, share: float, seed: int) -> Split:
        rows = np.random.default_rng(seed).permutation(len(split))[: int(len(split) * share)]
        pixels, groups = split.images.pixels.clone(), torch.zeros(len(split), dtype=torch.int64)
        pixels[rows], groups[rows] = 255 - pixels[rows], 1
        return replace(split, images=MemoryImages(pixels), groups=groups)

    return replace(
        data,
        train=invert(data.train, 0.1, 0),
        val=invert(data.val, 0.5, 1),
        test=invert(data.test, 0.5, 2),
        info=replace(data.info, hash=f"{data.info.hash}-inverted"),
    )


def train_and_test(
    mitigation: str, seed: int, task: Task, *, setting: str, folder: Path
) -> tuple[float, float]:
    """Overall and worst group's accuracy on test; `mfd 1` is MFD with that weight."""
    name, _, weight = mitigation.partition(" ")
    taught = setting != "inverted-labels"
    weights = {"ce": 0.1, "kd": 0.9} if taught else {"ce": 1.0}
    stage = Stage(
        name="student",
        student=STUDENT,
        teachers=(TEACHER,) if taught else (),
        loss_weights=weights | ({MFD: float(weight)} if name == MFD else {}),
        temperature=4.0,
        mitigation=name,
        training=Training(
            epochs=EPOCHS[setting],
            batch_size=128,
            optimizer="adamw",
            learning_rate=1e-2,
            weight_decay=0.01,
            augmentation="light",
        ),
    )
    torch.manual_seed(seed)
    model, data, inputs = create(stage, task.data), task.data, task.inputs(STUDENT)
    views = data.views("light", cache=task.cache)
    logits = CachedLogits(task.teacher, views, task.cache / "logits", classes=task.classes)
    epochs = train_stage(
        stage,
        model,
        [logits] if taught else [],
        inputs=inputs,
        views=views,
        val=data.val,
        seed=seed,
        device=task.device,
        folder=folder,
    )
    list(epochs)
    load_weights(model, folder / BEST)
    answers = predict(model, data.test, inputs=inputs, device=task.device).argmax(dim=1)
    right = (answers == data.test.labels).double()
    groups = [right[data.test.group_numbers == g] for g in data.test.group_numbers.unique()]
    return float(right.mean()), float(min(group.mean() for group in groups))


def in_points(values: np.ndarray) -> str:
    return f"{100 * values.mean():.1f} ± {100 * values.std(ddof=1) / len(values) ** 0.5:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--setting", choices=EPOCHS, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    names = [name for name in MITIGATIONS if name != MFD] + ["mfd 1", "mfd 0.1"]
    if given.setting == "inverted-labels":
        names = [name for name in names if name.split()[0] not in NEED_TEACHER]
    change = without_most_pupils if given.setting == "minority" else with_inverting_site
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "student").mkdir()
        task = load_task(given.data.resolve(), Path(place))
        task = replace(task, data=change(task.data))
        found = {
            name: np.array(
                [
                    train_and_test(
                        name, seed, task, setting=given.setting, folder=Path(place) / "student"
                    )
                    for seed in range(given.seeds)
                ]
            )
            for name in names
        }
    print(
        f"{given.setting}: n = {given.seeds} seeds, mean ± standard error, points, "
        f"{len(task.data.test)} test images; torch {torch.__version__}, {platform.machine()}, "
        f"1 of {os.cpu_count()} cores\n"
    )
    print("| mitigation | accuracy | worst group | worst group against none, paired by seed |")
    print("| --- | --- | --- | --- |")
    for name, values in found.items():
        change_of_worst = values[:, 1] - found["none"][:, 1]
        cells = (values[:, 0], values[:, 1], change_of_worst)
        print(f"| {name} | {' | '.join(map(in_points, cells))} |")


if __name__ == "__main__":
    main()
