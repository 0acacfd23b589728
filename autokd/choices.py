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
from autokd.records import HEIR, PRECISIONS

CHAIN, DENSE = "chain", "dense"  # of schedule.guidance
MIXING = ("mixup", "cutmix")  # keys of train
RANDOM = "random"  # of students.start, beside HEIR
NO_LOSS = "none"  # the value of distill.loss for a student that learns from labels alone
FEATURES, LOGITS = "features", "logits"  # of schedule.pretrain_on; the first of distill.loss too


def check_choices(config: Config, classes: int | None) -> None:
    """Raises ConfigError; `classes` are the data's, of which some losses need three, None where they are not known."""
    for path, known in known_names().items():
        section, key = path.split(".")
        if (given := getattr(getattr(config, section), key)) is not None:
            check_names(path, values_of(given), known)
    for member in config.teacher.members:
        if member.train:
            for key in ("augmentation", "optimizer"):
                known = known_names()[f"train.{key}"]
                check_names(f"teacher.train.{key}", [getattr(member.train, key)], known)
    _check_losses(config, classes)
    _check_features(config)
    _check_unlabelled(config)
    _check_teacher(config)


def known_names() -> dict[str, Sequence[str]]:
    """Key of a search file -> all names that may stand there, for keys that take names of parts."""
    return {
        "students.start": [RANDOM, HEIR],
        "students.precision": PRECISIONS,
        "distill.loss": [*LOSSES, FEATURES, NO_LOSS],
        "distill.feature_loss": [*FEATURE_LOSSES, NONE],
        "distill.balance": [*BALANCES],
        "distill.mitigation": [*MITIGATIONS],
        "schedule.guidance": [CHAIN, DENSE],
        "schedule.pretrain_on": [LOGITS, FEATURES],
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
    mixing = [name for name in MIXING if max(values_of(getattr(train, name))) > 0]
    if mixing and {*losses} <= {*NEED_HARD_LABELS}:
        raise ConfigError(
            f"train.{mixing[0]}: {', '.join(losses)} needs one label an image, and mixed images have two; "
            "set it to 0, or add another distill.loss"
        )
    if min(values_of(distill.until)) < 1 and min(values_of(distill.label_weight)) == 0:
        raise ConfigError(
            "distill.until: nothing is left to learn from after the teacher where distill.label_weight is 0; "
            "set until to 1, or label_weight above 0"
        )


def _check_unlabelled(config: Config) -> None:
    """A first stage without labels may have the images to itself: then the others may need labels."""
    distill, train, key = config.distill, config.train, config.data.without_labels
    if key is None or may_pretrain(config):
        return
    needs = [f"train.{name}" for name in MIXING if max(values_of(getattr(train, name))) > 0]
    needs += [f"distill.loss {n}" for n in values_of(distill.loss) if n in NEED_HARD_LABELS]
    needs += [f"distill.mitigation {n}" for n in values_of(distill.mitigation) if n != NONE]
    if needs:
        drop = " set data.rest: drop," if key == "per_class" else ""
        raise ConfigError(
            f"data.{key}: {needs[0]} needs a label or a group of every image; leave out one of the two,{drop} or show "
            "what has no label to a first stage of its own (schedule.pretrain_epochs)"
        )


def _check_features(config: Config) -> None:
    """What asks for features, and whether there are any."""
    distill = config.distill
    by_features = FEATURES in values_of(distill.loss)
    if by_features and NONE in values_of(distill.feature_loss):
        raise ConfigError(
            f"distill.loss: {FEATURES} teaches by distill.feature_loss alone, and that may be {NONE}; "
            f"take {NONE} out of it, as in feature_loss: [pooled, rkd]"
        )
    if by_features and min(values_of(distill.label_weight)) == 0:
        raise ConfigError(
            f"distill.label_weight: labels alone train the classifier of a student with distill.loss {FEATURES}; "
            "set it above 0"
        )
    asked = [name for name in values_of(distill.feature_loss) if name != NONE]
    asked += [MFD] if MFD in values_of(distill.mitigation) else []
    if may_pretrain(config) and FEATURES in values_of(config.schedule.pretrain_on):
        asked.append(f"schedule.pretrain_on: {FEATURES}")
    if config.teacher.ensemble and asked:
        cure = "set it to logits" if asked[0].startswith("schedule.") else "leave that out"
        raise ConfigError(
            f"teacher.ensemble: several models have no features in common, which {asked[0]} needs; "
            f"take a single teacher, or {cure}"
        )


def may_pretrain(config: Config) -> bool:
    """Whether some candidates have a first stage without labels."""
    return bool(max(values_of(config.schedule.pretrain_epochs)) > 0)


def _check_teacher(config: Config) -> None:
    """What is said of it where no student has one."""
    if {*values_of(config.distill.loss)} != {NO_LOSS}:
        return
    if {*values_of(config.distill.mitigation)} != {NONE}:
        raise ConfigError(
            f"distill.mitigation: only students with a teacher have one, and distill.loss is {NO_LOSS}; "
            f"set it to {NONE}, or add a loss"
        )
    if may_pretrain(config):
        raise ConfigError(
            f"schedule.pretrain_epochs: a student learns from a teacher there, and distill.loss is {NO_LOSS}; "
            "set it to 0, or add a loss"
        )
