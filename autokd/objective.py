"""What a stage goes down: its losses on logits and features, weighed for groups as its mitigation says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from autokd.data.batches import Batch
from autokd.data.split import Split
from autokd.errors import ConfigError
from autokd.losses import LOSSES, Reduction, cross_entropy
from autokd.mitigation import (
    ADAPTIVE_ALPHA,
    DRAW_EVENLY,
    GROUP_DRO,
    MFD,
    MITIGATIONS,
    NEED_TEACHER,
    GroupDRO,
    adaptive_weights,
    match_groups,
    mfd,
    trust,
)
from autokd.records import Stage
from autokd.students import InputFormat, features_and_logits


class TeacherLogits(Protocol):
    """A teacher as a stage sees it: raw logits for the very pixels that the student is shown.

    Features and logits on val are asked for by single mitigations alone.
    """

    def logits(self, batch: Batch, view: int) -> Tensor: ...  # (B, C) on the batch's device

    def features(self, batch: Batch, view: int) -> Tensor: ...  # (B, D) likewise

    @property
    def feature_count(self) -> int: ...  # D

    def val_logits(self, val: Split) -> Tensor: ...  # (M, C) on the CPU


def loss_terms(
    stage: Stage,
    student: Tensor,
    teachers: Sequence[Tensor],
    labels: Tensor,
    *,
    reduction: Reduction = "mean",
) -> dict[str, Tensor]:
    """Each of the stage's losses on logits by name, unweighted. Several teachers count equally."""
    terms: dict[str, Tensor] = {}
    for name in _names_of_terms(stage):
        if name == "ce":
            smoothing = stage.training.label_smoothing
            terms[name] = cross_entropy(
                student, labels, label_smoothing=smoothing, reduction=reduction
            )
        else:
            each = [
                LOSSES[name](student, t, labels, temperature=stage.temperature, reduction=reduction)
                for t in teachers
            ]
            terms[name] = torch.stack(each).mean(dim=0)
    return terms


def _names_of_terms(stage: Stage) -> list[str]:
    """Of losses on logits. Where a teacher is not trusted the labels take over, whatever weight they had."""
    names = [name for name in stage.loss_weights if name != MFD]
    return names if stage.mitigation != ADAPTIVE_ALPHA or "ce" in names else ["ce", *names]


class Objective:
    """A stage's loss as its mitigation has it. Without one: the weighted sum of the terms' means.

    What a mitigation learns on the way (the weights of groups, projections of features) lives as long
    as the stage's training does and on its device; nothing of it gets into the student.
    """

    def __init__(
        self,
        stage: Stage,
        student: nn.Module,
        teachers: Sequence[TeacherLogits],
        *,
        train: Split,
        val: Split,
        inputs: InputFormat,
        device: torch.device,
    ) -> None:
        _check_mitigation(stage)
        self._stage = stage
        self._teachers = teachers
        groups = match_groups(train.group_numbers, val.group_numbers)
        count = len(groups.sizes)
        self._count = count
        self._groups = groups.train.to(device)  # (N,)
        # what the order of an epoch is drawn by
        self.balance = groups.train if stage.mitigation in DRAW_EVENLY else None
        self.projectors: nn.ModuleList | None = None
        self._dro: GroupDRO | None = None
        self._trust: Tensor | None = None  # (G,)
        if stage.mitigation == GROUP_DRO:
            self._dro = GroupDRO(groups.sizes.to(device))
        elif stage.mitigation == ADAPTIVE_ALPHA:
            each = [trust(t.val_logits(val), val.labels, groups.val, count=count) for t in teachers]
            self._trust = torch.stack(each).mean(dim=0).to(device)
        elif stage.mitigation == MFD:
            self.projectors = _make_projectors(student, teachers, train, inputs, device)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained beside the student's."""
        return [] if self.projectors is None else list(self.projectors.parameters())

    def state_dict(self) -> dict[str, Any]:
        """What was learned so far."""
        return {
            "q": None if self._dro is None else self._dro.q,
            "projectors": None if self.projectors is None else self.projectors.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._dro is not None:
            self._dro.q = state["q"].to(self._dro.q)
        if self.projectors is not None:
            self.projectors.load_state_dict(state["projectors"])

    @property
    def reduction(self) -> Reduction:
        return "mean" if self._dro is None and self._trust is None else "none"

    def forward(self, student: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C), and features (B, D) where they are needed."""
        if self.projectors is None:
            return student(pixels), None
        features, logits = features_and_logits(student, pixels)
        return logits, features

    def match(self, features: Tensor, batch: Batch, view: int, *, classes: int) -> Tensor:
        """The distance of the student's features from the teachers', group by group. Teachers count equally."""
        assert self.projectors is not None
        groups = self._groups[batch.index]
        each = [
            mfd(
                project(features.float()), teacher.features(batch, view), batch.labels, groups,
                classes=classes, count=self._count,
            )
            for project, teacher in zip(self.projectors, self._teachers, strict=True)
        ]  # fmt: skip
        return torch.stack(each).mean()

    def total(self, terms: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The scalar to go down: of means, or of one value an image."""
        weights: Mapping[str, float | Tensor] = self._stage.loss_weights
        if self._trust is not None:
            trusted = self._trust[self._groups[batch.index]]
            weights = adaptive_weights(self._stage.loss_weights, trusted)
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum(dim=0)
        if self._dro is not None:
            return self._dro(loss, self._groups[batch.index])
        return loss.mean()


def _check_mitigation(stage: Stage) -> None:
    """Stages come from files too."""
    if stage.mitigation not in MITIGATIONS:
        raise ConfigError(
            f"{stage.name}: unknown mitigation '{stage.mitigation}'; known: {', '.join(MITIGATIONS)}"
        )
    if stage.mitigation in NEED_TEACHER and not stage.teachers:
        raise ConfigError(
            f"{stage.name}: mitigation {stage.mitigation} needs a teacher, and this stage learns from labels alone"
        )
    if (stage.mitigation == MFD) != (MFD in stage.loss_weights):
        raise ConfigError(
            f"{stage.name}: mitigation mfd and a weight of the loss mfd go together; give both or none"
        )


def _make_projectors(
    student: nn.Module,
    teachers: Sequence[TeacherLogits],
    train: Split,
    inputs: InputFormat,
    device: torch.device,
) -> nn.ModuleList:
    """From the student's features to each teacher's: linear where they differ in number, trained with the student.

    Features of other dimensions have no distance; a regressor is what the authors of MFD took for larger teachers
    ("Fair Feature Distillation Using Teacher Models of Larger Architecture", Journal of KIISE 48, 2021).
    """
    own = count_features(student, train, inputs=inputs, device=device)
    return nn.ModuleList(
        nn.Identity() if t.feature_count == own else nn.Linear(own, t.feature_count)
        for t in teachers
    ).to(device)


@torch.inference_mode()
def count_features(
    model: nn.Module, split: Split, *, inputs: InputFormat, device: torch.device
) -> int:
    """How many features a model has before its classifier. Leaves it in eval mode."""
    model.eval()
    pixels = split.images[0].unsqueeze(0).to(device)
    return int(features_and_logits(model, inputs.prepare(pixels))[0].shape[1])
