"""Weights that a student inherits from a larger model of its class: which of the donor's elements go where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.patch_embed import resample_patch_embed
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

from autokd.students.axes import Axis, axes_of, select
from autokd.weights import classifiers_of

COLOURS = 3  # channels of the images that published models were trained on
OTHER_NAMES = {"norm.": "fc_norm.", "fc_norm.": "norm."}  # of ViT's last norm, as it is pooled


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """What an heir took from its donor, by the names of its own tensors: parameters and buffers."""

    filled: tuple[str, ...]
    new: tuple[str, ...]  # left as they were initialised
    share: float  # of its parameters' elements that are filled

    def sentence(self) -> str:
        """``94% of its weights are inherited; new: head.fc.weight, head.fc.bias and 3 more``."""
        said = f"{int(100 * self.share)}% of its weights are inherited"  # 99.9% are not all
        more = f" and {len(self.new) - 2} more" if len(self.new) > 2 else ""
        return f"{said}; new: {', '.join(self.new[:2])}{more}" if self.new else said


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """From a donor's tensor to an heir's: what is resized first, then what is selected."""

    donor: str  # the name of its tensor
    indices: tuple[Tensor, ...]  # along each axis
    image_channels: int | None = None  # where they are others than the donor's
    patch: Sequence[int] | None = None  # the kernel that patches are resampled to
    grids: tuple[Sequence[int], Sequence[int]] | None = None  # of position embeddings: old and new
    dropped: int = 0  # of their prefix tokens

    def of(self, tensor: Tensor) -> Tensor:
        if self.image_channels:
            tensor = adapt_input_conv(self.image_channels, tensor)
        if self.patch:
            tensor = resample_patch_embed(tensor, list(self.patch))
        if self.grids:
            old, new = map(list, self.grids)
            tensor = tensor[:, self.dropped :]
            prefix = tensor.shape[1] - old[0] * old[1]
            tensor = resample_abs_pos_embed(tensor, new, old, num_prefix_tokens=prefix)
        tensor = tensor.reshape(_padded(tensor.shape, len(self.indices)))
        for number, indices in enumerate(self.indices):
            tensor = tensor.index_select(number, indices.to(tensor.device))
        return tensor


@torch.no_grad()
def inherit(heir: nn.Module, donor: nn.Module, *, classifier: bool = True) -> Inheritance:
    """Fill the heir, in place, with the donor's elements at evenly spaced indices of every axis, by name.

    Xu et al. 2024, arXiv 2311.18823: uniform elements of the first layers, not scaled. A tensor along an axis of which
    the donor is smaller stays new, and so does a classifier of other classes; without `classifier` any does.
    """
    ways = dict(_ways(heir, donor))
    for name in () if classifier else _classifier(heir):
        ways.pop(name, None)
    own, donated = heir.state_dict(), donor.state_dict()
    for name, way in ways.items():
        own[name].copy_(way.of(donated[way.donor]))
    return _inheritance(heir, ways)


def can_inherit(heir: nn.Module, donor: nn.Module) -> float:
    """The share of the heir's parameters that `inherit` would fill: 0 where the two are not of one class.

    Changes nothing, and needs no values: both may be on the meta device.
    """
    return _inheritance(heir, dict(_ways(heir, donor))).share


def _inheritance(heir: nn.Module, ways: Mapping[str, _Way]) -> Inheritance:
    sizes = {name: parameter.numel() for name, parameter in heir.named_parameters()}
    filled = sum(size for name, size in sizes.items() if name in ways)
    names = heir.state_dict()
    return Inheritance(
        filled=tuple(name for name in names if name in ways),
        new=tuple(name for name in names if name not in ways),
        share=filled / max(1, sum(sizes.values())),
    )


def _ways(heir: nn.Module, donor: nn.Module) -> Iterator[tuple[str, _Way]]:
    """Of each tensor of the heir that the donor can fill."""
    if not _are_relatives(heir, donor):
        return
    own, donated = _parts(heir), _parts(donor)
    classifier = _classifier(heir)
    is_whole = _stages(donated) <= _stages(own)  # else the classifier reads something else
    for place, part in own.items():
        other = donated.get(place) or donated.get(_other_name(place))
        if other is None:
            continue
        if part.name in classifier and not (is_whole and part.size(0) == other.size(0)):
            continue  # of other classes
        way = _way(part, other)
        if way is not None:
            yield part.name, way


def _are_relatives(heir: nn.Module, donor: nn.Module) -> bool:
    """Whether they have a class in common. By name: own code may have been imported again in between."""

    def classes(model: nn.Module) -> set[str]:
        own = type(model).__mro__[: type(model).__mro__.index(nn.Module)]
        return {f"{each.__module__}.{each.__qualname__}" for each in own}

    return bool(classes(heir) & classes(donor))


def _stages(parts: Mapping[str, _Part]) -> set[str]:
    """The model's own children that have tensors, by either name."""
    found = {place.partition(".")[0] for place in parts if "." in place}
    return found | {_other_name(f"{name}.").rstrip(".") for name in found}


