"""What a stage needs of models and images, read off its record; and what makes no sense in one."""

from __future__ import annotations

from autokd.balance import BALANCES
from autokd.errors import ConfigError
from autokd.feature_losses import FEATURE_LOSSES
from autokd.losses import LOSSES, NEED_HARD_LABELS
from autokd.mitigation import ADAPTIVE_ALPHA, MFD, MITIGATIONS, NEED_TEACHER, NONE
from autokd.records import PRETRAIN, Stage


def losses_on_logits(stage: Stage) -> list[str]:
    """The names of its losses on the student's logits. Where a teacher is not trusted the labels take over, whatever weight they had."""
    names = [name for name in stage.loss_weights if name == "ce" or name in LOSSES]
    return names if stage.mitigation != ADAPTIVE_ALPHA or "ce" in names else ["ce", *names]


def asks_logits(stage: Stage) -> bool:
    """Whether its teachers are asked for logits: not where they teach by features alone."""
    return bool(stage.teachers) and any(name != "ce" for name in losses_on_logits(stage))


def features_needed(stage: Stage) -> tuple[int, bool]:
    """How many maps a stage compares of each image, and whether it does the pooled features."""
    of = {FEATURE_LOSSES[name].of for name in stage.loss_weights if name in FEATURE_LOSSES}
    return (stage.taps if "maps" in of else 0), "pooled" in of or MFD in stage.loss_weights


def learns_unlabelled(stage: Stage) -> bool:
    """Whether images without a label are shown to its student: a teacher says something about them, and nothing else is needed."""
    return bool(stage.teachers) and not _needs_every_label(stage)


def _needs_every_label(stage: Stage) -> bool:
    """Or every group."""
    hard = {*stage.loss_weights} & {*NEED_HARD_LABELS}
    return bool(hard) or _mixes(stage) or stage.mitigation != NONE


def _mixes(stage: Stage) -> bool:
    return stage.training.mixup > 0 or stage.training.cutmix > 0


def check_stage(stage: Stage) -> None:
    """Raises ConfigError for what makes no sense: stages come from files too."""
    for complaint in (_unknown(stage), _contradiction(stage), _without_labels(stage)):
        if complaint:
            raise ConfigError(f"{stage.name}: {complaint}")


def _unknown(stage: Stage) -> str | None:
    if stage.mitigation not in MITIGATIONS:
        return f"unknown mitigation '{stage.mitigation}'; known: {', '.join(MITIGATIONS)}"
    if stage.balance not in BALANCES:
        return f"unknown balance '{stage.balance}'; known: {', '.join(BALANCES)}"
    known = ("ce", MFD, *LOSSES, *FEATURE_LOSSES)
    unknown = next((name for name in stage.loss_weights if name not in known), None)
    return f"unknown loss '{unknown}'; known: {', '.join(known)}" if unknown else None


def _contradiction(stage: Stage) -> str | None:
    if stage.mitigation in NEED_TEACHER and not stage.teachers:
        return f"mitigation {stage.mitigation} needs a teacher, and this stage learns from labels alone"
    if (stage.mitigation == MFD) != (MFD in stage.loss_weights):
        return "mitigation mfd and a weight of the loss mfd go together; give both or none"
    if stage.teacher_until < 1 and "ce" not in stage.loss_weights:
        return (
            f"teacher_until {stage.teacher_until:g} leaves nothing to learn from after that; "
            "give the loss ce a weight"
        )
    if _mixes(stage) and stage.mitigation != NONE:
        return f"mixed images have no one group; leave out mixup and cutmix, or {stage.mitigation}"
    if _mixes(stage) and {*stage.loss_weights} & {*NEED_HARD_LABELS}:
        return "dkd needs one label an image; leave out mixup and cutmix, or take another loss"
    return None


def _without_labels(stage: Stage) -> str | None:
    if stage.name != PRETRAIN:
        return (
            None
            if losses_on_logits(stage)
            else "nothing trains its classifier; give the loss ce, or one on logits, a weight"
        )
    if not stage.teachers:
        return "this stage learns from teachers alone, and has none"
    if "ce" in stage.loss_weights or _needs_every_label(stage):
        return (
            "this stage learns without labels; leave out ce, dkd, mixup, cutmix and the mitigation"
        )
    return None
