"""Models of one's own: a Python function, named ``package.module:function``, that makes an nn.Module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard
from weakref import WeakSet

import torch
from torch import nn

from autokd.errors import ConfigError, one_line
from autokd.students.headed import Headed
from autokd.students.source import hash_code, import_fresh

_made: WeakSet[nn.Module] = WeakSet()  # each is changed by what it was made for


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
    model: str,
    *,
    image_size: int,
    num_classes: int,
    in_chans: int,
    headed: bool = False,
    **arguments: Any,
) -> nn.Module:
    """What the function returns, on torch's default device; it is given num_classes, in_chans and the user's arguments.

    With `headed` a model that gives features (B, D) in place of logits gets a classifier.

    Raises ConfigError where there is no such function, or what it returns does not give logits (B, num_classes) of
    images (B, in_chans, S, S); what the function raises itself is left as it is.
    """
    function = _find(model)
    _refuse_signature(
        function, model, {"num_classes": num_classes, "in_chans": in_chans} | arguments
    )
    with torch.device("cpu"):  # it may load weights, which the meta device would warn of
        returned = function(num_classes=num_classes, in_chans=in_chans, **arguments)
        made = _new_module(returned, model).cpu().eval()
        images = f"{in_chans} x {image_size} x {image_size}"
        try:
            with torch.no_grad():
                answer = made(torch.zeros(2, in_chans, image_size, image_size))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"model '{model}' fails on float32 images of {images}: {one_line(error)}; build it for in_chans, or "
                "set data.channels and image_size to what it takes"
            ) from error
    if headed and _are_features(answer, classes=num_classes):
        made = Headed(made, features=answer.shape[1], classes=num_classes)
    else:
        _refuse_answer(answer, classes=num_classes, model=model, images=images, headed=headed)
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
    function: Callable[..., Any] | None = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(
            f"model '{model}': {module_name} has no function '{function_name}'; {advice}"
        )
    return function


def _refuse_signature(
    function: Callable[..., Any], model: str, arguments: Mapping[str, Any]
) -> None:
    """Raises ConfigError where a function does not take what it is given."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # one of a library in C, which tells nothing
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        given = ", ".join(f"{name}={value}" for name, value in arguments.items())
        raise ConfigError(
            f"model '{model}' is called with {given}, and {error}; give the function those parameters, "
            "and its own in arguments"
        ) from None


def _new_module(made: object, model: str) -> nn.Module:
    """What a function returned. Raises ConfigError unless it is an nn.Module that nobody else has."""
    if not isinstance(made, nn.Module):
        raise ConfigError(f"model '{model}' returned a {type(made).__name__}, not an nn.Module")
    if type(made).__name__ == "RecursiveScriptModule":
        raise ConfigError(
            f"model '{model}' returned a TorchScript model, which can't be counted or frozen; return the "
            "nn.Module that it was made from"
        )
    if made in _made:
        raise ConfigError(
            f"model '{model}' returned the same nn.Module again; make a new one at each call"
        )
    _made.add(made)
    return made


def _are_features(answer: object, *, classes: int) -> TypeGuard[torch.Tensor]:
    """Whether it is two images' features: (2, D), not so many as classes."""
    return isinstance(answer, torch.Tensor) and answer.ndim == 2 and answer.shape[1] != classes


def _refuse_answer(answer: object, *, classes: int, model: str, images: str, headed: bool) -> None:
    """Raises ConfigError unless it is two images' logits."""
    if isinstance(answer, torch.Tensor):
        if answer.shape == (2, classes):
            return
        got = f"{tuple(answer.shape)}"
    else:
        got = f"a {type(answer).__name__}; return its {'features' if headed else 'logits'} alone"
    cure = ""
    if _are_features(answer, classes=classes):
        cure = "; features make a teacher with pretrained (true, or a file) and train, which gives it a classifier"
    wanted = f"logits of shape (2, {classes})"
    if headed:
        wanted += " or features of shape (2, D)"
    raise ConfigError(
        f"model '{model}' must answer two images of {images} with {wanted}, got {got}{cure}"
    )
