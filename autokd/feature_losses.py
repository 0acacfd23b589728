"""Losses on what student and teacher make of a batch on the way to their logits: pure functions, with formula and source.

Maps are (B, C, H, W), pooled features (B, D). All are computed in float32 at least, and are means over the batch. What
two models have in different numbers is first made comparable by `autokd.projectors`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from autokd.losses import full_precision

RKD_DISTANCE, RKD_ANGLE = 25.0, 50.0  # weights of the two parts, as for classification


def hint(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of maps of one shape. FitNets, Romero et al. (2015), equation 3, arXiv 1412.6550."""
    return F.mse_loss(full_precision(student), full_precision(teacher))


def attention(
    student: Tensor, teacher: Tensor, *, mode: Literal["code", "paper"] = "code"
) -> Tensor:
    """Difference of where two models look: of normalised maps of mean squared activation, (B, H W).

    Zagoruyko & Komodakis (2017), arXiv 1612.03928: the authors' code takes the mean of squared differences, their
    equation 2 the norm of the difference, mean over the batch. Maps of two sizes are averaged down to the smaller.
    """
    maps = smaller(full_precision(student), full_precision(teacher))
    q_s, q_t = (F.normalize(f.pow(2).mean(dim=1).flatten(1), dim=1) for f in maps)
    if mode == "code":
        return F.mse_loss(q_s, q_t)
    apart: Tensor = torch.linalg.vector_norm(q_s - q_t, dim=1)
    return apart.mean()


def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """||G_s - G_t||^2 / B^2 with G = F F^T, rows normalised: which images of a batch are alike. Any two shapes.

    Similarity-preserving, Tung & Mori (2019), equation 4, arXiv 1907.09682.
    """
    g_s, g_t = (_similarities(full_precision(f).flatten(1)) for f in (student, teacher))
    return F.mse_loss(g_s, g_t)


def _similarities(rows: Tensor) -> Tensor:
    return F.normalize(rows @ rows.T, dim=1)


def relations(student: Tensor, teacher: Tensor) -> Tensor:
    """25 x `distances` + 50 x `angles` of pooled features. Relational KD, Park et al. (2019), arXiv 1904.05068."""
    return RKD_DISTANCE * distances(student, teacher) + RKD_ANGLE * angles(student, teacher)


def distances(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the distances between images, each as a share of their mean. Equations 6 and 7 of the same."""
    d_s, d_t = (_distances(full_precision(e).flatten(1)) for e in (student, teacher))
    return F.smooth_l1_loss(d_s, d_t)


def _distances(points: Tensor) -> Tensor:
    """(B, D) -> (B, B); the mean is over pairs of two images."""
    count = len(points)
    squares = (points.unsqueeze(1) - points.unsqueeze(0)).pow(2).sum(dim=2)
    apart = ~torch.eye(count, dtype=torch.bool, device=points.device)
    between = squares.clamp(min=1e-12).sqrt() * apart  # a root has no derivative at 0
    return between / (between.sum() / (count * (count - 1))).clamp(min=1e-12)


def angles(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the cosines of the angle at j between i and k, for all triples. Equations 8 and 9 of the same.

    Takes memory for B^3 numbers.
    """
    a_s, a_t = (_cosines(full_precision(e).flatten(1)) for e in (student, teacher))
    return F.smooth_l1_loss(a_s, a_t)


def _cosines(points: Tensor) -> Tensor:
    """(B, D) -> (B, B, B)."""
    directions = F.normalize(points.unsqueeze(0) - points.unsqueeze(1), dim=2)
    return directions @ directions.transpose(1, 2)


def pooled(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of pooled features of one length, as timm's FeatureDistillationTask has it."""
    return F.mse_loss(full_precision(student), full_precision(teacher))


def smaller(*maps: Tensor) -> tuple[Tensor, ...]:
    """(B, C, H, W) each, averaged down to the least height and width among them."""
    size = (min(m.shape[2] for m in maps), min(m.shape[3] for m in maps))
    return tuple(m if m.shape[2:] == size else F.adaptive_avg_pool2d(m, size) for m in maps)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLoss:
    """A loss, and what it is asked of."""

    function: Callable[[Tensor, Tensor], Tensor]  # (student's, teacher's) -> scalar
    of: Literal["maps", "pooled"]
    projected: (
        bool  # whether the student's are first brought to the teacher's channels, learning how
    )
    weight: float  # that its authors, or those who compared it, give it beside a cross-entropy of 1


FEATURE_LOSSES: dict[str, FeatureLoss] = {
    "hint": FeatureLoss(function=hint, of="maps", projected=True, weight=100.0),
    "at": FeatureLoss(function=attention, of="maps", projected=False, weight=1000.0),
    "sp": FeatureLoss(function=similarity, of="maps", projected=False, weight=3000.0),
    "rkd": FeatureLoss(function=relations, of="pooled", projected=False, weight=1.0),
    "pooled": FeatureLoss(function=pooled, of="pooled", projected=True, weight=1.0),
}
