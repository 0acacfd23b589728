"""What stands beside weights in a file of torch.save and runs no code when it is made."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
from collections.abc import Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

# Options, records and dates, by the names that they have in files of old and new versions.
_OF_PYTHON: dict[str, Any] = {
    "argparse.Namespace": argparse.Namespace,
    "types.SimpleNamespace": argparse.Namespace,
    "collections.defaultdict": collections.defaultdict,
    "collections.deque": collections.deque,
    "datetime.datetime": datetime.datetime,
    "datetime.date": datetime.date,
    "datetime.timedelta": datetime.timedelta,
    "datetime.timezone": datetime.timezone,
    **{f"builtins.{kind.__name__}": kind for kind in (dict, list, tuple, set, frozenset, slice)},
    **{
        f"{module}.{kind}Path": getattr(pathlib, f"Pure{kind}Path")  # Windows' paths, here too
        for module in ("pathlib", "pathlib._local")
        for kind in ("Posix", "Windows", "PurePosix", "PureWindows")
        if not kind.startswith("Pure")
    },
    "pathlib.PurePosixPath": pathlib.PurePosixPath,
    "pathlib.PureWindowsPath": pathlib.PureWindowsPath,
}
_ARRAYS: Any = np._core.multiarray  # type: ignore[attr-defined]
_OF_NUMPY: dict[str, Any] = {
    "numpy.dtype": np.dtype,
    "numpy.ndarray": np.ndarray,
    **{
        f"{module}.multiarray.{name}": getattr(_ARRAYS, name)
        for module in ("numpy.core", "numpy._core")
        for name in ("scalar", "_reconstruct")
    },
    **{f"numpy.dtypes.{name}": getattr(np.dtypes, name) for name in np.dtypes.__all__},
}
HARMLESS = _OF_PYTHON | _OF_NUMPY


class _Unmade(type):
    """The type of the stand-ins: they can't be called, as pickles call what runs."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise UnpicklingError(f"GLOBAL {cls.__name__} is called")


def stand_in(name: str) -> _Unmade:
    """Return an empty class for one of somebody else's, whose objects then are bags of what they held."""

    def new(cls: type, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    return _Unmade(name, (), {"__new__": new})


def is_stand_in(value: object) -> bool:
    return isinstance(value, _Unmade) or isinstance(type(value), _Unmade)


def name_of(value: object) -> str:
    """``timm.models.resnet.ResNet``, which a stand-in stands for."""
    return value.__name__ if isinstance(value, _Unmade) else type(value).__name__


def safe_globals(path: Path) -> Iterable[tuple[Any, str]]:
    """Return all that the reader of `path` may make, each with its name in files: what is harmless, and stand-ins."""
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # noqa: BLE001 - damaged, or of torch before 1.6: then without stand-ins
        named = []
    stands = {name: stand_in(name) for name in named if name not in HARMLESS}
    return [(made, name) for name, made in (HARMLESS | stands).items()]
