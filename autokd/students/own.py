"""Models of one's own: a Python function, named ``package.module:function``, that makes an nn.Module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autokd.errors import ConfigError, one_line
from autokd.students.source import hash_code, import_fresh


def is_own(model: str) -> bool:
    """timm's names and those of families have no colon."""
    return ":" in model


def code_of(model: str) -> list[str]:
    """The hash of the code that makes a model of one's own, for the names of what is kept of it; else nothing."""
    if not is_own(model):
        return []
    _find(model)
    return [hash_code(model.partition(":")[0])]


def make_own(
    model: str, *, image_size: int, num_classes: int, in_chans: int, **arguments: Any
) -> nn.Module:
    """What the function returns, on torch's default device; it is given num_classes, in_chans and the user's arguments.

    Raises ConfigError where there is no such function, or what it returns does not give logits (B, num_classes) of
    images (B, in_chans, S, S); what the function raises itself is left as it is.
    """
    function = _find(model)
    with torch.device("cpu"):  # it may load weights, which the meta device would warn of
        made = function(num_classes=num_classes, in_chans=in_chans, **arguments)
        if not isinstance(made, nn.Module):
            raise ConfigError(f"model '{model}' returned a {type(made).__name__}, not an nn.Module")
        made = made.cpu().eval()
        images = f"{in_chans} x {image_size} x {image_size}"
        try:
            with torch.no_grad():
                answer = made(torch.zeros(2, in_chans, image_size, image_size))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"model '{model}' fails on images of {images}: {one_line(error)}; build it for in_chans, or set "
                "data.channels and image_size to what it takes"
            ) from error
    _refuse_answer(answer, classes=num_classes, model=model, images=images)
    if getattr(made, "num_classes", None) != num_classes:
        made.num_classes = num_classes  # type: ignore[assignment]  # as timm's models say it
    return made.train().to(torch.get_default_device())


def _find(model: str) -> Callable[..., Any]:
    module_name, _, function_name = model.partition(":")
    advice = f"give package.module:function, importable from {Path.cwd()}"
    try:
        module = import_fresh(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"model '{model}': {error}; {advice}") from None
    if not hasattr(module, function_name):
        raise ConfigError(f"model '{model}': {module_name} has no '{function_name}'; {advice}")
    function: Callable[..., Any] = getattr(module, function_name)
    return function


def _refuse_answer(answer: object, *, classes: int, model: str, images: str) -> None:
    """Raises ConfigError unless it is two images' logits."""
    if isinstance(answer, torch.Tensor):
        if answer.shape == (2, classes):
            return
        got = f"{tuple(answer.shape)}"
    else:
        got = f"a {type(answer).__name__}; return its logits alone"
    raise ConfigError(
        f"model '{model}' must answer two images of {images} with logits of shape (2, {classes}), got {got}"
    )
