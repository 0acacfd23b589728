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
from autokd.students import create_student, deployed, expand_model_names
from autokd.weights import named_as, read_weights

SMALL = 64  # pixels, up to which nets keep the resolution in their first layers
CLASSIFIER = 2  # tensors that depend on the classes: a weight and a bias
USUAL = (  # teachers that a file's name does not tell
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d", "densenet121", "vgg16", "vgg16_bn",
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


def teacher_to_train(image_size: int) -> tuple[str, dict[str, Any]]:
    """A model and its arguments, large beside the students and still quick to train on so few pixels."""
    if image_size > SMALL:
        return "resnet18", {}
    width, depth = (32, 1) if image_size <= SMALL // 4 else (48, 2)
    return "resnet", {"width": width, "depth": depth, "stages": 3, "stem_stride": 1}


def recognise(path: Path, maker: Maker, image_size: int) -> str:
    """The timm model that a checkpoint is of, by its name or by the shapes of its weights. Raises CheckpointError."""
    read = read_weights(path)
    stem = path.stem.lower().replace("-", "_")
    named = [name for name in expand_model_names(["*"]) if name in stem]
    for model in dict.fromkeys([*sorted(named, key=len, reverse=True), *USUAL]):
        spec = StudentSpec(model=model, image_size=image_size)
        with torch.device("meta"):
            built = create_student(spec, classes=maker.classes, channels=maker.channels)
        wanted = {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}
        given = named_as(wanted, read).tensors
        shapes = {name: tuple(tensor.shape) for name, tensor in given.items()}
        other = [name for name in wanted if shapes.get(name) != wanted[name]]
        if wanted.keys() != shapes.keys() or len(other) > CLASSIFIER:
            continue
        if other:
            raise CheckpointError(
                f"{path}: is a {model} of other classes or channels ({other[0]} {shapes[other[0]]}; these images need "
                f"{wanted[other[0]]}); leave --teacher out, and write "
                f"`teacher: {{model: {model}, pretrained: {path}, train: {{}}}}` into the file to fine-tune it"
            )
        return model
    raise CheckpointError(
        f"{path}: is none of timm's usual models; say which with --teacher-model, a timm name or module:function"
    )


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


def within(budget: Budget, maker: Maker, image_size: int) -> tuple[Ladder, ...]:
    """The families with the widths of which a student is within the budget. Raises ConfigError where there is none."""
    found: list[Ladder] = []
    costs: list[Cost] = []
    for ladder in ladders(image_size):
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
