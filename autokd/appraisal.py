"""What a teacher is worth on val before anything learns from it, and what looks wrong with its answers."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from autokd.answers import Mixture, Teacher
from autokd.class_order import find_other_order
from autokd.config import TeacherConfig
from autokd.data.images import MemoryImages
from autokd.data.load import ImageData, Split
from autokd.errors import CheckpointError
from autokd.evaluation import predict, score
from autokd.students import InputFormat

log = logging.getLogger(__name__)

SAMPLE = 200  # val images that are shown normalised in other ways
GAIN = 0.1  # of accuracy, that another way must bring before it is named
USUAL = (  # mean and std of a channel, or of three
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ImageNet's
    ((0.5,), (0.5,)),
    ((0.0,), (1.0,)),  # pixels in 0..1
    ((0.0,), (1 / 255,)),  # and in 0..255
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisal:
    """A teacher on val, beside what guesses come to."""

    accuracy: float  # 0..1
    images: int
    chance: float  # 0..1
    doubts: tuple[str, ...]  # a sentence each, with what to do
    kept: tuple[Path, ...]  # of those that an earlier search has trained

    def sentence(self) -> str:
        """``val 54.4 % of 250 images (chance 20 %)``, and how to train it anew."""
        text = f"val {100 * self.accuracy:.1f} % of {self.images:,} images (chance {100 * self.chance:.3g} %)"
        if self.kept:
            text += f"; trained before: delete {', '.join(map(str, self.kept))} to train it anew"
        return text

    def say(self) -> None:
        log.info("teacher: %s", self.sentence())
        for doubt in self.doubts:
            log.warning("teacher: %s", doubt)


def refuse_no_logits(model: nn.Module, logits: Tensor) -> None:
    """Raises CheckpointError where answers (N, C) are not numbers, or are probabilities already."""
    if broken := int((~logits.isfinite().all(dim=-1)).sum()):
        named = {n: t for n, t in model.state_dict().items() if t.is_floating_point()}
        where = next((n for n, t in named.items() if not t.isfinite().all()), None)
        cause = (
            f"so are its weights ({where})"
            if where
            else "its weights are numbers: look at its normalisation, and mask classes by −10,000 if any"
        )
        raise CheckpointError(
            f"teacher: NaN or infinite logits for {broken} of {len(logits)} val images; {cause}"
        )
    if logits.min() >= 0 and (logits.sum(dim=-1) - 1).abs().max() < 0.02:  # bf16 rounds
        raise CheckpointError(
            "teacher: it answers with probabilities (from 0 to 1, of sum 1), and students learn from logits; "
            "leave its softmax out, or return the logarithm: p.clamp_min(1e-8).log()"
        )


def appraise(
    config: TeacherConfig,
    teacher: Teacher,
    data: ImageData,
    logits: Tensor,
    *,
    kept: Sequence[Path] = (),
) -> Appraisal:
    """Of a teacher and its logits (N, C) on val; members of an ensemble are doubted one by one."""
    val, names = data.val, data.info.class_names
    doubts: list[str] = []
    if isinstance(teacher.model, Mixture):
        for place, (member, its) in enumerate(
            zip(config.members, teacher.model.members, strict=True), start=1
        ):
            own = predict(its.model, val, inputs=its.inputs, device=its.device)
            found = _doubts(its, own, val, data, made_here=member.train is not None)
            doubts += [f"member {place} ({member.model}): {each}" for each in found]
    else:
        doubts += _doubts(teacher, logits, val, data, made_here=config.train is not None)
    return Appraisal(
        accuracy=score(logits, val.labels).accuracy,
        images=len(val),
        chance=1 / len(names),
        doubts=tuple(doubts),
        kept=tuple(kept),
    )


def _doubts(
    teacher: Teacher, logits: Tensor, val: Split, data: ImageData, *, made_here: bool
) -> Iterator[str]:
    """The first cause that is found, or else that it is at chance."""
    names = data.info.class_names
    accuracy = score(logits, val.labels).accuracy
    predicted = logits.argmax(dim=-1)
    if logits.min() >= 0 and logits.max() <= 1:
        yield "all that it answers lies in 0..1, as behind a sigmoid; students learn from logits"
    if other := find_other_order(predicted.numpy(), val.labels.numpy(), names):
        yield f"val would be {other.advice()}"
        return
    if not made_here and (better := _better_inputs(teacher, logits, data)):
        yield better
        return
    counts = torch.bincount(val.labels, minlength=len(names))
    most, share = int(counts.argmax()), float(counts.max()) / len(val)
    if accuracy < share + 2 * math.sqrt(share * (1 - share) / len(val)):
        yield (
            f"hardly better than the answer '{names[most]}' to every image ({share:.1%}), and students learn what it "
            "says; look at its weights, image_size, mean, std and classes"
        )


def _better_inputs(teacher: Teacher, logits: Tensor, data: ImageData) -> str | None:
    """Another mean and std with which it is right far more often, if there is one."""
    val, current = data.val, teacher.inputs
    chosen = torch.linspace(0, len(val) - 1, min(SAMPLE, len(val))).long()
    some = Split(
        images=MemoryImages(torch.stack([val.images[place] for place in chosen.tolist()])),
        labels=val.labels[chosen],
        rows=val.rows[chosen],
        metadata=None,
    )
    now = score(logits[chosen], some.labels).accuracy
    if now > 1 - GAIN:
        return None
    found = []
    for mean, std in _ways(data):
        inputs = replace(current, mean=mean, std=std)
        if not _alike(inputs, current):
            own = predict(teacher.model, some, inputs=inputs, device=teacher.device)
            found.append((score(own, some.labels).accuracy, inputs))
    best, inputs = max(found, key=lambda each: each[0])
    if best < now + max(GAIN, 10 / len(some)):
        return None
    shown = [[round(value, 4) for value in values] for values in (inputs.mean, inputs.std)]
    return (
        f"its normalisation looks wrong: {best:.1%} of {len(some)} val images are right with mean {shown[0]} and "
        f"std {shown[1]}, and {now:.1%} as it is; set teacher.mean and teacher.std to those"
    )


def _ways(data: ImageData) -> Iterator[tuple[tuple[float, ...], tuple[float, ...]]]:
    yield data.mean, data.std
    channels = data.info.channels
    for mean, std in USUAL:
        if len(mean) in (1, channels):
            yield _for_each(mean, channels), _for_each(std, channels)


def _for_each(values: Sequence[float], channels: int) -> tuple[float, ...]:
    return tuple(values) * (channels // len(values))


def _alike(one: InputFormat, other: InputFormat) -> bool:
    pairs = zip(one.mean + one.std, other.mean + other.std, strict=True)
    return all(math.isclose(a, b, rel_tol=0.05, abs_tol=0.002) for a, b in pairs)
