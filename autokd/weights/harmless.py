"""What stands beside weights in a file of torch.save and runs no code when it is made."""

from __future__ import annotations

import argparse
import datetime
import decimal
import pathlib
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _plain_list(items: Iterable[Any] = (), *_: Any) -> list[Any]:
    return [*items]


# Options, records and dates, by the names that they have in files of old and new versions.
_OF_PYTHON: dict[str, Any] = {
    "argparse.Namespace": argparse.Namespace,
    "types.SimpleNamespace": argparse.Namespace,
    "collections.defaultdict": _plain_dict,  # torch fills dicts and lists alone
    "collections.deque": _plain_list,
    "decimal.Decimal": decimal.Decimal,
    "datetime.datetime": datetime.datetime,
    "datetime.date": datetime.date,
    "datetime.timedelta": datetime.timedelta,
    "datetime.timezone": datetime.timezone,
    **{
        f"builtins.{kind.__name__}": kind
        for kind in (dict, list, tuple, set, frozenset, range, slice)
    },
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
STANDS_FOR = "stands for"
HARMLESS = _OF_PYTHON | _OF_NUMPY


class _Unmade(type):
    """The type of the stand-ins: they can't be called, as pickles call what runs."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise UnpicklingError(f"GLOBAL {cls.__name__} is called")


def _stand_in(name: str) -> _Unmade:
    """Return an empty class for one of somebody else's. Its objects are made without calling it: dicts that hold what
    theirs held, and say whose they are."""

    def new(_: type, *__: Any, **___: Any) -> Any:
        made: Any = OrderedDict()
        made.__dict__[STANDS_FOR] = name
        return made

    return _Unmade(name, (), {"__new__": new})


def whole_model(value: Any) -> str | None:
    """Return the class of a model that stood in the file, such as ``timm.models.resnet.ResNet``; None: it is none."""
    held = getattr(value, "__dict__", {})
    return str(held[STANDS_FOR]) if STANDS_FOR in held and "_modules" in held else None


def safe_globals(path: Path) -> Iterable[tuple[Any, str]]:
    """Return all that the reader of `path` may make, each with its name in files: what is harmless, and stand-ins."""
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # noqa: BLE001 - damaged, or of torch before 1.6: then without stand-ins
        named = []
    stands = {name: _stand_in(name) for name in named if name not in HARMLESS}
    return [(made, name) for name, made in (HARMLESS | stands).items()]
