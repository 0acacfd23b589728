"""What is said of a teacher's weights: where they come from, what of them is trained, what they are shown."""

from __future__ import annotations

from autokd.config import TeacherConfig
from autokd.data.load import ImageData
from autokd.records import Stage, Training
from autokd.students import InputFormat, Published, is_own


def describe_source(config: TeacherConfig, stage: Stage) -> str:
    """``fine-tuned (head) here from lite0.safetensors``."""
    if config.checkpoint:
        return str(config.checkpoint)
    if not config.pretrained:
        return "trained here"
    weights = "pretrained weights of timm"
    if config.pretrained is not True:
        weights = str(config.pretrained)
    elif is_own(stage.student.model):
        weights = f"weights of {stage.student.model}"
    if not config.train:
        return weights
    return f"fine-tuned ({describe_trained(stage.training)}) here from {weights}"


def describe_trained(training: Training) -> str:
    """``all``, ``last 2`` or ``head``."""
    blocks = training.trained_blocks
    return "all" if blocks is None else f"last {blocks}" if blocks else "head"


def describe_pixels(
    config: TeacherConfig, inputs: InputFormat, known: Published | None, data: ImageData
) -> str:
    """``images at 64 px as in the data (its weights: 224 px; teacher.image_size: 224 takes about 12 times as long), …``."""
    size, own = inputs.image_size, known.image_size if known else inputs.image_size
    text = f"images at {size} px"
    if own != size:
        cost = f"; teacher.image_size: {own} takes about {(own / size) ** 2:.0f} times as long and often knows more"
        text += f" (its weights: {own} px{cost if own > size and not config.image_size else ''})"
    elif config.image_size is None and size != data.info.image_size:
        text += ", as its weights have it"
    text += f", mean {_short(inputs.mean)}, std {_short(inputs.std)}"
    if known and not (config.mean or config.std):
        alike = (inputs.mean, inputs.std) == (known.mean, known.std)
        text += (
            " of its weights"
            if alike
            else f" of the data, as its weights have {len(known.mean)} channels"
        )
    if size != data.info.image_size:
        text += f", resized by {inputs.interpolation} interpolation"
    if known and known.crop_share < 1:
        text += (
            f"; all of each image (its weights were tested on the middle {known.crop_share:.1%})"
        )
    return text


def _short(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3g}" for value in values)
