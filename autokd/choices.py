"""What a search file may name, and what goes together. Refused in one line, before the first trial."""

from __future__ import annotations

from collections.abc import Sequence

from timm.optim import list_optimizers  # type: ignore[attr-defined]

from autokd.balance import BALANCES
from autokd.config import Config
from autokd.data.augment import AUGMENTATIONS
from autokd.errors import ConfigError, nearest_name
from autokd.feature_losses import FEATURE_LOSSES
from autokd.losses import LOSSES, NEED_HARD_LABELS, NEED_THREE_CLASSES
from autokd.mitigation import MFD, MITIGATIONS, NONE
from autokd.parameters import values_of
from autokd.records import PRECISIONS

CHAIN, DENSE = "chain", "dense"  # of schedule.guidance
NO_LOSS = "none"  # the value of distill.loss for a student that learns from labels alone


def check_choices(config: Config, classes: int | None) -> None:
    """Raises ConfigError; `classes` are the data's, of which some losses need three, None where they are not known."""
    for path, known in known_names().items():
        section, key = path.split(".")
        check_names(path, values_of(getattr(getattr(config, section), key)), known)
    for member in config.teacher.members:
        if member.train:
            for key in ("augmentation", "optimizer"):
                known = known_names()[f"train.{key}"]
                check_names(f"teacher.train.{key}", [getattr(member.train, key)], known)
    _check_losses(config, classes)
    if {*values_of(config.distill.loss)} == {NO_LOSS} and config.distill.mitigation != NONE:
        raise ConfigError(
            f"distill.mitigation: only students with a teacher have one, and distill.loss is {NO_LOSS}; "
            f"set it to {NONE}, or add a loss"
        )


def known_names() -> dict[str, Sequence[str]]:
    """Key of a search file -> all names that may stand there, for keys that take names of parts."""
    return {
        "students.precision": PRECISIONS,
        "distill.loss": [*LOSSES, NO_LOSS],
        "distill.feature_loss": [*FEATURE_LOSSES, NONE],
        "distill.balance": [*BALANCES],
        "distill.mitigation": [*MITIGATIONS],
        "schedule.guidance": [CHAIN, DENSE],
        "train.augmentation": [*AUGMENTATIONS],
        "train.optimizer": [str(name) for name in list_optimizers()],
    }


def check_names(path: str, names: Sequence[str], known: Sequence[str]) -> None:
    """`path` is where they stand in the search file."""
    for name in names:
        if name not in known:
            shown = (
                ", ".join(known)
                if len(known) <= 20
                else f"{len(known)} names, among them {', '.join(known[:8])}"
            )
            raise ConfigError(
                f"{path}: unknown '{name}'; known: {shown}.{nearest_name(name, known)}"
            )


def _check_losses(config: Config, classes: int | None) -> None:
    """What some losses need, and what a schedule must not leave out."""
    distill, train = config.distill, config.train
    losses = values_of(distill.loss)
    if classes is not None and classes < 3 and (few := {*losses} & {*NEED_THREE_CLASSES}):
        raise ConfigError(
            f"distill.loss: {', '.join(sorted(few))} need three classes or more, and the data has {classes}; "
            "take kd or dist"
        )
    mixing = [name for name in ("mixup", "cutmix") if max(values_of(getattr(train, name))) > 0]
    if mixing and {*losses} <= {*NEED_HARD_LABELS}:
        raise ConfigError(
            f"train.{mixing[0]}: {', '.join(losses)} needs one label an image, and mixed images have two; "
            "set it to 0, or add another distill.loss"
        )
    if key := config.data.without_labels:
        labelled = [f"train.{name}" for name in mixing]
        labelled += [f"distill.loss {name}" for name in losses if name in NEED_HARD_LABELS]
        labelled += [
            f"distill.mitigation {name}" for name in values_of(distill.mitigation) if name != NONE
        ]
        if labelled:
            raise ConfigError(
                f"data.{key}: {labelled[0]} needs a label or a group of every image; leave out one of the two"
                + (", or set data.rest: drop" if key == "per_class" else "")
            )
    asks_features = {*values_of(distill.feature_loss)} - {NONE} | {
        *values_of(distill.mitigation)
    } & {MFD}
    if config.teacher.ensemble and asks_features:
        raise ConfigError(
            f"teacher.ensemble: several models have no features in common, which {sorted(asks_features)[0]} needs; "
            "take a single teacher, or leave that out"
        )
    if min(values_of(distill.until)) < 1 and min(values_of(distill.label_weight)) == 0:
        raise ConfigError(
            "distill.until: nothing is left to learn from after the teacher where distill.label_weight is 0; "
            "set until to 1, or label_weight above 0"
        )
