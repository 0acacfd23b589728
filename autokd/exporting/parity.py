"""Whether an exported file says what the student says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What an export may differ by from PyTorch."""

    difference: float | None  # of any logit, as a share of the largest in size; None: of no matter
    agreement: float  # the least share of images with the same answer


# Another order of sums differs by some 1e-6. Rounding to int8 moves every logit, and answers at the border.
EXACT = Tolerance(difference=1e-3, agreement=0.999)
ROUNDED = Tolerance(difference=None, agreement=0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """An export against the student in PyTorch, on the images of val."""

    images: int
    difference: float  # the largest of any logit
    relative: float  # to the student's largest logit in size
    agreement: float  # share of images with the same answer
    accuracy: float  # of the export, on val
    student_accuracy: float  # of the student in PyTorch
    tolerance: Tolerance

    @property
    def holds(self) -> bool:
        limit = self.tolerance.difference
        exact = limit is None or self.relative <= limit
        return exact and self.agreement >= self.tolerance.agreement

    @property
    def problems(self) -> list[str]:
        """In one line, or none."""
        if self.holds:
            return []
        limit = self.tolerance.difference
        logits = "" if limit is None else f", and logits within {limit:g} of the largest"
        return [
            f"parity failed: the same answer as in PyTorch for {self.agreement:.2%} of {self.images:,} val images, and "
            f"logits that differ by {self.relative:.2g} of the largest; at least {self.tolerance.agreement:.1%} must "
            f"agree{logits}"
        ]


def compare(student: Tensor, export: Tensor, labels: Tensor, *, tolerance: Tolerance) -> Parity:
    """Of logits (N, C) each, and labels (N,)."""
    difference = float((student - export).abs().max())
    answers, exported = student.argmax(dim=-1), export.argmax(dim=-1)
    return Parity(
        images=len(labels),
        difference=difference,
        relative=difference / max(float(student.abs().max()), 1e-12),
        agreement=share(answers == exported),
        accuracy=share(exported == labels),
        student_accuracy=share(answers == labels),
        tolerance=tolerance,
    )


def share(right: Tensor) -> float:
    """Of a tensor of truths, how many are."""
    return float(right.to(torch.float64).mean())
