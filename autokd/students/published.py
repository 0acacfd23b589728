"""What is known of published weights before they are fetched: timm's own table, or the file beside a local copy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
from timm.models import PretrainedCfg

from autokd.students.families import FAMILIES
from autokd.students.own import is_own

CONFIG = "config.json"  # that timm writes beside weights for the hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What published weights were trained for."""

    classes: int  # 0: a backbone without any
    channels: int
    image_size: int
    fixed_size: bool  # whether the model takes images of one size alone, which it is made for
    mean: tuple[float, ...]  # of each channel, pixels 0..1
    std: tuple[float, ...]
    interpolation: str  # bicubic, bilinear, …
    crop_share: float  # of the resized image's side that the centre crop keeps
    source: str | None  # the hub's name of them, or their address
    licence: str | None  # as timm has it


def published(model: str, file: Path | None = None) -> Published | None:
    """Return what timm's weights called `model` were trained for; of a local file what its config.json says instead.

    None: timm has no such model, or no weights of it and there is no file. Nothing is fetched.
    """
    if model in FAMILIES or is_own(model) or not timm.is_model(model):
        return None
    known = timm.get_pretrained_cfg(model)
    if known is None or not (known.has_weights or file):
        return None
    return _described({**asdict(known), **(_beside(file, known) if file else {})})


def _beside(file: Path, known: PretrainedCfg) -> dict[str, Any]:
    """What the file's folder says of these weights."""
    try:
        said = json.loads((file.parent / CONFIG).read_text(encoding="utf-8"))
        config: Mapping[str, Any] = said["pretrained_cfg"]
        own = {key: config[key] for key in asdict(known) if config.get(key) is not None}
        own |= {key: said[key] for key in ("num_classes",) if key in said}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        own = {}
    return {**own, "file": str(file)}


def _described(config: Mapping[str, Any]) -> Published:
    channels, _, size = config["input_size"]
    return Published(
        classes=config["num_classes"],
        channels=channels,
        image_size=size,
        fixed_size=config["fixed_input_size"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        crop_share=config["crop_pct"],
        source=config.get("file") or config.get("hf_hub_id") or config.get("url"),
        licence=config.get("license"),
    )
