"""What a stage goes down: its losses on logits and features, weighed for groups as its mitigation says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from autokd.balance import GRADIENT, GradientBalance, teacher_share
from autokd.data.batches import Batch
from autokd.data.split import Split
from autokd.feature_losses import FEATURE_LOSSES
from autokd.losses import LOSSES, Reduction, cross_entropy
from autokd.mitigation import (
    ADAPTIVE_ALPHA,
    DRAW_EVENLY,
    GROUP_DRO,
    MFD,
    GroupDRO,
    adaptive_weights,
    match_groups,
    mfd,
    trust,
)
from autokd.needs import asks_logits, check_stage, features_needed, losses_on_logits
from autokd.precision import autocast
from autokd.projectors import Comparison, linear_projector
from autokd.records import Stage
from autokd.students import InputFormat, Seen, look_inside


class TeacherLogits(Protocol):
    """A teacher as a stage sees it: raw logits for the very pixels that the student is shown.

    What it makes of them before its logits, and logits on val, are asked for by single losses and mitigations alone.
    """

    def logits(self, batch: Batch, view: int) -> Tensor: ...  # (B, C) on the batch's device

    def features(self, batch: Batch, view: int) -> Tensor: ...  # (B, D) likewise, pooled

    def maps(self, batch: Batch, view: int, taps: int) -> tuple[Tensor, ...]: ...  # (B, C', H, W)

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
    """Each of the stage's losses on logits by name, unweighted. Several teachers count equally; without one, labels alone."""
    terms: dict[str, Tensor] = {}
    for name in losses_on_logits(stage):
        if name == "ce":
            smoothing = stage.training.label_smoothing
            terms[name] = cross_entropy(
                student, labels, label_smoothing=smoothing, reduction=reduction
            )
        elif teachers:
            options = {"temperature": stage.temperature, "reduction": reduction}
            options |= stage.loss_arguments.get(name, {})
            each = [LOSSES[name](student, t, labels, **options) for t in teachers]
            terms[name] = torch.stack(each).mean(dim=0)
    return terms


