"""Models trained once, kept under a name made of all that made them, and found again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from autokd.answers import Teacher
from autokd.checkpoint import CHECKPOINT
from autokd.data.load import ImageData
from autokd.data.views import Views
from autokd.distill import BEST, train_stage
from autokd.errors import storage_errors
from autokd.evaluation import evaluate
from autokd.mitigation import NONE
from autokd.needs import learns_unlabelled
from autokd.objective import TeacherLogits
from autokd.records import Epoch, Stage, content_hash
from autokd.shared import NOWHERE, Shared
from autokd.students import InputFormat
from autokd.teachers.build import create
from autokd.weights import load_weights, save_weights
from autokd.whole_file import write_whole

log = logging.getLogger(__name__)

DONE = "stage.json"  # beside the weights, when they are whole
HISTORY = "history.json"  # and while they are not, what its epochs came to by number


def train_once(
    stage: Stage,
    teachers: Sequence[TeacherLogits],
    *,
    data: ImageData,
    inputs: InputFormat,
    key: str,
    folder: Path,
    device: torch.device,
    cache: Path,
    shared: Shared = NOWHERE,
    begin: Callable[[], nn.Module] | None = None,
) -> Teacher:
    """A model trained under a name made of all that made it, and found again by whoever needs it next.

    Interrupted, it goes on after its last whole epoch.

    `key` is that name. Seeds follow from it. `begin` makes what it begins with where its spec does not say; that is kept
    unless an epoch is better. Others on this machine who want the same model meanwhile wait; on
    another machine they train it as well, which comes to the same.
    """
    if (
        stage.mitigation != NONE
    ):  # then groups have a part in it, which the data's hash does not know
        key = content_hash(
            [key, data.train.group_numbers.tolist(), data.val.group_numbers.tolist()]
        )
    home = folder / key
    done = home / DONE
    seed = int(key, 16) % 2**31
    with storage_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    with storage_errors(home), FileLock(home / "training.lock"):
        for part in (home / BEST, done):  # in this order: who sees the second may take the first
            shared.fetch(part)
        if not done.exists():
            log.info("training %s: %s, %s", stage.name, stage.student.model, _how_long(stage))
            torch.manual_seed(seed)
            resume = (home / CHECKPOINT).exists()
            if resume:
                log.info("%s: going on after its last whole epoch", stage.name)
                model = create(stage, data)
            else:
                model = begin() if begin else create(stage, data, start=True)
            epochs = _train(
                model, stage, teachers, data=data, inputs=inputs, seed=seed, device=device,
                cache=cache, home=home, keep_first=begin is not None, resume=resume,
            )  # fmt: skip
            history = _remember(epochs, home / HISTORY)
            write_whole(done, json.dumps({"stage": asdict(stage), "history": history}, indent=1))
            for part in (home / CHECKPOINT, home / HISTORY):
                part.unlink(missing_ok=True)
        for part in (home / BEST, done):
            shared.publish(part)
    model = create(stage, data)
    load_weights(model, home / BEST)
    return Teacher(model, inputs, key, device)


def _train(
    model: nn.Module,
    stage: Stage,
    teachers: Sequence[TeacherLogits],
    *,
    data: ImageData,
    inputs: InputFormat,
    seed: int,
    device: torch.device,
    cache: Path,
    home: Path,
    keep_first: bool,
    resume: bool,
) -> Iterator[Epoch]:
    """Epoch by epoch; BEST is left in `home`. `keep_first`: the model as it begins is kept unless an epoch is better."""
    at_least = -1.0
    if not resume and (keep_first or not stage.training.epochs):
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        save_weights(model, home / BEST)
        at_least = evaluate(model, data.val, inputs=inputs, device=device).accuracy
        log.info("%s: begins with val %.2f%%", stage.name, 100 * at_least)
    if not stage.training.epochs:
        return
    for epoch in train_stage(
        stage,
        model,
        teachers,
        inputs=inputs,
        views=views_of(stage, data, cache=cache),
        val=data.val,
        seed=seed,
        device=device,
        folder=home,
        at_least=at_least,
        resume=resume,
        durable=True,
    ):
        log.info("%s: %s", stage.name, describe_epoch(epoch, stage.training.epochs))
        yield epoch


def _remember(epochs: Iterator[Epoch], path: Path) -> list[dict[str, Any]]:
    """All epochs in order, those before an interruption too."""
    history = json.loads(path.read_text()) if path.exists() else {}
    for epoch in epochs:
        history[str(epoch.epoch)] = asdict(epoch)
        write_whole(path, json.dumps(history))
    return [*history.values()]


def views_of(stage: Stage, data: ImageData, *, cache: Path) -> Views:
    """What the stage's student is shown, and its teachers are asked about."""
    taught = learns_unlabelled(stage)
    return data.views(stage.training.augmentation, cache=cache, taught=taught)


def _how_long(stage: Stage) -> str:
    training = stage.training
    return "its classifier" if training.trained_blocks == 0 else f"{training.epochs} epochs"


def describe_epoch(epoch: Epoch, epochs: int) -> str:
    """``epoch 3 of 10, val 89.12%, 34 s``."""
    return f"epoch {epoch.epoch} of {epochs}, val {epoch.val_accuracy:.2%}, {epoch.seconds:.0f} s"
