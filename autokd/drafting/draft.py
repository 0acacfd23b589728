"""The first search file itself: what suits these images, with the reason beside each value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autokd.config import parse_config
from autokd.drafting.images import FoundImages
from autokd.drafting.models import (
    SMALL,
    Ladder,
    Maker,
    heirs_of,
    ladders,
    recognise,
    recognise_as,
    teacher_to_train,
    within,
)
from autokd.quantities import format_count
from autokd.records import Budget

LEAST = 8  # pixels that all families take
FULL = 224  # pixels of photographs where a GPU trains,
ON_CPU = 96  # and where none does
STEPS = 2000  # of training that a student gets, about
EPOCHS = (12, 40)  # at least and at most
SHARE = 10  # of the teacher's MACs that are the limit where none is given: a tenth


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user says about the file; None: not said."""

    teacher: Path | None = None  # its weights
    teacher_model: str | None = None  # with no weights named: timm's published ones
    image_size: int | None = None
    limits: Mapping[str, str | None]  # of the budget section


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftedTeacher:
    """A model, and where its weights come from: nowhere where both are None."""

    model: str
    arguments: Mapping[str, Any]
    checkpoint: Path | None = None  # as they are
    pretrained: Path | bool | None = None  # to be fine-tuned; True: timm's


def draft(found: FoundImages, wishes: Wishes, *, gpu: bool) -> str:
    """A search file with comments. Raises AutoKDError where the teacher or the budget does not fit the images."""
    size, why = _image_size(found, wishes.image_size, gpu=gpu)
    limits = {key: value for key, value in wishes.limits.items() if value is not None}
    int8 = limits.get("target") == "micro"
    maker = Maker(
        classes=len(found.class_counts),
        channels=found.channels,
        precision="int8" if int8 else "fp32",
    )
    teacher = _choose_teacher(wishes, maker, size)
    relatives = heirs_of(teacher.model) if teacher.pretrained else None
    note = "the device's"
    if not limits:
        macs = maker.cost(teacher.model, teacher.arguments, size).macs
        limits = {"max_macs": format_count(macs / SHARE)}
        note = f"a tenth of the teacher's {format_count(macs)}: put your device's limit here, or target: mobile"
    families = within((relatives,) if relatives else ladders(size), _budget(limits), maker, size)
    parts = (
        _head(found),
        _data(found, size, why),
        _teacher(found, teacher),
        f"budget: {_flow(limits)}   # {note}",
        _students(families, size, int8=int8, heirs=relatives is not None),
        _training(found, heirs=relatives is not None),
    )
    return "\n\n".join(parts) + "\n"


def _choose_teacher(wishes: Wishes, maker: Maker, size: int) -> DraftedTeacher:
    model, weights = wishes.teacher_model, wishes.teacher
    if weights:
        found = (
            recognise_as(model, weights, maker, size) if model else recognise(weights, maker, size)
        )
        where = {"checkpoint" if found.fits else "pretrained": weights}
        return DraftedTeacher(model=found.model, arguments={}, **where)
    if model:
        return DraftedTeacher(model=model, arguments={}, pretrained=True)
    trained, arguments = teacher_to_train(size)
    return DraftedTeacher(model=trained, arguments=arguments)


def _budget(limits: Mapping[str, str]) -> Budget:
    """Raises ConfigError as for a search file."""
    rest = {
        "data": {"source": "digits"},
        "teacher": {"model": "resnet", "train": {}},
        "students": {"model": "resnet"},
    }
    return parse_config({**rest, "budget": limits}, source="command line").budget.to_budget()


