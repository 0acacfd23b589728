"""Distillation losses: pure functions of logits and labels, with their formula and source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from autokd.records import UNLABELLED

# Every entry has one signature:
# (student logits (B, C), teacher logits (B, C), labels (B,), temperature=…, reduction="mean") -> scalar, or (B,) of "none";
# some have keywords of their own. KL is always KL(teacher || student), summed over classes, mean over the batch.
Loss = Callable[..., Tensor]
Reduction = Literal["mean", "none"]


def cross_entropy(
    student: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """-log softmax(student)[label], mean over the batch, in full precision. student (B, C), labels (B,) int64.

    Labels may also be shares of classes, (B, C), as a mixture of two images has them. Images that are UNLABELLED have no
    part in the mean; without any other it is 0.
    """
    each = F.cross_entropy(
        full_precision(student),
        labels,
        ignore_index=UNLABELLED,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    if reduction == "none":
        return each
    if labels.ndim > 1:
        return each.mean()
    return each.sum() / (labels != UNLABELLED).sum().clamp(min=1)


def kd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,  # noqa: ARG001
    *,
    temperature: float,
    reduction: Reduction = "mean",
) -> Tensor:
    """T^2 KL(teacher || student) on logits softened by T, summed over classes, mean over the batch.

    Hinton, Vinyals & Dean (2015), section 2, arXiv 1503.02531. T^2 keeps the gradient's scale as T changes.
    """
    log_p, log_q = (
        F.log_softmax(full_precision(z) / temperature, dim=-1) for z in (teacher, student)
    )
    return _reduced(_kl(log_p, log_q) * temperature**2, reduction)


def dkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    alpha: float = 1.0,
    beta: float = 8.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """T^2 (alpha KL of target against all others + beta KL among the others), teacher || student.

    Decoupled KD, Zhao et al. (2022), equation 7, arXiv 2203.08679. With b = (p_y, 1 - p_y) and q the softmax over the
    C - 1 classes that are not the label, KD = KL(b) + (1 - p_y of the teacher) KL(q): DKD weighs the two by themselves.
    Raises ValueError for fewer than three classes, where q is constant, and for labels that are not class numbers.
    """
    classes = _at_least_three("dkd", student)
    if labels.dim() != 1:
        raise ValueError(
            "dkd: needs one class number an image, (B,); soft labels have no single target"
        )
    log_p, log_q = (
        F.log_softmax(full_precision(z) / temperature, dim=-1) for z in (teacher, student)
    )
    own = labels.unsqueeze(1)  # (B, 1)
    places = torch.arange(classes - 1, device=labels.device)
    others = places + (places >= own)  # (B, C - 1), without a mask, for which a GPU would wait

    def split(log: Tensor) -> tuple[Tensor, Tensor]:
        """log of b (B, 2), and of q (B, C - 1)."""
        rest = log.gather(1, others)
        together = rest.logsumexp(dim=1, keepdim=True)  # log(1 - p_y), finite where p_y rounds to 1
        return torch.cat([log.gather(1, own), together], dim=1), rest - together

    (target_t, rest_t), (target_s, rest_s) = split(log_p), split(log_q)
    each = alpha * _kl(target_t, target_s) + beta * _kl(rest_t, rest_s)
    return _reduced(each * temperature**2, reduction)


def dist(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,  # noqa: ARG001
    *,
    temperature: float,
    beta: float = 1.0,
    gamma: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """T^2 (beta (1 - mean correlation of images' rows) + gamma (1 - mean correlation of classes' columns)).

    DIST, Huang et al. (2022), equations 8 to 10, arXiv 2205.10536; correlations are Pearson's, of probabilities
    softened by T. The second part relates the images of a batch: it is 1 for a batch of one, and "none" counts it for
    each image alike.
    """
    p, q = (F.softmax(full_precision(z) / temperature, dim=-1) for z in (teacher, student))
    between_classes = 1 - _correlation(q, p, dim=1)  # (B,)
    within_class = 1 - _correlation(q, p, dim=0).mean()
    each = beta * between_classes + gamma * within_class
    return _reduced(each * temperature**2, reduction)


def lskd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    reduction: Reduction = "mean",
) -> Tensor:
    """KD of logits that are standardised image by image: (z - mean) / std over the classes.

    Sun et al. (2024), algorithm 1, arXiv 2403.01427: the student need not have its teacher's scale. Raises ValueError
    for two classes, of which every standardised pair is the same.
    """
    _at_least_three("lskd", student)
    standard_s, standard_t = _standardised(student), _standardised(teacher)
    return kd(standard_s, standard_t, labels, temperature=temperature, reduction=reduction)


def _at_least_three(name: str, logits: Tensor) -> int:
    classes = logits.shape[1]
    if classes < 3:
        raise ValueError(f"{name}: needs three classes or more, got {classes}")
    return classes


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of each row: (B, C) -> (B,)."""
    return F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(dim=-1)


def _correlation(a: Tensor, b: Tensor, *, dim: int) -> Tensor:
    """Pearson's, along a dimension; 0 where one side is constant."""
    own, other = (x - x.mean(dim=dim, keepdim=True) for x in (a, b))
    return F.cosine_similarity(own, other, dim=dim, eps=1e-8)


def _standardised(logits: Tensor) -> Tensor:
    z = full_precision(logits)
    return (z - z.mean(dim=-1, keepdim=True)) / (z.std(dim=-1, keepdim=True) + 1e-7)


def _reduced(each: Tensor, reduction: Reduction) -> Tensor:
    return each.mean() if reduction == "mean" else each


def full_precision(logits: Tensor) -> Tensor:
    """float32, or float64 as it is: half precision has too few digits for a logarithm of a softmax."""
    return logits if logits.dtype == torch.float64 else logits.float()


LOSSES: dict[str, Loss] = {"kd": kd, "dkd": dkd, "dist": dist, "lskd": lskd}

ARGUMENTS = {"dkd": ("alpha", "beta"), "dist": ("beta", "gamma")}  # their own weights within
NEED_THREE_CLASSES = ("dkd", "lskd")
NEED_HARD_LABELS = ("dkd",)
