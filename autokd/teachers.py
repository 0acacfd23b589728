"""Teachers: loaded from weights, or trained once and found again."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from filelock import FileLock
from timm.data.config import resolve_model_data_config
from torch import nn

from autokd.answers import CachedLogits, Mixture, Teacher
from autokd.appraisal import refuse_no_logits
from autokd.class_order import Reordered, places_in
from autokd.config import TeacherConfig, TeacherTrainConfig
from autokd.cost import Probe, measure_cost, sum_costs
from autokd.data.load import ImageData
from autokd.data.views import Views
from autokd.distill import BEST, train_stage
from autokd.errors import CheckpointError, ConfigError, ExportError, first_line, storage_errors
from autokd.evaluation import Evaluation, predict, score
from autokd.mitigation import NONE
from autokd.objective import TeacherLogits
from autokd.records import Cost, Epoch, Stage, StudentSpec, TeacherInfo, Training, content_hash
from autokd.shared import NOWHERE, Shared
from autokd.students import InputFormat, code_of, create_student, deployed, is_own, takes_image_size
from autokd.weights import hash_file, hash_weights, load_checkpoint, load_weights

__all__ = [
    "CachedLogits",
    "Teacher",
    "build_student",
    "create",
    "describe_epoch",
    "describe_teacher",
    "inputs_of",
    "kept_in",
    "load_teacher",
    "load_those_at_hand",
    "measure_student",
    "measure_teacher",
    "needs_training",
    "train_once",
    "views_of",
]

log = logging.getLogger(__name__)

TRAINED = "teachers"  # the folder of those that were trained here
DONE = "stage.json"  # beside the weights, when they are whole


def load_teacher(
    config: TeacherConfig,
    data: ImageData,
    *,
    cache: Path,
    seed: int,
    device: torch.device,
    shared: Shared = NOWHERE,
    probe: Probe | None = None,
) -> tuple[Teacher, TeacherInfo]:
    """The teacher of a search and its measurements, with its latency if there is a `probe`; trained first where the search file says so.

    Raises CheckpointError where weights are missing, don't fit or want to run code.
    """
    if config.ensemble:
        return _load_ensemble(
            config, data, cache=cache, seed=seed, device=device, shared=shared, probe=probe
        )
    stage = describe_teacher(config, data)
    spec = stage.student
    inputs = _shown_to(config, spec, data)
    if config.train:
        key = _training_key(stage, inputs, data, seed)
        teacher = train_once(
            stage, [], data=data, inputs=inputs, key=key, folder=cache / TRAINED, device=device,
            cache=cache, shared=shared,
        )  # fmt: skip
        source = "trained here"
    elif config.pretrained and is_own(spec.model):
        teacher = _own(spec, inputs, data, device)
        source = f"weights of {spec.model}"
    elif config.checkpoint:
        teacher = _from_checkpoint(config.checkpoint, spec, inputs, data, device)
        source = str(config.checkpoint)
    else:
        teacher = _pretrained(config, spec, inputs, data, device)
        source = "pretrained weights of timm"
    if config.classes:
        teacher = _in_order_of(data, config.classes, teacher)
    teacher = _answering_in(config.precision, teacher)
    measured = _measure(teacher, data)
    return teacher, TeacherInfo(
        name=spec.model,
        hash=teacher.hash,
        cost=measure_teacher(config, data, probe=probe, cache=cache),
        val_accuracy=measured.accuracy,
        source=source,
    )


def measure_teacher(
    config: TeacherConfig, data: ImageData, *, probe: Probe | None, cache: Path
) -> Cost:
    """With its latency if there is a `probe`; an ensemble's costs are its members' together."""
    costs = [
        measure_student(describe_teacher(member, data).student, data, probe=probe, cache=cache)
        for member in config.members
    ]
    return sum_costs(costs) if config.ensemble else costs[0]


def _load_ensemble(
    config: TeacherConfig, data: ImageData, *, seed: int, device: torch.device, **places: Any
) -> tuple[Teacher, TeacherInfo]:
    """Its members, each trained from a seed of its own where they are, and all of them measured as one."""
    loaded = [
        load_teacher(member, data, seed=seed + place, device=device, **places)
        for place, member in enumerate(config.ensemble)
    ]
    members, infos = [teacher for teacher, _ in loaded], [info for _, info in loaded]
    weights = [member.weight for member in config.ensemble]
    channels = data.info.channels
    teacher = Teacher(
        Mixture(members, weights),
        InputFormat(  # pixels as they are: 0..255
            image_size=data.info.image_size, mean=(0.0,) * channels, std=(1 / 255,) * channels
        ),
        content_hash([[member.hash, asdict(member.inputs)] for member in members] + weights),
        device,
    )
    teacher = _answering_in(config.precision, teacher)
    measured = _measure(teacher, data)
    return teacher, TeacherInfo(
        name=" + ".join(info.name for info in infos),
        hash=teacher.hash,
        cost=sum_costs([info.cost for info in infos]),
        val_accuracy=measured.accuracy,
        source="ensemble: " + ", ".join(info.source for info in infos),
    )


def needs_training(config: TeacherConfig, data: ImageData, *, cache: Path, seed: int) -> bool:
    """Whether `load_teacher` would train: the search file says so, and nobody has yet."""
    kept = kept_in(config, data, cache=cache, seed=seed)
    return len(kept) < sum(member.train is not None for member in config.members)


def kept_in(config: TeacherConfig, data: ImageData, *, cache: Path, seed: int) -> list[Path]:
    """The folders of its members that have been trained."""
    homes = [
        cache / TRAINED / _key(member, data, seed + place)
        for place, member in enumerate(config.members)
        if member.train
    ]
    return [home for home in homes if (home / DONE).exists()]


def load_those_at_hand(
    config: TeacherConfig, data: ImageData, *, cache: Path, seed: int, device: torch.device
) -> None:
    """Raise what `load_teacher` would raise about members that it would not train."""
    for place, member in enumerate(config.members):
        if not needs_training(member, data, cache=cache, seed=seed + place):
            load_teacher(member, data, cache=cache, seed=seed + place, device=device)


def _key(config: TeacherConfig, data: ImageData, seed: int) -> str:
    stage = describe_teacher(config, data)
    return _training_key(stage, _shown_to(config, stage.student, data), data, seed)


def _training_key(stage: Stage, inputs: InputFormat, data: ImageData, seed: int) -> str:
    code = code_of(stage.student.model)
    return content_hash([stage.identity(), asdict(inputs), data.drawing(), seed, *code])


def _shown_to(config: TeacherConfig, spec: StudentSpec, data: ImageData) -> InputFormat:
    """Raises ConfigError where mean and std are not of the data's channels."""
    mean, std, channels = config.mean or data.mean, config.std or data.std, data.info.channels
    if len(mean) != channels or len(std) != channels:
        raise ConfigError(
            f"teacher.mean and std need {channels} values, one for each channel of the data, "
            f"got {len(mean)} and {len(std)}; data.channels sets how many the data has"
        )
    return InputFormat(image_size=spec.image_size, mean=mean, std=std)


