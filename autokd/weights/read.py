"""Files of weights that somebody else wrote: read without running any code, and taken out of what is around them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors.torch import load_file
from torch import Tensor

from autokd.errors import CheckpointError
from autokd.weights.harmless import safe_globals, whole_model
from autokd.weights.unwrap import NO_MODEL, Choice, unwrap

SAVE_ANEW = "save it as safetensors, or as torch.save(model.state_dict(), …)"
FOREIGN = "neither a safetensors file nor one of torch.save"
DAMAGED = "it is cut short or damaged; copy or save it again"
# What torch raises of a whole file with what it can't make without running code.
UNKNOWN_THINGS = (UnpicklingError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWeights:
    """A file's weights under the file's own names."""

    path: Path
    tensors: Mapping[str, Tensor]
    averaged: bool  # whether averaged weights go before raw ones, where there are both
    choice: Choice | None = None  # which were taken, where there are averaged ones

    @property
    def note(self) -> str:
        """``the averaged weights (state_dict_ema); state_dict holds the raw ones``; empty where there are none."""
        return str(self.choice or "")


def read_weights(path: Path, *, averaged: bool = True) -> ReadWeights:
    """Read a safetensors file, or one of torch.save with a state dict in it; nothing in it is run.

    What a file is shows in its first bytes, whatever it is called. Of raw and averaged weights the averaged are
    taken, or with `averaged=False` the raw. Raises CheckpointError.
    """
    content = _content(path)
    _refuse_model(content, path)
    try:
        weights, choice = unwrap(content, averaged=averaged)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    tensors = _tensors(weights, path)
    return ReadWeights(path=path, tensors=tensors, averaged=averaged, choice=choice)


def _content(path: Path) -> Any:
    """All that the file holds."""
    start = first_bytes(path)
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
            with torch.serialization.safe_globals([*safe_globals(path)]):
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails anywhere in these readers
        if more := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path}: holds more than weights ({more[1]}) and would run code when read; {SAVE_ANEW}"
            ) from None
        if start.startswith(b"PK") and isinstance(error, UNKNOWN_THINGS):
            raise CheckpointError(f"{path}: holds more than weights; {SAVE_ANEW}") from error
        raise CheckpointError(f"{path}: can't be read: {DAMAGED}") from error


def first_bytes(path: Path) -> bytes:
    """Return what the file begins with. Raises CheckpointError where it can't be read, or is empty or a pointer."""
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


def _refuse_model(content: Any, path: Path) -> None:
    """A model that was pickled as a whole, alone or where its weights should be."""
    inside = content if isinstance(content, dict) else {}
    for value in (content, *(inside[key] for key in inside if not NO_MODEL.search(str(key)))):
        if model := whole_model(value):
            raise CheckpointError(
                f"{path}: holds a whole model ({model}), which is code; save its weights alone: "
                "torch.save(model.state_dict(), …)"
            )


def _tensors(weights: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Weights by their names, once it is sure that they are whole and plain."""
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
    return dict(weights)
