"""The stage loop: a student learns from labels and teachers' logits, and is measured on val after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.checkpoint import Resumable
from autokd.data.batches import Batch, count_batches, eval_batches, split_batch, train_batches
from autokd.data.load import Split
from autokd.data.mixing import make_mixing
from autokd.data.views import Views
from autokd.errors import TrainingDivergedError
from autokd.memory import shrink_to_fit
from autokd.objective import Objective, TeacherLogits, loss_terms
from autokd.peers import ALONE, Peers
from autokd.precision import autocast
from autokd.records import Epoch, Stage
from autokd.stopwatch import Stopwatch
from autokd.students import InputFormat
from autokd.weights import save_weights

__all__ = [
    "BEST",
    "LAST",
    "Evaluation",
    "TeacherLogits",
    "evaluate",
    "loss_terms",
    "predict",
    "score",
    "train_stage",
]

EVAL_BATCH = 512  # images at a time where nothing is learned
WARMUP_SHARE = 0.1  # of a stage's steps, over which the learning rate rises

BEST, LAST = "best.safetensors", "last.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How well a model does on one split."""

    accuracy: float  # 0..1
    loss: float  # mean cross-entropy


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
    watch: Stopwatch | None = None,
    peers: Peers = ALONE,
) -> Iterator[Epoch]:
    """Train the student in place, one epoch a step; yields what each epoch came to.

    Keeps `best.safetensors` (highest val accuracy; the earliest of equals) and `last.safetensors` in `folder`.
    A best that an earlier stage left there stands until one epoch has a val accuracy above `at_least`.
    After epoch `until` it pauses: a checkpoint is left in `folder`, and with `resume` it goes on from there as if
    it had not paused.
    Raises TrainingDivergedError, naming the term, when a loss is NaN or infinite.
    With `peers` each process is given its part of every batch, and all come to the same weights.
    `watch` is told what is neither building nor training: waiting for images, and evaluating on val.
    The stage's mitigation looks at the groups of train, and of val at the teacher's margins at most.
    """
    training, watch = stage.training, watch or Stopwatch()
    student.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = create_optimizer_v2(
        student,
        opt=training.optimizer,
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
    )
    objective = Objective(
        stage, student, teachers, train=views.split, val=val, inputs=inputs, device=device
    )
    if objective.parameters:
        optimizer.add_param_group({"params": objective.parameters, "lr": training.learning_rate})
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    mix = make_mixing(training.mixup, training.cutmix, classes=int(student.num_classes))  # type: ignore[arg-type]
    average = ModelEmaV3(student, decay=training.ema, use_warmup=True) if training.ema else None
    shown = average.module if average else student  # what is evaluated and kept
    learner = peers.spread(Learner(student, objective), parts_unused=stage.teacher_drop > 0)
    steps_an_epoch = count_batches(len(views.split), training.batch_size, peers)
    steps = training.epochs * steps_an_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _warmup_cosine(step, steps)
    )
    # peers take as many steps as each other
    fit = _Fit(training.batch_size, least=2 if peers.count == 1 else training.batch_size)
    parts = {
        "student": student,
        "optimizer": optimizer,
        "schedule": schedule,
        "objective": objective,
        "fit": fit,
    }
    state = Resumable(stage.name, **parts | ({"average": average} if average else {}))
    done, best_accuracy, epochs_since_best = state.load(folder) if resume else (0, at_least, 0)

    for epoch in range(done + 1, training.epochs + 1):
        if training.patience is not None and epochs_since_best >= training.patience:
            break
        if until is not None and epoch > until:
            return
        start = time.perf_counter()
        rate = optimizer.param_groups[0]["lr"]
        view = (epoch - 1) % views.count
        sums: dict[str, Tensor] = {}
        batches = 0
        student.train()
        loaded = train_batches(
            views, view=view, batch_size=training.batch_size, seed=seed, epoch=epoch, device=device,
            balance=objective.balance, peers=peers,
        )  # fmt: skip
        for batch in watch.each("load", loaded):
            step = (epoch - 1) * steps_an_epoch + batches
            attempt = partial(_learn, learner, optimizer, mix(batch), view, progress=step / steps)
            means, fit.most = shrink_to_fit(attempt, fit.most, least=fit.least)
            if training.clip_norm:
                nn.utils.clip_grad_norm_(trained, training.clip_norm)
            optimizer.step()
            schedule.step()
            if average:
                average.update(student, step=step)
            for name, mean in means.items():  # no synchronisation: sums stay on the device
                sums[name] = sums.get(name, torch.zeros((), device=device)) + mean
            batches += 1
        sums = peers.mean(sums)
        _refuse_divergence(
            stage.name, epoch, {name: float(total) / batches for name, total in sums.items()}
        )
        peers.agree(shown)

        with watch("evaluate"):
            measured = evaluate(
                shown, val, inputs=inputs, device=device, precision=training.precision
            )
        if not math.isfinite(measured.loss):
            raise TrainingDivergedError(
                f"{stage.name}, epoch {epoch}: the loss on val became {measured.loss}"
            )
        epochs_since_best += 1
        if measured.accuracy > best_accuracy:
            best_accuracy, epochs_since_best = measured.accuracy, 0
            save_weights(shown, folder / BEST)
        yield Epoch(
            stage=stage.name,
            epoch=epoch,
            train_loss=float(sums["total"]) / batches,
            val_loss=measured.loss,
            val_accuracy=measured.accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - start,
            at_once=fit.most if fit.most < training.batch_size else None,
        )
        if epoch == until:
            state.save(
                folder, epoch=epoch, best_accuracy=best_accuracy, since_best=epochs_since_best
            )
            return
    save_weights(shown, folder / LAST)


