"""Running a model on the meta device, where tensors have shapes and no memory, and counting what it executes."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from autokd.cost.operators import operator_macs

# In-place initialisers. On the meta device there is nothing to fill, and their Python versions take two thirds of
# the time that building a model takes.
_INITIALISERS = {
    *("normal_", "uniform_", "trunc_normal_", "zero_", "fill_", "bernoulli_", "random_"),
    *("clamp_", "erfinv_", "mul_", "add_", "sub_", "div_", "copy_"),
    *("ones_", "zeros_", "constant_", "kaiming_uniform_", "kaiming_normal_"),
    *("xavier_uniform_", "xavier_normal_"),
}
_FIRST_ARGUMENT = "first argument"  # what an in-place operator returns
_CACHE_LIMIT = 100_000  # entries; some 100 MB


class SkipInitialisation(TorchFunctionMode):
    """Leaves new meta tensors as they are: they hold no numbers that could be initialised."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", None) in _INITIALISERS:
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, Tensor) and tensor.is_meta and not _is_followed(tensor):
                return tensor
        return func(*args, **kwargs)


@contextmanager
def without_autocast() -> Iterator[None]:
    """Models that cast their attention themselves run on the meta device too. There is nothing to cast there, and PyTorch
    up to 2.14 refuses to try."""
    original = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        if device_type == "meta":
            return nullcontext()
        return original(device_type, *args, **kwargs)

    torch.autocast = autocast  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        torch.autocast = original  # type: ignore[misc]


def _is_followed(tensor: Tensor) -> bool:
    """Part of a forward pass whose gradients somebody wants: pruning finds what depends on what that way."""
    return tensor.requires_grad and torch.is_grad_enabled()


class _TensorSpec(NamedTuple):
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype

    def empty(self) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta")


class _Call(NamedTuple):
    """What is known about an operator called with arguments of given shapes."""

    result: Any  # a _TensorSpec, a tuple of them and None, _FIRST_ARGUMENT
    macs: int | None  # None: unknown


# An operator's result on the meta device and its MACs follow from its arguments' shapes, strides and types alone.
# PyTorch works them out in Python at about 1 ms an operator; layers and candidates repeat them over and over.
_cache: dict[Any, _Call] = {}


class CountMacs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiply-accumulates of everything that is executed inside it on the meta device, and how much of what
    operators return is in memory at once."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[str] = Counter()  # by operator
        self.unknown: Counter[str] = Counter()  # calls of operators that nothing is known about
        self.peak = 0  # elements
        self._live = 0
        self._storages: dict[int, weakref.ref[Any]] = {}
        self._hold(image)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if _is_view(func):
            return func(*args, **kwargs)
        key = _key((func, args, tuple(kwargs.items())))
        call = _cache.get(key) if key is not None else None
        if call is not None:
            self._add(func, call.macs)
            return self._hold(_replay(call.result, args))
        before = _spec(args[0]) if args else None
        out = func(*args, **kwargs)
        macs = operator_macs(func, args, kwargs, out)
        self._add(func, macs)
        result = _describe(out, args, before)
        if key is not None and result is not None:
            if len(_cache) >= _CACHE_LIMIT:
                _cache.clear()
            _cache[key] = _Call(result, macs)
        return self._hold(out)

    def _hold(self, out: Any) -> Any:
        """Memory that an operator's result takes until nothing refers to it; views and in-place results take none."""
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if not isinstance(tensor, Tensor) or not tensor.is_meta:
                continue
            storage = tensor.untyped_storage()
            key = id(storage)
            if key in self._storages:
                continue
            elements = storage.nbytes() // tensor.element_size()

            def free(_: Any, key: int = key, elements: int = elements) -> None:
                del self._storages[key]
                self._live -= elements

            self._storages[key] = weakref.ref(storage, free)
            self._live += elements
            self.peak = max(self.peak, self._live)
        return out

    def _add(self, func: Any, macs: int | None) -> None:
        if macs is None:
            self.unknown[func._schema.name.replace("::", ".")] += 1
        elif macs:
            self.macs[func._schema.name.rpartition("::")[2]] += macs


@cache
def _is_view(func: Any) -> bool:
    """Its result shares an argument's memory. Quick to execute, and it multiplies nothing."""
    returns = func._schema.returns
    return bool(returns) and all(
        value.alias_info is not None and not value.alias_info.is_write for value in returns
    )


_PLAIN = (int, float, bool, str, type(None), torch.dtype, torch.device, torch.memory_format)


def _key(value: Any) -> Any:
    """A hashable that stands for arguments as far as shapes go; None: not possible."""
    if isinstance(value, Tensor):
        if value.layout is not torch.strided:
            return None
        return (value.shape, value.stride(), value.dtype, value.device.type)
    if isinstance(value, (tuple, list)):
        keys = tuple(map(_key, value))
        return None if None in keys else keys
    if isinstance(value, (*_PLAIN, torch.layout, torch._ops.OpOverload)):
        return (type(value), value)  # the type too: 1 == 1.0 == True
    return None


def _spec(value: Any) -> _TensorSpec | None:
    if isinstance(value, Tensor) and value.is_meta and value.layout is torch.strided:
        return _TensorSpec(value.shape, value.stride(), value.dtype)
    return None


def _describe(out: Any, args: tuple[Any, ...], before: _TensorSpec | None) -> Any:
    """What `_replay` needs to give the same result again; None: must be executed each time."""
    if args and out is args[0]:
        return _FIRST_ARGUMENT if before is not None and _spec(out) == before else None
    if isinstance(out, (tuple, list)):
        specs = tuple(_spec(item) for item in out)
        known = all(spec or item is None for spec, item in zip(specs, out, strict=True))
        return specs if known and specs else None
    return _spec(out)


def _replay(result: Any, args: tuple[Any, ...]) -> Any:
    if result is _FIRST_ARGUMENT:
        return args[0]
    if isinstance(result, _TensorSpec):
        return result.empty()
    return tuple(spec.empty() if spec else None for spec in result)
