"""Weights on disk: written and read as safetensors, read from others' checkpoints without running any code."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_model
from torch import Tensor, nn

from autokd.errors import CheckpointError, StorageError


def save_weights(model: nn.Module, path: Path) -> None:
    """Raises StorageError where they can't be written: a full disk, above all."""
    try:
        save_model(model, str(path))
    except SafetensorError as error:
        raise StorageError(f"{path}: can't be written: {error}") from None


def hash_weights(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, 64 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights(model: nn.Module, path: Path) -> None:
    """Weights that autokd wrote itself, into the model they were written from."""
    try:
        load_model(model, str(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: can't be loaded: {_first_line(error)}") from None


def load_checkpoint(model: nn.Module, path: Path, *, name: str) -> None:
    """Weights that somebody else wrote: .safetensors, or a state dict that torch reads without running any code.

    `name` is what the model is called in messages. Raises CheckpointError where they don't fit it.
    """
    weights = _read(path)
    if problem := _misfit(model.state_dict(), weights):
        raise CheckpointError(f"{path}: does not fit {name}: {problem}")
    model.load_state_dict(weights)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: holds more than weights and would run code when read; save it as "
            "safetensors, or as torch.save(model.state_dict(), …)"
        ) from None
    except (SafetensorError, OSError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path}: can't be read: {_first_line(error)}") from None
    for key in ("state_dict", "model"):  # how training scripts commonly wrap it
        if isinstance(weights, dict) and isinstance(weights.get(key), dict):
            weights = weights[key]
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise CheckpointError(f"{path}: is not a state dict (parameter name -> tensor)")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def _misfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """How many tensors are missing, unknown or of another shape, each with an example; None: all fit."""
    problems = {
        "missing": [name for name in wanted if name not in given],
        "unknown": [name for name in given if name not in wanted],
        "of another shape": [
            f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in given and given[name].shape != tensor.shape
        ],
    }
    found = [f"{len(names)} {what} ({names[0]})" for what, names in problems.items() if names]
    return ", ".join(found) or None


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
