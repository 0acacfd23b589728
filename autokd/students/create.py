"""From a StudentSpec to a fresh nn.Module, and from wildcards to model names."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, cast

import timm
from torch import nn

from autokd.errors import ConfigError, first_line, nearest_name
from autokd.records import HEIR, PRETRAINED, StudentSpec
from autokd.students.families import FAMILIES
from autokd.students.own import is_own, make_own
from autokd.students.pruned import prune
from autokd.students.start import from_hub, load_start, starts_from_file
from autokd.students.strided import survive_training


def create_student(
    spec: StudentSpec,
    *,
    classes: int,
    channels: int,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    start: bool = False,
) -> nn.Module:
    """A freshly initialised model: (B, channels, S, S) float -> (B, classes) logits, S = spec.image_size.

    With `start` it has the weights that the spec starts from, if it names any; its classifier is new where classes differ.
    Raises ConfigError where the model does not take its arguments, CheckpointError where the weights can't be had.
    """
    kwargs: dict[str, Any] = dict(spec.arguments) | {"num_classes": classes, "in_chans": channels}
    rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
    kwargs |= {name: rate for name, rate in rates.items() if rate > 0}
    if spec.pruned:
        whole = replace(spec, pruned=0.0)
        model = create_student(whole, classes=classes, channels=channels, start=start, **rates)
        return prune_student(model, spec, channels=channels, trained=False)
    model = survive_training(_build(spec, kwargs, published=start and spec.start == PRETRAINED))
    if start and starts_from_file(spec):
        load_start(model, spec, classes=classes, channels=channels)
    return model


def _build(spec: StudentSpec, kwargs: dict[str, Any], *, published: bool) -> nn.Module:
    """With random weights, or timm's `published` ones."""
    if is_own(spec.model):
        headed = spec.start is not None and spec.start != HEIR
        return make_own(spec.model, image_size=spec.image_size, headed=headed, **kwargs)
    try:
        if spec.model in FAMILIES:
            return FAMILIES[spec.model].build(image_size=spec.image_size, **kwargs)
        if takes_image_size(spec.model):
            kwargs = kwargs | {"img_size": spec.image_size}
        make = from_hub if published else timm.create_model
        model: Any = make(spec.model, **kwargs)
        if "drop_rate" not in kwargs and getattr(model, "drop_rate", False):
            # what some have by default nobody chose, and no record would tell
            model = make(spec.model, **kwargs | {"drop_rate": 0.0})
        return cast(nn.Module, model)
    except (TypeError, ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
        given = " ".join(f"{k}={v}" for k, v in kwargs.items())
        is_known = spec.model in FAMILIES or timm.is_model(spec.model)
        known = () if is_known else (*FAMILIES, *timm.list_models())
        raise ConfigError(
            f"model '{spec.model}' can't be made with {given} at {spec.image_size} px: "
            f"{first_line(error)}{nearest_name(spec.model, known)}"
        ) from error


def prune_student(
    model: nn.Module, spec: StudentSpec, *, channels: int, trained: bool
) -> nn.Module:
    """The model of the spec before it was pruned, pruned as the spec says, in place. Raises ConfigError."""
    try:
        shape = (channels, spec.image_size, spec.image_size)
        return survive_training(prune(model, shape, spec.pruned, trained=trained))
    except ConfigError as error:
        raise ConfigError(
            f"model '{spec.model}' {error}; set students.prune to 0, or leave the model out"
        ) from None


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Models that timm makes meanwhile spell their attention out, for those who can't look into the fused kind."""
    from timm.layers.config import set_fused_attn, use_fused_attn

    before = use_fused_attn()
    set_fused_attn(False)
    try:
        yield
    finally:
        set_fused_attn(bool(before))


def has_pretrained(model: str) -> bool:
    """Whether timm names weights of it."""
    return model not in FAMILIES and not is_own(model) and timm.is_model_pretrained(model)


def expand_model_names(names: Sequence[str]) -> tuple[str, ...]:
    """Families and timm names as they are, wildcards as all that they match; order kept, no repeats."""
    known = [*FAMILIES, *_timm_names()]
    expanded: dict[str, None] = {}
    for name in names:
        matches = fnmatch.filter(_timm_names(), name) if any(c in name for c in "*?[") else [name]
        if not matches:
            raise ConfigError(f"no timm model matches '{name}'; see timm.list_models()")
        if matches == [name] and name not in known and name not in _tagged_names():
            raise ConfigError(
                f"unknown model '{name}'; known: the families {', '.join(FAMILIES)}"
                f" and timm's {len(_timm_names())} models.{nearest_name(name, known)}"
            )
        expanded |= dict.fromkeys(matches)
    return tuple(expanded)


@cache
def _tagged_names() -> frozenset[str]:
    """A model with one of its published weights: ``mobilenetv3_large_100.ra_in1k``."""
    return frozenset(timm.list_pretrained())


@cache
def _timm_names() -> tuple[str, ...]:
    return tuple(timm.list_models())


@cache
def takes_image_size(model: str) -> bool:
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
