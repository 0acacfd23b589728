"""A task that trains in a fraction of a second: which quarter of an 8 x 8 picture is bright."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from autokd.cost import EagerProbe, exact_cost
from autokd.data import ImageData, MemoryImages, Split
from autokd.records import (
    TEACHER,
    Budget,
    Candidate,
    DataInfo,
    Stage,
    StudentSpec,
    TeacherInfo,
    Training,
    content_hash,
)
from autokd.students import InputFormat
from autokd.task import Task
from autokd.teachers import Teacher, build_student

CPU = torch.device("cpu")
QUICK = EagerProbe(visits=1, seconds_per_visit=0.0)
CLASSES = 4
SMALL = StudentSpec(
    model="resnet",
    arguments={"width": 8, "depth": 1, "stages": 3, "stem_stride": 2},
    image_size=8,
)
LARGE = replace(SMALL, arguments=dict(SMALL.arguments) | {"width": 16})
TRAINING = Training(
    epochs=2, batch_size=32, optimizer="adamw", learning_rate=1e-2, weight_decay=0.01
)
STAGE = Stage(
    name="student",
    student=SMALL,
    teachers=(TEACHER,),
    loss_weights={"ce": 0.5, "kd": 0.5},
    temperature=2.0,
    training=TRAINING,
)


def stage(**changes: Any) -> Stage:
    """The student's stage with some of its own or its training's values replaced."""
    own = {k: v for k, v in changes.items() if k in Stage.__slots__}
    training = {k: v for k, v in changes.items() if k not in own}
    return replace(STAGE, training=replace(TRAINING, **training), **own)


def candidate(**changes: Any) -> Candidate:
    return Candidate(stages=(stage(**changes),))


def labels_alone(**changes: Any) -> Stage:
    return stage(teachers=(), loss_weights={"ce": 1.0}, **changes)


def make_split(count: int, *, seed: int, grouped: bool = False) -> Split:
    """`grouped`: writers wrote five images each, one after the other at site A and B."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    pixels = torch.randint(0, 100, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        top, left = 4 * (label // 2), 4 * (label % 2)
        pixels[i, :, top : top + 4, left : left + 4] += 60
    site = torch.arange(count) // 5 % 2
    people = pd.DataFrame(
        {
            "site": ["AB"[number] for number in site.tolist()],
            "writer": [f"w{row // 5}" for row in range(count)],
        }
    )
    return Split(
        images=MemoryImages(pixels),
        labels=labels,
        rows=torch.arange(count),
        metadata=people if grouped else None,
        groups=site if grouped else None,
    )


def make_data(train: int = 128, *, grouped: bool = False) -> ImageData:
    splits = {
        "train": make_split(train, seed=0, grouped=grouped),
        "val": make_split(120 if grouped else 60, seed=1, grouped=grouped),
        "test": make_split(40, seed=2, grouped=grouped),
    }
    info = DataInfo(
        name="quarters",
        source="made",
        hash=content_hash(["quarters", train]),
        class_names=tuple("abcd"),
        channels=1,
        image_size=8,
        train_count=train,
        val_count=60,
        test_count=40,
    )
    return ImageData(
        info=info,
        **splits,
        mean=(0.25,),
        std=(0.15,),
        flip=False,
        join=None,
        seed=0,
        view_count=2,
        groups=("site",) if grouped else (),
        cluster="writer" if grouped else None,
    )


def make_teacher(data: ImageData, *, seed: int = 0) -> Teacher:
    """Untrained, and so of no use as a teacher, but one that is asked like any other."""
    torch.manual_seed(seed)
    inputs = InputFormat(image_size=8, mean=data.mean, std=data.std)
    return Teacher(build_student(LARGE, data), inputs, content_hash(["teacher", seed]), CPU)


def make_task(data: ImageData, cache: Path, *, budget: Budget | None = None) -> Task:
    teacher = make_teacher(data)
    cost = exact_cost(lambda: build_student(LARGE, data), (1, 8, 8))
    info = TeacherInfo(
        name="resnet", hash=teacher.hash, cost=cost, val_accuracy=0.25, source="untrained"
    )
    return Task(
        data=data,
        teacher=teacher,
        teacher_info=info,
        budget=budget or Budget(),
        cache=cache,
        probe=QUICK,
        device=CPU,
        threads=1,
    )
