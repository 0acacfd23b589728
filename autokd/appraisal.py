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
            found = _doubts(its, own, val, data, config=member)
            doubts += [f"member {place} ({member.model}): {each}" for each in found]
    else:
        doubts += _doubts(teacher, logits, val, data, config=config)
    return Appraisal(
        accuracy=score(logits, val.labels).accuracy,
        images=len(val),
        chance=1 / len(names),
        doubts=tuple(doubts),
        kept=tuple(kept),
    )


def _doubts(
    teacher: Teacher, logits: Tensor, val: Split, data: ImageData, *, config: TeacherConfig
) -> Iterator[str]:
    """What explains its answers best; that it is at chance, where nothing does."""
    names = data.info.class_names
    accuracy = score(logits, val.labels).accuracy
    if logits.min() >= 0 and logits.max() <= 1:
        yield "all that it answers lies in 0..1, as behind a sigmoid; students learn from logits"
    explained = [] if config.train else [*_other_inputs(teacher, logits, data)]
    predicted = logits.argmax(dim=-1)
    if other := find_other_order(predicted.numpy(), val.labels.numpy(), names):
        explained.append((other.accuracy, f"val would be {other.advice()}"))
    best, cause = max(explained, default=(0.0, ""))
    if cause:
        yield cause
    guess = float(val.labels.bincount().max()) / len(val)
    noise = 2 * math.sqrt(guess * (1 - guess) / len(val))
    if best < 0.5 and accuracy < guess + noise:  # a net of random weights has a best order, too
        yield (
            f"hardly better than one answer to every image ({guess:.1%}), and students learn what it says; {_cure(config)}"
        )


def _cure(config: TeacherConfig) -> str:
    if not config.train:
        return "look at its weights, image_size, mean, std and classes"
    if config.fine_tuned:
        return "fine-tune all of it (teacher.train.what: all) for more epochs or at a larger image_size, or give it more images"
    return "give it more epochs (teacher.train), another learning rate or more images"


def _other_inputs(teacher: Teacher, logits: Tensor, data: ImageData) -> Iterator[tuple[float, str]]:
    """Each mean and std with which it is right far more often, on some of val."""
    val, current = data.val, teacher.inputs
    chosen = torch.linspace(0, len(val) - 1, min(SAMPLE, len(val))).long()
    labels = val.labels[chosen]
    now = score(logits[chosen], labels).accuracy
    guess = float(labels.bincount().max()) / len(labels)
    enough = max(now, guess) + max(GAIN, 10 / len(labels))
    if enough > 1:
        return
    pixels = torch.stack([val.images[place] for place in chosen.tolist()])
    some = Split(images=MemoryImages(pixels), labels=labels, rows=val.rows[chosen], metadata=None)
    for mean, std in _ways(data):
        inputs = replace(current, mean=mean, std=std)
        if _alike(inputs, current):
            continue
        own = predict(teacher.model, some, inputs=inputs, device=teacher.device)
        accuracy = score(own, labels).accuracy
        if accuracy >= enough:
            shown = [[round(value, 4) for value in values] for values in (mean, std)]
            yield (
                accuracy,
                f"its normalisation looks wrong: {accuracy:.1%} of {len(labels)} val images are right with mean "
                f"{shown[0]} and std {shown[1]}, and {now:.1%} as it is; set teacher.mean and teacher.std to those",
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