class Objective:
    """A stage's loss at every step: its terms, weighed as its balance and its mitigation have it.

    What is learned on the way (the weights of groups, projections of features) lives as long as the stage's
    training does and on its device; nothing of it gets into the student.
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
        check_stage(stage)
        self._stage = stage
        self._teachers = teachers
        self._inputs = inputs
        self._device = device
        groups = match_groups(train.group_numbers, val.group_numbers)
        count = len(groups.sizes)
        self._count = count
        self._groups = groups.train.to(device)  # (N,)
        # what the order of an epoch is drawn by
        self.balance = groups.train if stage.mitigation in DRAW_EVENLY else None
        self._dro: GroupDRO | None = None
        self._trust: Tensor | None = None  # (G,)
        if stage.mitigation == GROUP_DRO:
            self._dro = GroupDRO(groups.sizes.to(device))
        elif stage.mitigation == ADAPTIVE_ALPHA:
            each = [trust(t.val_logits(val), val.labels, groups.val, count=count) for t in teachers]
            self._trust = torch.stack(each).mean(dim=0).to(device)
        self._gradients = GradientBalance(device) if stage.balance == GRADIENT else None
        self._taps, self._pools = features_needed(stage)
        self._asks = asks_logits(stage)
        self.projectors: nn.ModuleDict = self._make_projectors(student, train).to(device)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained beside the student's."""
        return list(self.projectors.parameters())

    def state_dict(self) -> dict[str, Any]:
        """What was learned so far."""
        return {
            "q": None if self._dro is None else self._dro.q,
            "gradients": None if self._gradients is None else self._gradients.state_dict(),
            "projectors": self.projectors.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._dro is not None:
            self._dro.q = state["q"].to(self._dro.q)
        if self._gradients is not None:
            self._gradients.load_state_dict(state["gradients"])
        self.projectors.load_state_dict(state["projectors"])

    @property
    def reduction(self) -> Reduction:
        return "mean" if self._dro is None and self._trust is None else "none"

    def __call__(
        self, student: nn.Module, batch: Batch, view: int, *, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to go down, and the terms that it is made of; `progress`: the share of the training that is done.

        Teachers are asked only while they count, or where nobody else is.
        """
        stage, share = self._stage, teacher_share(self._stage, progress)
        teachers = self._draw_teachers() if share or "ce" not in stage.loss_weights else []
        with autocast(self._device, stage.training.precision):
            seen = self.look(student, batch)
        answers = [self._teachers[place].logits(batch, view) for place in teachers if self._asks]
        terms = loss_terms(stage, seen.logits, answers, batch.labels, reduction=self.reduction)
        if teachers:
            terms |= self.match(seen, batch, view, teachers)
        return self.total(terms, batch, share=share, logits=seen.logits), terms

    def _draw_teachers(self) -> list[int]:
        """Places of those that teach at this step: all, or as many as chance leaves, and never none.

        After "Densely Guided Knowledge Distillation using Multiple Teacher Assistants" (Son et al., ICCV 2021).
        """
        count, drop = len(self._teachers), self._stage.teacher_drop
        if count < 2 or not drop:
            return list(range(count))
        drawn = torch.rand(count)  # of the CPU's generator, whose state a checkpoint keeps
        return torch.nonzero(drawn >= drop).flatten().tolist() or [int(drawn.argmax())]

    def look(self, student: nn.Module, batch: Batch) -> Seen:
        pixels = self._inputs.prepare(batch.pixels)
        return look_inside(student, pixels, taps=self._taps, pooled=self._pools)

    def match(
        self, seen: Seen, batch: Batch, view: int, teachers: Sequence[int]
    ) -> dict[str, Tensor]:
        """Each of the stage's losses on features by name, unweighted. Teachers, given by their places, count equally."""
        terms: dict[str, list[Tensor]] = {name: [] for name in self._names_on_features()}
        for place in teachers:
            teacher = self._teachers[place]
            theirs = Seen(
                logits=seen.logits,
                pooled=teacher.features(batch, view) if self._pools else None,
                maps=teacher.maps(batch, view, self._taps) if self._taps else (),
            )
            for name, each in terms.items():
                compare = self.projectors[f"{name}_{place}"]
                if name == MFD:
                    assert seen.pooled is not None
                    assert theirs.pooled is not None
                    own, classes = compare(seen.pooled.float()), seen.logits.shape[1]
                    each.append(
                        mfd(
                            own, theirs.pooled, batch.labels, self._groups[batch.index],
                            classes=classes, count=self._count,
                        )
                    )  # fmt: skip
                else:
                    each.append(compare(seen, theirs))
        return {name: torch.stack(each).mean() for name, each in terms.items()}

    def total(
        self,
        terms: Mapping[str, Tensor],
        batch: Batch,
        *,
        share: float = 1.0,
        logits: Tensor | None = None,
    ) -> Tensor:
        """The scalar to go down: of means, or of one value an image. `share`: of the teachers' weight."""
        weights: Mapping[str, float | Tensor] = self._stage.loss_weights
        if self._trust is not None:
            trusted = self._trust[self._groups[batch.index]]
            weights = adaptive_weights(self._stage.loss_weights, trusted)
        on_logits = next((name for name in terms if name in LOSSES), None)
        even: float | Tensor = 1.0
        if self._gradients and on_logits and "ce" in terms and logits is not None:
            even = self._gradients(terms["ce"], terms[on_logits], logits)
        counts = {name: share * even if name in LOSSES else share for name in terms} | {"ce": 1.0}
        parts = [weights[name] * counts[name] * term for name, term in terms.items()]
        loss = sum(parts, start=torch.zeros((), device=self._device))
        if self._dro is not None:
            return self._dro(loss, self._groups[batch.index])
        return loss.mean()

    def _names_on_features(self) -> list[str]:
        return [n for n in self._stage.loss_weights if n in FEATURE_LOSSES or n == MFD]

    def _make_projectors(self, student: nn.Module, train: Split) -> nn.ModuleDict:
        """For each loss on features and each teacher what brings the student's to the teacher's, trained with the student.

        For mfd a regressor is what its authors took for larger teachers ("Fair Feature Distillation Using Teacher
        Models of Larger Architecture", Journal of KIISE 48, 2021).
        """
        made = nn.ModuleDict()
        if not (self._taps or self._pools):
            return made
        student.to(self._device).eval()
        two = Batch(
            torch.stack([train.images[0], train.images[1]]).to(self._device),
            train.labels[:2].to(self._device),
            torch.arange(2),
        )
        with torch.no_grad():
            own = self.look(student, two)
            for place, teacher in enumerate(self._teachers):
                theirs = Seen(
                    logits=own.logits,
                    pooled=torch.empty(2, teacher.feature_count) if self._pools else None,
                    maps=teacher.maps(two, 0, self._taps) if self._taps else (),
                )
                for name in self._names_on_features():
                    if name == MFD:
                        assert own.pooled is not None
                        new = linear_projector(own.pooled.shape[1], teacher.feature_count)
                    else:
                        new = Comparison(FEATURE_LOSSES[name], own, theirs)
                    made[f"{name}_{place}"] = new
        return made


@torch.inference_mode()
def count_features(
    model: nn.Module, split: Split, *, inputs: InputFormat, device: torch.device
) -> int:
    """How many features a model has before its classifier. Leaves it in eval mode."""
    model.eval()
    pixels = split.images[0].unsqueeze(0).to(device)
    pooled = look_inside(model, inputs.prepare(pixels), pooled=True).pooled
    assert pooled is not None
    return int(pooled.shape[1])
