"""From a StudentSpec to a fresh nn.Module, and from wildcards to model names."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from functools import cache
from typing import Any

import timm
from torch import nn

from autokd.errors import ConfigError, nearest_name
from autokd.records import StudentSpec
from autokd.students.families import FAMILIES
from autokd.students.own import is_own, make_own


def create_student(
    spec: StudentSpec,
    *,
    classes: int,
    channels: int,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
) -> nn.Module:
    """A freshly initialised model: (B, channels, S, S) float -> (B, classes) logits, S = spec.image_size.

    Raises ConfigError where the model does not take its arguments.
    """
    kwargs: dict[str, Any] = dict(spec.arguments) | {"num_classes": classes, "in_chans": channels}
    rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
    kwargs |= {name: rate for name, rate in rates.items() if rate > 0}
    if is_own(spec.model):
        return make_own(spec.model, image_size=spec.image_size, **kwargs)
    try:
        if spec.model in FAMILIES:
            return FAMILIES[spec.model].build(image_size=spec.image_size, **kwargs)
        if _takes_image_size(spec.model):
            kwargs["img_size"] = spec.image_size
        return timm.create_model(spec.model, pretrained=False, **kwargs)
    except (TypeError, ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
        given = " ".join(f"{k}={v}" for k, v in kwargs.items())
        raise ConfigError(
            f"model '{spec.model}' can't be made with {given} at {spec.image_size} px: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error


def expand_model_names(names: Sequence[str]) -> tuple[str, ...]:
    """Families and timm names as they are, wildcards as all that they match; order kept, no repeats."""
    known = [*FAMILIES, *_timm_names()]
    expanded: dict[str, None] = {}
    for name in names:
        matches = fnmatch.filter(_timm_names(), name) if any(c in name for c in "*?[") else [name]
        if not matches:
            raise ConfigError(f"no timm model matches '{name}'; see timm.list_models()")
        if matches == [name] and name not in known:
            raise ConfigError(
                f"unknown model '{name}'; known: the families {', '.join(FAMILIES)}"
                f" and timm's {len(_timm_names())} models.{nearest_name(name, known)}"
            )
        expanded |= dict.fromkeys(matches)
    return tuple(expanded)


@cache
def _timm_names() -> tuple[str, ...]:
    return tuple(timm.list_models())


@cache
def _takes_image_size(model: str) -> bool:
    """timm's transformers are built for one size and take it as `img_size`; its convolutional nets refuse the word."""
    import torch

    try:
        with torch.device("meta"):
            timm.create_model(model, pretrained=False, img_size=224)
    except TypeError as error:
        if "img_size" in str(error):
            return False
        raise
    except (AssertionError, ValueError, RuntimeError):
        pass  # it knows the word, and wants another size
    return True
