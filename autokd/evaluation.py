"""A model's answers about a split, and how good they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.data.batches import eval_batches
from autokd.data.split import Split
from autokd.memory import shrink_to_fit
from autokd.precision import autocast
from autokd.students import InputFormat

EVAL_BATCH = 512  # images at a time where nothing is learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How well a model does on one split."""

    accuracy: float  # 0..1
    loss: float  # mean cross-entropy


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
