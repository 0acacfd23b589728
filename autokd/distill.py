"""The stage loop: a student learns from labels and teachers' logits, and is measured on val after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from autokd.checkpoint import Resumable
from autokd.data.batches import count_batches, train_batches
from autokd.data.load import Split
from autokd.data.views import Views
from autokd.errors import TrainingDivergedError
from autokd.evaluation import evaluate
from autokd.learning import Learning
from autokd.objective import Objective, TeacherLogits
from autokd.peers import ALONE, Peers
from autokd.records import PRETRAIN, Epoch, Stage
from autokd.stopwatch import Stopwatch
from autokd.students import InputFormat
from autokd.weights import save_weights

BEST, LAST = "best.safetensors", "last.safetensors"


def train_stage(
    stage: Stage,
    student: nn.Module,
    teachers: Sequence[TeacherLogits],
    *,
    inputs: InputFormat,
    views: Views,
    val: Split,
    seed: int,
    device: torch.device,
    folder: Path,
    at_least: float = -1.0,
    resume: bool = False,
    until: int | None = None,
    durable: bool = False,
    watch: Stopwatch | None = None,
    peers: Peers = ALONE,
) -> Iterator[Epoch]:
    """Train the student in place, one epoch a step; yields what each epoch came to.

    Keeps `best.safetensors` (highest val accuracy; the earliest of equals) and `last.safetensors` in `folder`.
    A best that an earlier stage left there stands until one epoch has a val accuracy above `at_least`.
    Of PRETRAIN the best is the last: nothing or little trains its classifier, so that val accuracy does not tell.
    After epoch `until` it pauses: a checkpoint is left in `folder`, and with `resume` it goes on from there as if
    it had not paused. If it is `durable` every epoch leaves one, for whoever is interrupted.
    Raises TrainingDivergedError, naming the term, when a loss is NaN or infinite.
    With `peers` each process is given its part of every batch, and all come to the same weights.
    `watch` is told what is neither building nor training: waiting for images, and evaluating on val.
    The stage's mitigation looks at the groups of train, and of val at the teacher's margins at most.
    """
    training, watch = stage.training, watch or Stopwatch()
    student.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = Objective(
        stage, student, teachers, train=views.split, val=val, inputs=inputs, device=device
    )
    steps_an_epoch = count_batches(len(views.split), training.batch_size, peers)
    steps = training.epochs * steps_an_epoch
    learning = Learning(stage, student, objective, peers, steps=steps)
    state = Resumable(stage.name, learning)
    done, best_accuracy, epochs_since_best = state.load(folder) if resume else (0, at_least, 0)

    for epoch in range(done + 1, training.epochs + 1):
        if training.patience is not None and epochs_since_best >= training.patience:
            break
        if until is not None and epoch > until:
            return
        start = time.perf_counter()
        rate = learning.rate
        view = (epoch - 1) % views.count
        sums: dict[str, Tensor] = {}
        batches = 0
        learning.begin_epoch()
        loaded = train_batches(
            views, view=view, batch_size=training.batch_size, seed=seed, epoch=epoch, device=device,
            balance=objective.balance, peers=peers,
        )  # fmt: skip
        for batch in watch.each("load", loaded):
            number = (epoch - 1) * steps_an_epoch + batches
            means = learning.step(batch, view, number=number)
            for name, mean in means.items():  # no synchronisation: sums stay on the device
                sums[name] = sums.get(name, torch.zeros((), device=device)) + mean
            batches += 1
        sums = peers.mean(sums)
        _refuse_divergence(
            stage.name, epoch, {name: float(total) / batches for name, total in sums.items()}
        )
        peers.agree(learning.shown)

        with watch("evaluate"):
            measured = evaluate(
                learning.shown, val, inputs=inputs, device=device, precision=training.precision
            )
        if not math.isfinite(measured.loss):
            raise TrainingDivergedError(
                f"{stage.name}, epoch {epoch}: the loss on val became {measured.loss}"
            )
        epochs_since_best += 1
        if measured.accuracy > best_accuracy or stage.name == PRETRAIN:
            best_accuracy, epochs_since_best = measured.accuracy, 0
            save_weights(learning.shown, folder / BEST)
        yield Epoch(
            stage=stage.name,
            epoch=epoch,
            train_loss=float(sums["total"]) / batches,
            val_loss=measured.loss,
            val_accuracy=measured.accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - start,
            at_once=learning.at_once if learning.at_once < training.batch_size else None,
        )
        if durable or epoch == until:
            state.save(
                folder, epoch=epoch, best_accuracy=best_accuracy, since_best=epochs_since_best
            )
        if epoch == until:
            return
    save_weights(learning.shown, folder / LAST)


def _refuse_divergence(stage: str, epoch: int, means: dict[str, float]) -> None:
    """Names every term that is affected: one that is not a number makes the others so within a step."""
    broken = [name for name, mean in means.items() if not math.isfinite(mean)]
    terms = [name for name in broken if name != "total"] or broken
    if terms:
        which = f"{terms[0]} loss" if len(terms) == 1 else f"{' and '.join(terms)} losses"
        raise TrainingDivergedError(f"{stage}, epoch {epoch}: the {which} became {means[terms[0]]}")
