"""From what a student makes of an image to what its teacher does, where the two differ in channels. Learned, and thrown away."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from autokd.feature_losses import FeatureLoss, smaller
from autokd.students import Seen


class Comparison(nn.Module):
    """One teacher's features against the student's by a feature loss: mean over the taps.

    Maps are first averaged down to the smaller of the two. Where the loss is not blind to it, the student's channels
    are projected on the teacher's: a 1x1 convolution and batch norm (Romero et al. 2015, the regressor), a linear map
    of pooled features unless there are as many.
    """

    def __init__(self, loss: FeatureLoss, student: Seen, teacher: Seen) -> None:
        """Both as they see some image."""
        super().__init__()
        self._loss = loss
        pairs = zip(_features(loss, student), _features(loss, teacher), strict=True)
        self.projectors = nn.ModuleList(
            _projector(own.shape[1], other.shape[1], of=loss.of)
            if loss.projected
            else nn.Identity()
            for own, other in pairs
        )

    def forward(self, student: Seen, teacher: Seen) -> Tensor:
        terms = []
        for project, own, other in zip(
            self.projectors, _features(self._loss, student), _features(self._loss, teacher), strict=True
        ):  # fmt: skip
            pair = smaller(own.float(), other.float()) if own.dim() == 4 else (own.float(), other)
            terms.append(self._loss.function(project(pair[0]), pair[1]))
        total: Tensor = sum(terms[1:], terms[0]) / len(terms)
        return total


def linear_projector(own: int, other: int) -> nn.Module:
    """Of pooled features (B, own) -> (B, other); none where they are as many."""
    return nn.Identity() if own == other else nn.Linear(own, other)


def _projector(own: int, other: int, *, of: str) -> nn.Module:
    if of == "pooled":
        return linear_projector(own, other)
    return nn.Sequential(nn.Conv2d(own, other, 1, bias=False), nn.BatchNorm2d(other))


def _features(loss: FeatureLoss, seen: Seen) -> Sequence[Tensor]:
    if loss.of == "maps":
        return seen.maps
    assert seen.pooled is not None
    return [seen.pooled]