def _other_name(place: str) -> str:
    return next(
        (b + place.removeprefix(a) for a, b in OTHER_NAMES.items() if place.startswith(a)), place
    )


def _classifier(model: Any) -> set[str]:
    """Names of its tensors."""
    return {
        f"{layer}.{name}"
        for layer in classifiers_of(model, int(model.num_classes))
        for name in model.get_submodule(layer).state_dict()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A tensor of a model, the module that it belongs to, and what its axes are made up of."""

    name: str
    tensor: Tensor
    module: Any
    is_parameter: bool
    axes: Mapping[int, Axis]

    def size(self, number: int) -> int:
        return self.tensor.shape[number] if number < self.tensor.ndim else 1

    def axis(self, number: int, size: int) -> Axis:
        axis = self.axes.get(number)
        return axis if axis and axis.size == size else Axis(factors=(size,))


def _parts(model: nn.Module) -> dict[str, _Part]:
    """All tensors by their place."""
    axes = axes_of(model)
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    places = _places(model)
    found = {}
    for name, tensor in model.state_dict().items():
        prefix, _, last = name.rpartition(".")
        found[_joined(places[prefix], last)] = _Part(
            name=name,
            tensor=tensor,
            module=model.get_submodule(prefix),
            is_parameter=name in parameters,
            axes=axes.get(name, {}),
        )
    return found


def _places(model: nn.Module) -> dict[str, str]:
    """Name of a module -> the same with members of a sequence counted by their kind, those without tensors left out.

    So a stage that ends with attention agrees with a deeper one, and a shortcut that pools before it convolves with one
    that convolves at once.
    """
    places = {"": ""}
    for prefix, module in model.named_modules(remove_duplicate=False):
        counts: Counter[str] = Counter()
        for name, child in module.named_children():
            own = name
            if isinstance(module, (nn.Sequential, nn.ModuleList)) and name.isdigit():
                kind = type(child).__qualname__ if any(child.children()) else ""
                own = f"{kind}{counts[kind]}"
                counts[kind] += _has_tensors(child)
            places[_joined(prefix, name)] = _joined(places[prefix], own)
    return places


def _has_tensors(module: nn.Module) -> bool:
    return any(True for tensors in (module.parameters(), module.buffers()) for _ in tensors)


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _way(heir: _Part, donor: _Part) -> _Way | None:
    """None where the donor has too little, or what a buffer holds was made for the sizes of its model."""
    resized = _resized(heir, donor)
    if resized is None:
        return None
    changes, shape = resized
    is_kernel = isinstance(heir.module, nn.Conv2d)
    indices = []
    for number, (size, many) in enumerate(zip(heir.tensor.shape, shape, strict=True)):
        if is_kernel and number > 1:
            found = _centre(size, many)
        else:
            found = select(heir.axis(number, size), donor.axis(number, many))
        if found is None:
            return None
        indices.append(found)
    return _Way(donor=donor.name, indices=tuple(indices), **changes)


def _resized(heir: _Part, donor: _Part) -> tuple[dict[str, Any], list[int]] | None:
    """What is resized, and the donor's shape after it."""
    changes: dict[str, Any] = {}
    shape = _padded(donor.tensor.shape, heir.tensor.ndim)
    own = list(heir.tensor.shape)
    if len(shape) != len(own):
        return None
    if own != shape and not heir.is_parameter and not hasattr(heir.module, "running_mean"):
        return None
    if heir.name.endswith("pos_embed") and hasattr(heir.module, "patch_embed"):
        new, old = (part.module.patch_embed.grid_size for part in (heir, donor))
        kept, there = own[1] - new[0] * new[1], shape[1] - old[0] * old[1]
        if kept not in (0, there):
            return None
        changes |= {"grids": (old, new), "dropped": there - kept}
        shape[1] = own[1]
    if isinstance(heir.module, nn.Conv2d) and isinstance(donor.module, nn.Conv2d) and len(own) == 4:
        if _cuts_patches(heir.module) and _cuts_patches(donor.module) and own[2:] != shape[2:]:
            changes["patch"] = shape[2:] = own[2:]
        if donor.module.groups == 1 and own[1] != shape[1] == COLOURS:
            changes["image_channels"] = shape[1] = own[1]
    return changes, shape


def _padded(shape: Sequence[int], length: int) -> list[int]:
    """A linear layer's as a convolution's of one pixel, and the other way around."""
    fitting = [*shape, *[1] * (length - len(shape))]
    return fitting[:length] if all(size == 1 for size in fitting[length:]) else fitting


def _cuts_patches(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == conv.stride


def _centre(few: int, many: int) -> Tensor | None:
    """Of a larger kernel."""
    first = (many - few) // 2
    return torch.arange(first, first + few, device="cpu") if first >= 0 else None