def _in_order_of(data: ImageData, classes: tuple[str, ...], teacher: Teacher) -> Teacher:
    """A teacher whose logits stand in the order of `classes`, with its logits in the data's order."""
    order = places_in(data.info.class_names, classes, "teacher.classes")
    if (order == np.arange(len(order))).all():
        return teacher
    model = Reordered(teacher.model, order)
    return replace(teacher, model=model, hash=content_hash([teacher.hash, order.tolist()]))


def _measure(teacher: Teacher, data: ImageData) -> Evaluation:
    """On val. Raises CheckpointError where its answers are no logits."""
    logits = predict(teacher.model, data.val, inputs=teacher.inputs, device=teacher.device)
    refuse_no_logits(teacher.model, logits)
    return score(logits, data.val.labels)


def _answering_in(precision: str, teacher: Teacher) -> Teacher:
    """What it says differs in the last digits, so that it is another teacher."""
    if precision == "auto":
        return teacher
    return replace(teacher, precision=precision, hash=content_hash([teacher.hash, precision]))


def describe_teacher(config: TeacherConfig, data: ImageData) -> Stage:
    """One teacher's architecture, and how it is trained if it is to be: a stage without teachers."""
    assert config.model is not None
    spec = StudentSpec(
        model=config.model,
        arguments={k: tuple(v) if isinstance(v, list) else v for k, v in config.arguments.items()},
        image_size=config.image_size or data.info.image_size,
    )
    return Stage(
        name="teacher",
        student=spec,
        teachers=(),
        loss_weights={"ce": 1.0},
        temperature=1.0,
        training=Training(**(config.train or TeacherTrainConfig()).model_dump()),
    )


