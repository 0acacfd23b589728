"""A frozen teacher and what it says about the images, asked once and kept on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.data.array_file import array_file
from autokd.data.batches import Batch, split_batch, view_batches
from autokd.data.load import Split
from autokd.data.views import Views
from autokd.errors import CheckpointError
from autokd.evaluation import EVAL_BATCH, predict
from autokd.losses import full_precision
from autokd.memory import shrink_to_fit
from autokd.needs import features_needed
from autokd.objective import count_features
from autokd.precision import autocast
from autokd.records import Stage, content_hash
from autokd.shared import NOWHERE, Shared
from autokd.students import InputFormat, Seen, look_inside

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teacher:
    """A frozen model in eval mode, with what it wants to see; an assistant that has been trained is one too."""

    model: nn.Module  # on `device`
    inputs: InputFormat
    hash: str  # of everything that made it
    device: torch.device
    precision: str = "auto"  # that students are answered in; audits are not
    notes: tuple[str, ...] = ()  # on its weights: what was loaded, left and new

    def __post_init__(self) -> None:
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.eval().requires_grad_(False)


class Mixture(nn.Module):
    """Several teachers as one, whose logits are the log of the weighted mean of their probabilities: (B, C).

    Each member is given the pixels as it wants them, so the mixture takes them as they are stored.
    """

    log_shares: Tensor  # (members, 1, 1)

    def __init__(self, members: Sequence[Teacher], weights: Sequence[float]) -> None:
        super().__init__()
        self.models = nn.ModuleList(member.model for member in members)
        self.members = tuple(members)
        shares = torch.tensor(weights) / sum(weights)
        self.register_buffer("log_shares", shares.log().view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        logs = [
            F.log_softmax(full_precision(member.model(member.inputs.prepare(pixels))), dim=-1)
            for member in self.members
        ]
        mixed: Tensor = torch.logsumexp(torch.stack(logs) + self.log_shares, dim=0)
        return mixed


class CachedLogits:
    """A teacher's raw logits on every view of the training images: (N, C) float16 a view, kept on disk.

    Raw, so that temperature and loss stay free (but see `to_half`); views are deterministic, so they are the logits of the very
    pixels that the student sees. A view is computed when first asked for, once for all trials and searches.
    Features (N, D) are kept likewise, beside them, for who asks for any. What `shared` has is not computed.
    """

    def __init__(
        self,
        teacher: Teacher,
        views: Views,
        folder: Path,
        *,
        classes: int,
        shared: Shared = NOWHERE,
    ) -> None:
        self._teacher = teacher
        self._views = views
        self._folder = folder
        self._shared = shared
        self._shape = (len(views.split.labels), classes)
        self._tables: dict[tuple[str, int], Tensor] = {}
        # of each kind the view in use, where batches are: nothing is fetched from a GPU at a step
        self._near: dict[str, tuple[int, Tensor]] = {}

    def logits(self, batch: Batch, view: int) -> Tensor:
        """(B, C) float32 on the batch's device."""
        return self._rows("logits", batch, view, self._shape)

    def features(self, batch: Batch, view: int) -> Tensor:
        """(B, D) float32 on the batch's device: what the classifier is given."""
        return self._rows("features", batch, view, (self._shape[0], self.feature_count))

    def maps(self, batch: Batch, view: int, taps: int) -> tuple[Tensor, ...]:
        raise NotImplementedError("maps are too large to keep: ask LiveLogits")

    def all_features(self) -> Tensor:
        """(N, D) float16 on the CPU: of every image of the first view."""
        return self._load("features", 0, (self._shape[0], self.feature_count))

    @cached_property
    def feature_count(self) -> int:
        teacher = self._teacher
        return count_features(
            teacher.model, self._views.split, inputs=teacher.inputs, device=teacher.device
        )

    def val_logits(self, val: Split) -> Tensor:
        """(M, C) float32 on the CPU. Not augmented, and not trained on."""
        teacher = self._teacher
        name = content_hash([teacher.hash, teacher.inputs.identity(), self._views.data_hash])
        return self._kept(
            f"val-logits-{name}.npy",
            shape=(len(val), self._shape[1]),
            dtype=np.float32,
            make=lambda: [
                predict(teacher.model, val, inputs=teacher.inputs, device=teacher.device).numpy()
            ],
        )

    def _rows(self, kind: str, batch: Batch, view: int, shape: tuple[int, int]) -> Tensor:
        if (kind, view) not in self._tables:
            self._tables[kind, view] = self._load(kind, view, shape)
        if kind not in self._near or self._near[kind][0] != view:
            self._near[kind] = view, self._tables[kind, view].to(batch.index.device)
        return self._near[kind][1][batch.index].float()

    def _load(self, kind: str, view: int, shape: tuple[int, int]) -> Tensor:
        name = content_hash(
            [self._teacher.hash, self._teacher.inputs.identity(), self._views.fingerprint]
        )
        file = f"{kind}-{name}-{view}.npy"
        table = self._kept(
            file, shape=shape, dtype=np.float16, make=lambda: self._compute(kind, view)
        )
        if broken := int((~table.isfinite().all(dim=-1)).sum()):
            raise CheckpointError(
                f"the teacher's {kind} are NaN, infinite or too large for half precision on {broken} of {len(table)} "
                f"images (view {view + 1}): mend its weights or its normalisation. If an earlier "
                f"autokd wrote {self._folder / file}, delete that file"
            )
        return table

    def _kept(
        self,
        name: str,
        *,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        make: Callable[[], Iterable[np.ndarray]],
    ) -> Tensor:
        path = self._folder / name
        self._shared.fetch(path)
        array = array_file(path, shape=shape, dtype=dtype, make=make)
        self._shared.publish(path)
        return array

    @torch.inference_mode()
    def _compute(self, kind: str, view: int) -> Iterator[NDArray[np.float16]]:
        teacher = self._teacher
        log.info("asking the teacher for %s of view %d, %d images", kind, view + 1, self._shape[0])

        def ask(batch: Batch) -> Tensor:
            with autocast(teacher.device, teacher.precision):
                pixels = teacher.inputs.prepare(batch.pixels)
                seen = look_inside(teacher.model, pixels, pooled=kind == "features")
            return seen.logits if seen.pooled is None else seen.pooled

        most = EVAL_BATCH
        for batch in view_batches(
            self._views, view=view, batch_size=EVAL_BATCH, device=teacher.device
        ):
            attempt = partial(_in_parts, ask, batch)
            values, most = shrink_to_fit(attempt, most, least=2)
            values = values.cpu()
            yield (to_half(values) if kind == "logits" else values.to(torch.float16)).numpy()