@dataclass
class _Fit:
    """How many images go through the student at a time: a batch, unless memory ran short."""

    most: int
    least: int

    def state_dict(self) -> dict[str, int]:
        return {"most": self.most}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.most = state["most"]


class Learner(nn.Module):
    """All that is trained, and one forward pass of it: what DistributedDataParallel wants to see."""

    def __init__(self, student: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.projectors = objective.projectors
        self._objective = objective

    def forward(self, batch: Batch, view: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self._objective(self.student, batch, view, progress=progress)


def _learn(
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    view: int,
    most: int,
    *,
    progress: float,
) -> dict[str, Tensor]:
    """The gradients of a batch, of so many images at a time; each term's mean, and the total's.

    In parts it is the same but for what looks at several images at once: batch norm, and losses on relations.
    """
    optimizer.zero_grad()
    means: dict[str, Tensor] = {}
    for part in split_batch(batch, most):
        share = len(part.pixels) / len(batch.pixels)
        loss, terms = learner(part, view, progress)
        (share * loss).backward()
        for name, term in (terms | {"total": loss}).items():
            means[name] = means.get(name, 0.0) + share * term.detach().mean()
    return means


def predict(
    model: nn.Module,
    split: Split,
    *,
    inputs: InputFormat,
    device: torch.device,
    precision: str = "auto",
) -> Tensor:
    """Logits of every image of the split in its order: (N, C) float32 on the CPU."""
    model.eval()

    @torch.inference_mode()
    def attempt(batch_size: int) -> Tensor:
        parts = []
        for batch in eval_batches(split, batch_size=batch_size, device=device):
            with autocast(device, precision):
                parts.append(model(inputs.prepare(batch.pixels)).float())
        return torch.cat(parts).cpu()

    logits, _ = shrink_to_fit(attempt, EVAL_BATCH, least=1)
    return logits


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    inputs: InputFormat,
    device: torch.device,
    precision: str = "auto",
) -> Evaluation:
    logits = predict(model, split, inputs=inputs, device=device, precision=precision)
    return score(logits, split.labels)


def score(logits: Tensor, labels: Tensor) -> Evaluation:
    """Of logits (N, C) and labels (N,), both on the CPU."""
    return Evaluation(
        accuracy=float((logits.argmax(dim=-1) == labels).double().mean()),
        loss=float(F.cross_entropy(logits, labels)),
    )


def _warmup_cosine(step: int, steps: int) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine to 0."""
    rise = min(1.0, (step + 1) / max(1.0, WARMUP_SHARE * steps))
    return rise * 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


def _refuse_divergence(stage: str, epoch: int, means: dict[str, float]) -> None:
    """Names every term that is affected: one that is not a number makes the others so within a step."""
    broken = [name for name, mean in means.items() if not math.isfinite(mean)]
    terms = [name for name in broken if name != "total"] or broken
    if terms:
        which = f"{terms[0]} loss" if len(terms) == 1 else f"{' and '.join(terms)} losses"
        raise TrainingDivergedError(f"{stage}, epoch {epoch}: the {which} became {means[terms[0]]}")