def train_once(
    stage: Stage,
    teachers: Sequence[TeacherLogits],
    *,
    data: ImageData,
    inputs: InputFormat,
    key: str,
    folder: Path,
    device: torch.device,
    cache: Path,
    shared: Shared = NOWHERE,
) -> Teacher:
    """A model trained under a name made of all that made it, and found again by whoever needs it next.

    `key` is that name. Seeds follow from it. Others on this machine who want the same model meanwhile wait; on
    another machine they train it as well, which comes to the same.
    """
    if (
        stage.mitigation != NONE
    ):  # then groups have a part in it, which the data's hash does not know
        key = content_hash(
            [key, data.train.group_numbers.tolist(), data.val.group_numbers.tolist()]
        )
    home = folder / key
    done = home / DONE
    seed = int(key, 16) % 2**31
    with storage_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    with storage_errors(home), FileLock(home / "training.lock"):
        for part in (home / BEST, done):  # in this order: who sees the second may take the first
            shared.fetch(part)
        if not done.exists():
            log.info(
                "training %s: %s, %d epochs", stage.name, stage.student.model, stage.training.epochs
            )
            torch.manual_seed(seed)
            model = create(stage, data, start=True)
            epochs = train_stage(
                stage,
                model,
                teachers,
                inputs=inputs,
                views=views_of(stage, data, cache=cache),
                val=data.val,
                seed=seed,
                device=device,
                folder=home,
            )
            history = []
            for epoch in epochs:
                log.info("%s: %s", stage.name, describe_epoch(epoch, stage.training.epochs))
                history.append(asdict(epoch))
            done.write_text(json.dumps({"stage": asdict(stage), "history": history}, indent=1))
        for part in (home / BEST, done):
            shared.publish(part)
    model = create(stage, data)
    load_weights(model, home / BEST)
    return Teacher(model, inputs, key, device)


def views_of(stage: Stage, data: ImageData, *, cache: Path) -> Views:
    """What the stage's student is shown, and its teachers are asked about."""
    taught = bool(stage.teachers)
    return data.views(stage.training.augmentation, cache=cache, taught=taught)


def describe_epoch(epoch: Epoch, epochs: int) -> str:
    """``epoch 3 of 10, val 89.12%, 34 s``."""
    return f"epoch {epoch.epoch} of {epochs}, val {epoch.val_accuracy:.2%}, {epoch.seconds:.0f} s"


def build_student(
    spec: StudentSpec, data: ImageData, *, start: bool = False, **rates: float
) -> nn.Module:
    """For the data's classes and channels, freshly initialised, or with `start` from the weights that it starts from;
    `rates`: drop_rate, drop_path_rate."""
    classes, channels = len(data.info.class_names), data.info.channels
    return create_student(spec, classes=classes, channels=channels, start=start, **rates)


def inputs_of(spec: StudentSpec, data: ImageData) -> InputFormat:
    """What a student of this data is shown."""
    mean, std = spec.mean or data.mean, spec.std or data.std
    return InputFormat(image_size=spec.image_size, mean=mean, std=std)


def create(stage: Stage, data: ImageData, *, start: bool = False) -> nn.Module:
    """The stage's student with its dropout and stochastic depth; `start` as for `build_student`."""
    rates = {
        "drop_rate": stage.training.drop_rate,
        "drop_path_rate": stage.training.drop_path_rate,
    }
    return build_student(stage.student, data, start=start, **rates)


