"""Labels against teachers while a student is trained: how much the teachers' losses count at which time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from autokd.records import Stage

FIXED = "fixed"
GRADIENT = "gradient"
BALANCES = (FIXED, "linear", "cosine", GRADIENT)

MEMORY = 0.9  # of the moving means of gradients' sizes
MOST = 100.0  # times that a weight is raised or lowered


def teacher_share(stage: Stage, progress: float) -> float:
    """Of the weight of the teachers' losses, after a share of the stage's training: 0..1, 0 when they are done with.

    It rises over `teacher_warmup` and ends at `teacher_until`; between, `linear` and `cosine` let it fall to 0, as
    annealing does (Jafari et al. 2021, arXiv 2104.07163).
    """
    if progress >= stage.teacher_until:
        return 0.0
    rise = min(1.0, progress / stage.teacher_warmup) if stage.teacher_warmup else 1.0
    done = progress / stage.teacher_until
    fall = {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return rise * fall.get(stage.balance, 1.0)


class GradientBalance:
    """A factor for the teachers' loss on logits: its gradient there becomes as long as that of the labels' loss.

    As GradNorm (Chen et al. 2018, arXiv 1711.02257) evens out tasks, without a rate to tune: lengths are of the mean
    loss's gradient with respect to the student's logits, moving means over the steps. Weights then say by how much one
    shall be longer than the other. Nothing waits for a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.lengths = torch.zeros(2, device=device)  # of the labels' and the teachers' gradient

    def __call__(self, labels: Tensor, teachers: Tensor, logits: Tensor) -> Tensor:
        """Of two losses, scalars or one value an image each; a scalar without gradient."""
        now = torch.stack([_length(loss.mean(), logits) for loss in (labels, teachers)])
        seen = self.lengths > 0
        self.lengths = torch.where(seen, MEMORY * self.lengths + (1 - MEMORY) * now, now)
        ratio = self.lengths[0] / self.lengths[1].clamp(min=1e-12)
        return ratio.clamp(1 / MOST, MOST)

    def state_dict(self) -> dict[str, Any]:
        return {"lengths": self.lengths}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.lengths = state["lengths"].to(self.lengths)


def _length(loss: Tensor, logits: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
    length: Tensor = torch.linalg.vector_norm(gradient.float())
    return length
