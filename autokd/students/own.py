"""Models of one's own: a Python function, named ``package.module:function``, that makes an nn.Module."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autokd.errors import ConfigError


def is_own(model: str) -> bool:
    """timm's names and those of families have no colon."""
    return ":" in model


def make_own(
    model: str, *, image_size: int, num_classes: int, in_chans: int, **arguments: Any
) -> nn.Module:
    """What the function returns, on torch's default device; it is given num_classes, in_chans and the user's arguments.

    Modules are looked for in the working directory too, as `python -m` does. Raises ConfigError where there is no
    such function, or what it returns does not give logits (B, num_classes) of images (B, in_chans, S, S); what it
    raises itself is left as it is.
    """
    module_name, _, function_name = model.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last: nothing there hides an installed package
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"model '{model}': {error}; give package.module:function, importable from {here}"
        ) from None
    with torch.device("cpu"):  # it may load weights, which the meta device would warn of
        made = function(num_classes=num_classes, in_chans=in_chans, **arguments)
        if not isinstance(made, nn.Module):
            raise ConfigError(f"model '{model}' returned a {type(made).__name__}, not an nn.Module")
        with torch.no_grad():
            answer = made.eval()(torch.zeros(1, in_chans, image_size, image_size))
    if not isinstance(answer, torch.Tensor) or answer.shape != (1, num_classes):
        got = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise ConfigError(
            f"model '{model}' must answer an image of {in_chans} x {image_size} x {image_size} with logits "
            f"of shape (1, {num_classes}), got {got}"
        )
    made.num_classes = num_classes  # type: ignore[assignment]  # as timm's models say it
    return made.train().to(torch.get_default_device())