def measure_student(
    spec: StudentSpec,
    data: ImageData,
    *,
    probe: Probe | None,
    cache: Path,
    decides: bool = False,
) -> Cost:
    """What the model costs in its deployed form; its latency, where ONNX can't hold the model, stays unknown.

    `decides`: whether anything is decided by the latency.
    """
    measure = partial(
        measure_cost,
        lambda: deployed(build_student(spec, data)),
        (data.info.channels, spec.image_size, spec.image_size),
        precision=spec.precision,
        key=content_hash([spec.architecture(), len(data.info.class_names), *code_of(spec.model)]),
        folder=cache / "latencies",
        decides=decides,
        check=False,  # against a second count: of the trained student, when it is finished
    )
    try:
        return measure(probe=probe)
    except ExportError as error:
        log.warning("no latency of %s: %s", spec.describe(), error)
        return measure(probe=None)


def _from_checkpoint(
    path: Path, spec: StudentSpec, inputs: InputFormat, data: ImageData, device: torch.device
) -> Teacher:
    """Weights from a .safetensors file, or from a state dict that torch reads without running any code."""
    classes, channels = len(data.info.class_names), data.info.channels
    model = build_student(spec, data)
    try:
        load_checkpoint(model, path, name=spec.model, classes=classes, channels=channels)
    except CheckpointError as error:
        raise CheckpointError(f"teacher.checkpoint {error}") from error
    key = content_hash([hash_file(path), spec.identity(), *code_of(spec.model)])
    return Teacher(model, inputs, key, device)


def _pretrained(
    config: TeacherConfig,
    spec: StudentSpec,
    inputs: InputFormat,
    data: ImageData,
    device: torch.device,
) -> Teacher:
    """timm's pretrained weights, whose classes must be the data's; their own normalisation unless one is given."""
    size = _published_size(config, spec, data)
    try:
        model = timm.create_model(
            spec.model, pretrained=True, in_chans=data.info.channels, **size, **dict(spec.arguments)
        )
    except Exception as error:  # noqa: BLE001 - whatever the hub's client raises: no network, no such weights
        raise CheckpointError(
            f"teacher.pretrained: weights of {spec.model} can't be had: {first_line(error)}; "
            "give teacher.checkpoint a local file instead"
        ) from None
    own: dict[str, Any] = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    if len(own["mean"]) == data.info.channels:
        inputs = replace(inputs, mean=config.mean or own["mean"], std=config.std or own["std"])
    key = content_hash([str(model.pretrained_cfg), spec.identity()])
    return Teacher(model, inputs, key, device)


def _published_size(config: TeacherConfig, spec: StudentSpec, data: ImageData) -> dict[str, Any]:
    """What timm is told of the images' size. Raises CheckpointError where published weights don't fit the data.

    Known before anything is downloaded.
    """
    published, classes = timm.get_pretrained_cfg(spec.model), len(data.info.class_names)
    if published is None:
        return {}
    if published.num_classes != classes:
        raise CheckpointError(
            f"teacher.pretrained: {spec.model} knows {published.num_classes} classes and the data has {classes}; "
            "fine-tune it first and give the result as teacher.checkpoint, or use teacher.train"
        )
    own = published.input_size[-1]
    if own == spec.image_size or not takes_image_size(spec.model):
        return {}
    if config.image_size is None:
        raise CheckpointError(
            f"teacher.pretrained: {spec.model} was trained at {own} px and the data has {spec.image_size}; "
            f"set teacher.image_size: {own}"
        )
    return {"img_size": spec.image_size}


def _own(spec: StudentSpec, inputs: InputFormat, data: ImageData, device: torch.device) -> Teacher:
    """A model of the user's own, with the weights that it comes with: every worker makes it again."""
    model, again = (build_student(spec, data) for _ in "ab")
    weights = hash_weights(model)
    if hash_weights(again) != weights:
        raise CheckpointError(
            f"teacher.pretrained: {spec.model} returns other weights each time; let it load them from a file, "
            "or use teacher.checkpoint or teacher.train"
        )
    key = content_hash([weights, spec.identity(), *code_of(spec.model)])
    return Teacher(model, inputs, key, device)