def to_half(logits: Tensor) -> Tensor:
    """(B, C) in half precision. Rows that it can't hold are shifted first, so that their highest value is 0.

    No softmax is changed by that, and a class that is still out of reach had no probability to lose.
    """
    half = logits.to(torch.float16)
    lost = half.isinf().any(dim=-1, keepdim=True) & logits.isfinite().all(dim=-1, keepdim=True)
    if not lost.any():
        return half
    shifted = logits.double() - logits.double().amax(dim=-1, keepdim=True)
    lowest = torch.finfo(torch.float16).min
    return torch.where(lost, shifted.clamp(min=lowest).to(torch.float16), half)


def _in_parts(ask: Callable[[Batch], Tensor], batch: Batch, most: int) -> Tensor:
    return torch.cat([ask(part) for part in split_batch(batch, most)])


class LiveLogits(CachedLogits):
    """A teacher that is asked anew for every batch, for what can't be kept: maps, and pixels that no view has.

    Each step then costs a forward pass of the teacher.
    """

    _batch: Batch | None = None  # that `_seen` is of
    _seen: Seen

    def __init__(
        self,
        teacher: Teacher,
        views: Views,
        folder: Path,
        *,
        taps: int,
        pooled: bool,
        **options: Any,
    ) -> None:
        super().__init__(teacher, views, folder, **options)
        self._wanted: dict[str, Any] = {"taps": taps, "pooled": pooled}

    def logits(self, batch: Batch, view: int) -> Tensor:  # noqa: ARG002 - the batch has the pixels
        return self._look(batch).logits.float()

    def features(self, batch: Batch, view: int) -> Tensor:  # noqa: ARG002
        pooled = self._look(batch).pooled
        assert pooled is not None
        return pooled.float()

    def maps(self, batch: Batch, view: int, taps: int) -> tuple[Tensor, ...]:  # noqa: ARG002
        return self._look(batch).maps[:taps]

    @torch.no_grad()
    def _look(self, batch: Batch) -> Seen:
        """Once for each batch, however much is asked of it."""
        if batch is not self._batch:
            teacher = self._teacher
            with autocast(teacher.device, teacher.precision):
                pixels = teacher.inputs.prepare(batch.pixels)
                self._seen = look_inside(teacher.model.eval(), pixels, **self._wanted)
            self._batch = batch
        return self._seen


def answers_for(
    stage: Stage,
    teacher: Teacher,
    views: Views,
    folder: Path,
    *,
    classes: int,
    shared: Shared = NOWHERE,
) -> CachedLogits:
    """What a teacher says in a stage: kept where that can be."""
    if not needs_live_teacher(stage):
        return CachedLogits(teacher, views, folder, classes=classes, shared=shared)
    taps, pooled = features_needed(stage)
    return LiveLogits(
        teacher, views, folder, taps=taps, pooled=pooled, classes=classes, shared=shared
    )


def needs_live_teacher(stage: Stage) -> bool:
    """Whether its teachers are asked anew at every step."""
    taps, _ = features_needed(stage)
    return bool(stage.teachers) and bool(taps or stage.training.mixup or stage.training.cutmix)
