"""What moves at a step of training: the student with its optimiser, rates and averages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from timm.optim import create_optimizer_v2, get_optimizer_class  # type: ignore[attr-defined]
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]
from torch import Tensor, nn

from autokd.data.batches import Batch, split_batch
from autokd.data.mixing import make_mixing
from autokd.memory import shrink_to_fit
from autokd.needs import losses_on_logits
from autokd.objective import Objective
from autokd.peers import Peers
from autokd.records import Stage
from autokd.students.parts import batch_norms, classifiers, freeze_all_but_last, frozen_parts

WARMUP_SHARE = 0.1  # of a stage's steps, over which the learning rate rises


class Learner(nn.Module):
    """All that is trained, and one forward pass of it: what DistributedDataParallel wants to see."""

    def __init__(self, student: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.projectors = objective.projectors
        self._objective = objective

    def forward(self, batch: Batch, view: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self._objective(self.student, batch, view, progress=progress)


class Learning:
    """A stage's training as it stands after so many of its `steps`. Its state dict is for a pause."""

    def __init__(
        self, stage: Stage, student: nn.Module, objective: Objective, peers: Peers, *, steps: int
    ) -> None:
        training = stage.training
        self._training = training
        self._steps = steps
        if training.trained_blocks is not None:
            freeze_all_but_last(student, training.trained_blocks)
        self._optimizer = create_optimizer_v2(
            student,
            opt=training.optimizer,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            **fused_where_it_can_be(training.optimizer, next(student.parameters()).device),
        )
        if training.body_rate != 1:
            _slow_down_body(self._optimizer, student, training.body_rate)
        if own := objective.parameters:
            self._optimizer.add_param_group({"params": own, "lr": training.learning_rate})
        self._trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: _warmup_cosine(step, steps)
        )
        self._student = student
        self._objective = objective
        parts_unused = stage.teacher_drop > 0 or not losses_on_logits(stage)
        self._learner = peers.spread(Learner(student, objective), parts_unused=parts_unused)
        self._average = (
            ModelEmaV3(student, decay=training.ema, use_warmup=True) if training.ema else None
        )
        classes = int(student.num_classes)  # type: ignore[arg-type]
        self._mix = make_mixing(training.mixup, training.cutmix, classes=classes)
        self.at_once = training.batch_size  # images that go through the student together
        # peers take as many steps as each other
        self._least = 2 if peers.count == 1 else training.batch_size

    @property
    def shown(self) -> nn.Module:
        """What is measured and kept: the average, where there is one."""
        return self._average.module if self._average else self._student

    def begin_epoch(self) -> None:
        """Put the student into training mode, but for what is frozen, and batch norms of a body that is to change little.

        Statistics of a batch are others than those that published weights were made with, the more so the smaller the
        images are.
        """
        self._student.train()
        kept = frozen_parts(self._student) if self._training.trained_blocks is not None else []
        kept += batch_norms(self._student) if self._training.body_rate < 1 else []
        for part in kept:
            part.eval()

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self, batch: Batch, view: int, *, number: int) -> dict[str, Tensor]:
        """Learn from a batch; each term's mean, and the total's, on the batch's device. `number`: of the step, from 0.

        The batch goes through in parts where a GPU's memory runs short. That is the same but for what looks at several
        images at once: batch norm, and losses on relations.
        """
        attempt = partial(self._backward, self._mix(batch), view, progress=number / self._steps)
        means, self.at_once = shrink_to_fit(attempt, self.at_once, least=self._least)
        if self._training.clip_norm:
            nn.utils.clip_grad_norm_(self._trained, self._training.clip_norm)
        self._optimizer.step()
        self._schedule.step()
        if self._average:
            self._average.update(self._student, step=number)
        return means

    def _backward(
        self, batch: Batch, view: int, most: int, *, progress: float
    ) -> dict[str, Tensor]:
        """The gradients of a batch, of so many images at a time."""
        self._optimizer.zero_grad()
        means: dict[str, Tensor] = {}
        for part in split_batch(batch, most):
            share = len(part.pixels) / len(batch.pixels)
            loss, terms = self._learner(part, view, progress)
            (share * loss).backward()
            for name, term in (terms | {"total": loss}).items():
                means[name] = means.get(name, 0.0) + share * term.detach().mean()
        return means

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts().items()} | {
            "at_once": self.at_once
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.at_once = state["at_once"]

    def _parts(self) -> dict[str, Any]:
        parts = {
            "student": self._student,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "objective": self._objective,
        }
        return parts | ({"average": self._average} if self._average else {})


def _slow_down_body(optimizer: torch.optim.Optimizer, student: nn.Module, rate: float) -> None:
    """Give all but the classifier a group of its own at `rate` times the learning rate."""
    head = {id(p) for layer in classifiers(student) for p in layer.parameters()}
    for group in list(optimizer.param_groups):
        body = [p for p in group["params"] if id(p) not in head]
        group["params"] = [p for p in group["params"] if id(p) in head]
        optimizer.add_param_group({**group, "params": body, "lr": rate * group["lr"]})
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]


def fused_where_it_can_be(optimizer: str, device: torch.device) -> dict[str, Any]:
    """One kernel for a step instead of a dozen a tensor, where torch has one: a tenth to a fifth of a small student's step."""
    kind = get_optimizer_class(optimizer, bind_defaults=False)
    has_one = kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
    return {"fused": True} if has_one and device.type in ("cpu", "cuda") else {}


def _warmup_cosine(step: int, steps: int) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine to 0."""
    rise = min(1.0, (step + 1) / max(1.0, WARMUP_SHARE * steps))
    return rise * 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