def _image_size(found: FoundImages, wished: int | None, *, gpu: bool) -> tuple[int, str]:
    least, most = found.sides
    if wished:
        return wished, "as you asked"
    if least < LEAST:
        return LEAST, f"the least that these families take; the shortest side of all is {least}"
    if most <= SMALL:
        return least, "as they are stored" if found.same_size else "the shortest side of all"
    limit = FULL if gpu else ON_CPU
    size = max(32, min(limit, least) // 32 * 32)
    if size < limit:
        return size, "as large as the smallest of them allows"
    return size, "usual for photographs" if gpu else f"no GPU here: {FULL} takes five times as long"


def _head(found: FoundImages) -> str:
    least, most = found.sides
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    brought = found.own_splits or ("train",)
    cut = [name for name in found.counts if name not in brought]
    by_count = sorted(found.class_counts, key=lambda name: found.class_counts[name])
    few, many = by_count[0], by_count[-1]
    lines = [
        "A first search file, from `autokd init`. Next: autokd check FILE, then autokd search FILE.",
        "A value is fixed, a list is a choice, {low, high} is a range that is searched.",
        "",
        f"{sum(found.class_counts.values()):,} {'grey' if found.channels == 1 else 'colour'} images of "
        f"{len(found.class_counts)} classes, {least if least == most else f'{least} to {most}'} px: {counts}.",
    ]
    if found.own_splits:
        lines.append(f"They come as {' and '.join(found.own_splits)}.")
    if cut:
        lines.append(f"A share of each class is cut from train for {' and '.join(cut)}.")
    if found.class_counts[few] < found.class_counts[many]:
        lines.append(
            f"Fewest of class {few!r} ({found.class_counts[few]:,}), most of {many!r} ({found.class_counts[many]:,})."
        )
    return "\n".join(f"# {line}".rstrip() for line in lines)


def _data(found: FoundImages, size: int, why: str) -> str:
    lines = [
        "data:",
        f"  source: {found.source}",
        f"  root: {json.dumps(str(found.root), ensure_ascii=False)}",
        f"  image_size: {size}   # {why}",
    ]
    if not found.same_size:
        lines.append("  # the shorter side is resized to it, and the middle is cut out")
    lines.append(
        "  flip: true   # false where a mirrored image has another label: digits, letters, left and right"
    )
    lines.append(
        "  # per_class: 10   # to see what few labels come to: those of each class; the teacher tells of the rest"
    )
    lines.append(
        "  # also_test: {night: DIR}   # labelled images from elsewhere, which the finished front is tested on"
    )
    if table := found.table:
        described: dict[str, Any] = {
            "path": str(table.path),
            "key": table.key,
            "groups": [*table.groups],
        }
        described |= {"bands": table.bands} if table.bands else {}
        described |= {"cluster": table.cluster} if table.cluster else {}
        lines += [
            f"  # found beside the images: {table.join}",
            *([f"  # not taken: {', '.join(table.others)}"] if table.others else []),
            "  # groups: what audits compare; bands: where numbers are cut (here at quarters); cluster: what must not be in two",
            "  # splits. Leave out what is no group of yours.",
            f"  metadata: {_flow(described)}",
        ]
    return "\n".join(lines)


def _teacher(found: FoundImages, teacher: DraftedTeacher) -> str:
    lines = ["teacher:", f"  model: {teacher.model}"]
    if teacher.checkpoint:
        return "\n".join(
            [
                *lines,
                f"  checkpoint: {json.dumps(str(teacher.checkpoint), ensure_ascii=False)}",
                "  # what it was trained with; left out: the data's own, and the order of the class folders",
                "  # mean: [0.485, 0.456, 0.406]",
                "  # std: [0.229, 0.224, 0.225]",
                f"  # classes: {_flow([*found.class_counts][:10])}"
                + (" and so on" if len(found.class_counts) > 10 else ""),
            ]
        )
    if teacher.pretrained:
        hub = teacher.pretrained is True
        where = "true" if hub else json.dumps(str(teacher.pretrained), ensure_ascii=False)
        why = "   # fetched from the hub once; or a file of them" if hub else ""
        return "\n".join(
            [
                *lines,
                f"  pretrained: {where}{why}",
                "  train: {}   # fine-tuned on these images, once; the next search finds it",
            ]
        )
    lines += [f"  arguments: {_flow(teacher.arguments)}"] if teacher.arguments else []
    settings = {
        "epochs": _epochs(found),
        "batch_size": _batch(found),
        "learning_rate": 0.002,
        "augmentation": "medium",
    }
    return "\n".join(
        [
            *lines,
            f"  train: {_flow(settings)}   # once, on these images; the next search finds it",
            "  # your own instead: checkpoint: teacher.safetensors in place of train",
        ]
    )


def _students(families: tuple[Ladder, ...], size: int, *, int8: bool, heirs: bool) -> str:
    names = ", ".join(ladder.model for ladder in families)
    lines = ["students:", f"  model: [{names}]   # of which some fit the budget"]
    if int8:
        lines.append("  precision: int8   # what such a device runs; accuracy is that of int8")
    if heirs:
        lines.append(
            "  start: heir   # from the teacher's weights; [random, heir] to see what that brings"
        )
    lines.append("  families:")
    for ladder in families:
        low, high = ladder.widths[0], ladder.widths[-1]
        step = ladder.widths[1] - low if len(ladder.widths) > 1 else 0
        width = _flow({"low": low, "high": high, "step": step}) if step else f"{low:g}"
        lines.append(f"    {ladder.model}: {{width: {width}, {ladder.written}}}")
    if size > SMALL and not heirs:
        lines.append(
            "  # With published weights (they are fetched once): model: [mobilenetv3_small_100, resnet18], pretrained: true"
        )
    return "\n".join(lines)


def _training(found: FoundImages, *, heirs: bool) -> str:
    count, batch = found.counts["train"], _batch(found)
    epochs = _epochs(found)
    trials = 30 if count < 2_000 else 60 if count < 20_000 else 100
    steps = epochs * -(-count // batch)
    rates = "low: 2e-3, high: 2e-2" if heirs else "low: 1e-3, high: 1e-2"
    return f"""distill:
  temperature: {{low: 1, high: 8, log: true}}
  weight: {{low: 0.3, high: 3, log: true}}
  label_weight: [0.1, 0.5, 1.0]

schedule:
  assistants: [0, 1]   # a net of middle size between teacher and student, or none

train:
  epochs: {epochs}   # {steps:,} steps; more if val still rises at the end
  batch_size: {batch}   # of {count:,} images
  learning_rate: {{{rates}, log: true}}
  augmentation: [light, medium]

search:
  trials: {trials}   # most are stopped early; `--trials` makes a finished search longer
  # workers: 2   # students trained at a time
  # time: 2h"""


def _batch(found: FoundImages) -> int:
    """Small sets get small batches, so that an epoch has some steps."""
    count = found.counts["train"]
    return 32 if count < 2_000 else 64 if count < 20_000 else 128


def _epochs(found: FoundImages) -> int:
    wanted = round(STEPS * _batch(found) / found.counts["train"])
    return max(EPOCHS[0], min(EPOCHS[1], wanted))


def _flow(value: Any) -> str:
    """YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
