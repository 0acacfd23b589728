"""Weights that autokd writes itself, and what weights are told apart by."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from autokd.errors import CheckpointError, StorageError, first_line


def save_weights(model: nn.Module, path: Path) -> None:
    """Raises StorageError where they can't be written: a full disk, above all."""
    try:
        save_model(model, str(path))
    except SafetensorError as error:
        raise StorageError(f"{path}: can't be written: {error}") from None


def load_weights(model: nn.Module, path: Path) -> None:
    """Weights that autokd wrote itself, into the model they were written from."""
    try:
        load_model(model, str(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: can't be loaded: {first_line(error)}") from None


def hash_weights(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, 64 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
