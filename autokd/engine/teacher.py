"""The teacher before a search's first trial: loaded or trained, said what it is worth, and audited."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from autokd.appraisal import Appraisal, appraise
from autokd.auditing import audit_teacher
from autokd.config import Config
from autokd.data import ImageData
from autokd.errors import AuditError, ConfigError
from autokd.fairness.audit import Audit
from autokd.shared import NOWHERE, Shared
from autokd.task import Task, create_task
from autokd.teachers import kept_in, load_those_at_hand, needs_training

log = logging.getLogger(__name__)


def meet_teacher(
    config: Config,
    data: ImageData,
    *,
    cache: Path,
    device: str | None,
    shared: Shared = NOWHERE,
) -> tuple[Task, Appraisal]:
    """The task with its teacher, which is trained where it has to be, and what that is worth."""
    kept = kept_in(config.teacher, data, cache=cache, seed=config.seed)
    task = create_task(config, data=data, cache=cache, shared=shared, device=device)
    logits = task.answers(task.teacher, "val")
    return task, appraise(config.teacher, task.teacher, data, logits, kept=kept)


def check_teacher(
    config: Config, data: ImageData, *, cache: Path, device: torch.device, report: Path
) -> tuple[Appraisal | None, tuple[str, ...]]:
    """Raise what a search would raise about its teacher. What it is worth, or None where it is to be trained first; and
    what is said of weights that others made."""
    if needs_training(config.teacher, data, cache=cache, seed=config.seed):
        notes = load_those_at_hand(
            config.teacher, data, cache=cache, seed=config.seed, device=device
        )
        return None, notes
    task, worth = meet_teacher(config, data, cache=cache, device=str(device))
    audit_or_refuse(config, task, report)
    return worth, task.teacher.notes


def audit_or_refuse(config: Config, task: Task, report: Path) -> Audit:
    """Not on disk yet. Raises AuditError when the teacher fails and nobody has accepted that."""
    audit = audit_teacher(task)
    figures = audit.figures()
    log.info("teacher on val: %s", figures.sentence)
    if audit.status == "fail":
        audit.save(report)
        raise AuditError(
            f"the teacher fails its audit: {figures.sentence} Report: {report / 'audit.html'}. Use "
            "another teacher, or say why this one will do: audit.accept_teacher_bias in the search file"
        )
    if "worst_group_accuracy" in config.search.objectives and figures.worst_group_accuracy is None:
        raise ConfigError(
            f"search.objectives: worst_group_accuracy needs a group of {task.policy.min_group_n} val "
            "images or more, and there is none; give more images or leave it out"
        )
    return audit
