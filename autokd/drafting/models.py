"""Teacher and students that suit some images, for a first search file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autokd.cost import exact_cost
from autokd.errors import CheckpointError, ConfigError
from autokd.quantities import format_cost
from autokd.records import Budget, Cost, StudentSpec
from autokd.students import create_student, deployed, expand_model_names, is_own
from autokd.weights import ReadWeights, named_as, read_weights

SMALL = 64  # pixels, up to which nets keep the resolution in their first layers
CLASSIFIER = 2  # tensors that depend on the classes: a weight and a bias
USUAL = (  # teachers that a file's name does not tell
    "tf_efficientnet_lite0", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d", "densenet121", "vgg16", "vgg16_bn",
    "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2",
    "efficientnet_b3", "efficientnet_b4", "tf_efficientnetv2_s", "regnety_016", "convnext_tiny", "convnext_small", "convnext_base",
    "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "deit_small_patch16_224", "swin_tiny_patch4_window7_224",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """A family by its width, with its other parameters: the least of them, and how a search file has them."""

    model: str
    widths: Sequence[float]
    least: Mapping[str, Any]
    written: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Costs of models for these images."""

    classes: int
    channels: int
    precision: str = "fp32"

    def cost(self, model: str, arguments: Mapping[str, Any], image_size: int) -> Cost:
        spec = StudentSpec(
            model=model, arguments=arguments, image_size=image_size, precision=self.precision
        )
        return exact_cost(
            lambda: deployed(create_student(spec, classes=self.classes, channels=self.channels)),
            (self.channels, image_size, image_size),
            precision=self.precision,
        )


def _lite(padding: str) -> Ladder:
    return Ladder(
        model="efficientnet_lite",
        widths=(0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0),
        least={"depth": 0.5, "padding": padding, "stem_stride": 2},
        written=f"depth: [0.5, 0.75, 1.0], padding: {padding}",
    )


def _mobilenetv3(variant: str) -> Ladder:
    return Ladder(
        model="mobilenetv3",
        widths=(0.25, 0.5, 0.75, 1.0),
        least={"variant": variant, "depth": 1.0, "stem_stride": 2},
        written=f"variant: {variant}",
    )


# How published models' names begin -> their family, whose members are no larger.
HEIRS: Mapping[str, Ladder] = {
    "tf_efficientnet_lite": _lite("same"),
    "efficientnet_lite": _lite("symmetric"),
    "efficientnet_b": Ladder(
        model="efficientnet",
        widths=(0.2, 0.4, 0.6, 0.8, 1.0),
        least={"depth": 0.5, "stem_stride": 2},
        written="depth: [0.5, 0.75, 1.0]",
    ),
    "mobilenetv3_large_100": _mobilenetv3("large"),
    "mobilenetv3_small_100": _mobilenetv3("small"),
    "resnet18d": Ladder(
        model="resnet",
        widths=(16, 24, 32, 40, 48, 56, 64),
        least={"depth": 1, "stages": 4, "stem_stride": 4},
        written="depth: [1, 2], stages: 4, stem_stride: 4",
    ),
}


def teacher_to_train(image_size: int) -> tuple[str, dict[str, Any]]:
    """A model and its arguments, large beside the students and still quick to train on so few pixels."""
    if image_size > SMALL:
        return "resnet18", {}
    width, depth = (32, 1) if image_size <= SMALL // 4 else (48, 2)
    return "resnet", {"width": width, "depth": depth, "stages": 3, "stem_stride": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """The model that weights are of."""

    model: str
    fits: bool  # whether its classes and channels are those of the images; else it is to be fine-tuned


def recognise(path: Path, maker: Maker, image_size: int) -> Recognised:
    """The timm model that a checkpoint is of, by its name or by the shapes of its weights. Raises CheckpointError."""
    read = read_weights(path)
    stem = path.stem.lower().replace("-", "_")
    named = [name for name in expand_model_names(["*"]) if name in stem]
    for model in dict.fromkeys([*sorted(named, key=len, reverse=True), *USUAL]):
        if found := _compare(model, read, maker, image_size):
            return found
    raise CheckpointError(
        f"{path}: is none of timm's usual models; say which with --teacher-model, a timm name or module:function"
    )


def recognise_as(model: str, path: Path, maker: Maker, image_size: int) -> Recognised:
    """What the user says that they are of. What does not fit it at all is left to `check` to say."""
    read = read_weights(path)
    found = None if is_own(model) else _compare(model, read, maker, image_size)
    return found or Recognised(model=model, fits=True)


def _compare(model: str, read: ReadWeights, maker: Maker, image_size: int) -> Recognised | None:
    """None: they are of another model."""
    spec = StudentSpec(model=model, image_size=image_size)
    with torch.device("meta"):
        built = create_student(spec, classes=maker.classes, channels=maker.channels)
    wanted = {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}
    shapes = {name: tuple(t.shape) for name, t in named_as(wanted, read).tensors.items()}
    other = [name for name in wanted if shapes.get(name) != wanted[name]]
    if wanted.keys() != shapes.keys() or len(other) > CLASSIFIER:
        return None
    return Recognised(model=model, fits=not other)


def heirs_of(teacher: str) -> Ladder | None:
    """The family that can inherit from published weights; None: none can."""
    return next((ladder for name, ladder in HEIRS.items() if teacher.startswith(name)), None)


def ladders(image_size: int) -> tuple[Ladder, ...]:
    """Families for images of this size."""
    if image_size <= SMALL:
        patch = 1 if image_size < SMALL // 2 else 2  # patches of 2 are halved to nothing below 32
        return (
            Ladder(
                model="resnet",
                widths=(8, 16, 24, 32, 40, 48),
                least={"depth": 1, "stages": 3, "stem_stride": 2},
                written="depth: [1, 2], stages: 3, stem_stride: [1, 2]",
            ),
            Ladder(
                model="convnext",
                widths=(8, 16, 24, 32),
                least={"depth": 1, "patch_size": patch},
                written=f"depth: 1, patch_size: {patch}",
            ),
        )
    return (
        Ladder(
            model="resnet",
            widths=(8, 16, 24, 32),
            least={"depth": 1, "stages": 3, "stem_stride": 4},
            written="depth: [1, 2], stages: [3, 4], stem_stride: [2, 4]",
        ),
        Ladder(
            model="mobilenetv3",
            widths=(0.25, 0.5, 0.75, 1.0, 1.25),
            least={"variant": "small", "depth": 1.0, "stem_stride": 2},
            written="variant: [small, large]",
        ),
    )


def within(
    families: Sequence[Ladder], budget: Budget, maker: Maker, image_size: int
) -> tuple[Ladder, ...]:
    """The families with the widths of which a student is within the budget. Raises ConfigError where there is none."""
    found: list[Ladder] = []
    costs: list[Cost] = []
    for ladder in families:
        known = {
            width: maker.cost(ladder.model, {"width": width, **ladder.least}, image_size)
            for width in ladder.widths
        }
        costs += known.values()
        if fitting := [width for width, cost in known.items() if budget.admits(cost)]:
            found.append(replace(ladder, widths=fitting))
    if found:
        return tuple(found)
    least = ", ".join(
        f"{name} {format_cost(name, min(value for cost in costs if (value := cost.known(name)) is not None))} "
        f"(limit {format_cost(name, limit)})"
        for name, limit in budget.limits.items()
    )
    raise ConfigError(
        f"budget: the smallest students at {image_size} px need {least}; give a larger budget, or smaller images with --image-size"
    )
