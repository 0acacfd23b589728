"""Weights on disk: written and read as safetensors, read from others' checkpoints without running any code."""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_model
from torch import Tensor, nn

from autokd.errors import CheckpointError, StorageError, first_line

SAVE_ANEW = "save it as safetensors, or as torch.save(model.state_dict(), …)"
CHECK = "check teacher.checkpoint, model and arguments"
FOREIGN = "neither a safetensors file nor one of torch.save"
DAMAGED = "it is cut short or damaged; copy or save it again"


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
        raise CheckpointError(f"{path}: can't be loaded: {first_line(error)}") from None


def load_checkpoint(
    model: nn.Module, path: Path, *, name: str, classes: int, channels: int
) -> None:
    """Load weights that somebody else wrote into a model called `name`, of so many classes and channels.

    Raises CheckpointError where they don't fit it, with what to do about that where their shapes tell.
    """
    given, wanted = read_weights(path), model.state_dict()
    if problem := _misfit(wanted, given):
        cure = _cure(wanted, given, classes=classes, channels=channels)
        raise CheckpointError(
            f"{path}: does not fit {name} with {classes} classes and {channels} channels: {problem}; {cure}"
        )
    model.load_state_dict(given)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return parameter name -> tensor of a safetensors file or a state dict of torch.save; nothing in it is run.

    What a file is shows in its first bytes, whatever it is called. Raises CheckpointError.
    """
    return _tensors(_unwrapped(_content(path)), path)


def _content(path: Path) -> Any:
    """All that the file holds."""
    start = _first_bytes(path)
    is_safetensors = start[8:9] == b"{"  # after the length of its header
    if start.startswith(b"PK"):
        _refuse_other_archives(path)
    elif not is_safetensors and not start.startswith(b"\x80"):
        raise CheckpointError(f"{path}: can't be read: it is {FOREIGN}; {SAVE_ANEW}")
    try:
        if is_safetensors:
            return load_file(path)
        # given a path, torch goes by its name; what it warns of (sparse tensors) is refused below
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails anywhere in these readers
        if more := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path}: holds more than weights ({more[1]}) and would run code when read; {SAVE_ANEW}"
            ) from None
        raise CheckpointError(f"{path}: can't be read: {DAMAGED}") from error


def _first_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            what = "a folder; give the file in it" if path.is_dir() else "no regular file"
            raise CheckpointError(f"{path}: can't be read: it is {what}")
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read: {error.strerror}") from None
    if not start:
        raise CheckpointError(f"{path}: can't be read: it is empty; copy or save it again")
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path}: can't be read: it is a Git LFS pointer to the weights; `git lfs pull` fetches them"
        )
    return start


def _refuse_other_archives(path: Path) -> None:
    """torch.save writes zip files, and so do others."""
    try:
        with ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (BadZipFile, OSError):
        raise CheckpointError(f"{path}: can't be read: {DAMAGED}") from None
    if "constants.pkl" in names:
        raise CheckpointError(
            f"{path}: is a TorchScript model, which is code; save its weights alone: "
            "torch.save(torch.jit.load(FILE).state_dict(), …)"
        )
    if "data.pkl" not in names:
        raise CheckpointError(f"{path}: can't be read: it is {FOREIGN}; {SAVE_ANEW}")


def _unwrapped(content: Any) -> Any:
    """The state dict in what training scripts commonly wrap around it."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    return content


def _tensors(weights: Any, path: Path) -> dict[str, Tensor]:
    """Weights by their names, once it is sure that they are whole and plain."""
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise CheckpointError(
            f"{path}: is not a state dict (parameter name -> tensor); {SAVE_ANEW}"
        )
    for name, value in weights.items():
        if not isinstance(name, str):
            raise CheckpointError(
                f"{path}: is not a state dict: {name!r} is not the name of a parameter; {SAVE_ANEW}"
            )
        if value.is_meta or value.is_quantized or value.layout != torch.strided:
            kind = "without values (meta)" if value.is_meta else "sparse or quantised"
            raise CheckpointError(
                f"{path}: {name} is {kind}, and weights have to be dense numbers; {SAVE_ANEW}"
            )
    return {name.removeprefix("module."): value for name, value in weights.items()}


def _misfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """How many tensors are missing, unknown, of another shape or type, each with an example; None: all fit."""
    both = [(name, given[name], tensor) for name, tensor in wanted.items() if name in given]
    problems = {
        "missing": [name for name in wanted if name not in given],
        "unknown": [name for name in given if name not in wanted],
        "of another shape": [
            f"{name} {tuple(its.shape)} instead of {tuple(own.shape)}"
            for name, its, own in both
            if its.shape != own.shape
        ],
        "of another type": [
            f"{name} {its.dtype} instead of {own.dtype}"
            for name, its, own in both
            if own.is_floating_point() and not its.is_floating_point()
        ],
    }
    found = [f"{len(names)} {what} ({names[0]})" for what, names in problems.items() if names]
    return ", ".join(found) or None


def _cure(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], *, classes: int, channels: int
) -> str:
    """What to change, where that explains every tensor of another shape."""
    cures: dict[str, None] = {}
    for name, own in wanted.items():
        a, b = tuple(own.shape), tuple(given[name].shape) if name in given else tuple(own.shape)
        if a == b:
            continue
        if len(a) == len(b) == 4 and a[1] == channels and a[0] == b[0] and a[2:] == b[2:]:
            cures[f"its images have {b[1]} channels: set data.channels: {b[1]}"] = None
        elif "pos" in name:
            size = _image_size(b, given)
            cures[f"it was trained at another image size: set teacher.image_size{size}"] = None
        elif a[:1] == (classes,) and a[1:] == b[1:]:
            cures[f"it knows {b[0]} classes, and the data has {classes}"] = None
        else:
            return CHECK
    return " and ".join(cures) or CHECK


def _image_size(positions: tuple[int, ...], given: Mapping[str, Tensor]) -> str:
    """``: 224``, where tokens (1, N, D) of patches tell."""
    patches = [t.shape[-1] for name, t in given.items() if "patch_embed" in name and t.ndim == 4]
    side = math.isqrt(positions[1]) if len(positions) == 3 else 0
    return f": {side * patches[0]}" if side and len(patches) == 1 else " to that"


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
