"""Teachers with weights that were made elsewhere: checkpoints, published weights, models of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config

from autokd.answers import Teacher
from autokd.config import TeacherConfig
from autokd.data.load import ImageData
from autokd.errors import CheckpointError, first_line
from autokd.records import StudentSpec, content_hash
from autokd.students import InputFormat, code_of, takes_image_size
from autokd.teachers.build import build_student
from autokd.weights import hash_file, hash_weights, load_checkpoint


def from_checkpoint(
    path: Path, spec: StudentSpec, inputs: InputFormat, data: ImageData, device: torch.device
) -> Teacher:
    """Weights from a .safetensors file, or from a state dict that torch reads without running any code."""
    classes, channels = len(data.info.class_names), data.info.channels
    model = build_student(spec, data)
    try:
        loaded = load_checkpoint(model, path, name=spec.model, classes=classes, channels=channels)
    except CheckpointError as error:
        raise CheckpointError(f"teacher.checkpoint {error}") from error
    taken = [str(loaded.choice)] if loaded.choice and loaded.choice.averaged else []  # once the raw
    key = content_hash([hash_file(path), spec.identity(), *code_of(spec.model), *taken])
    return Teacher(model, inputs, key, device)


def pretrained(
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


def own(spec: StudentSpec, inputs: InputFormat, data: ImageData, device: torch.device) -> Teacher:
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
