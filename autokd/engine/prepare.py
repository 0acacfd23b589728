"""What must be found and be right before a search's first trial: data, space, teacher, stores."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from autokd.config import Config
from autokd.engine.database import STUDY_DIGITS, begun_studies, ledger_url
from autokd.engine.gather import gather
from autokd.engine.identity import identify, refuse_changed, say_changed
from autokd.engine.place import CACHE, TEACHER_AUDIT
from autokd.engine.survey import Survey
from autokd.engine.teacher import audit_or_refuse, meet_teacher
from autokd.fairness.audit import Audit
from autokd.kept import evict
from autokd.records import SearchInfo, content_hash
from autokd.space import Space
from autokd.task import StudentCosts, Task
from autokd.tracking.store import Store, open_store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that a search is driven with."""

    config: Config
    device: str | None  # as it was asked for
    info: SearchInfo
    identity: Mapping[str, Any]  # what must not change when it goes on
    task: Task
    space: Space
    costs: StudentCosts
    sample: Survey
    fronts: Sequence[Mapping[str, Any]]  # of the searches that a warm start begins with
    ledger: str  # the URL of its database
    store: Store
    folder: Path  # of the study
    teacher_audit: Audit


def prepare(
    config: Config,
    *,
    directory: Path,
    tracking_uri: str | None,
    ledger: str | None,
    device: str | None,
    new: bool,
) -> Prepared:
    """In such an order that little time is lost where something is wrong; raises an AutoKDError that says what."""
    cache = directory / CACHE
    evict(cache, config.search.cache_limit)
    url = ledger_url(ledger, cache)
    found = gather(config, cache=cache, ledger=url, device=device)
    data, shared = found.data, found.shared
    if data.join:
        log.info("metadata: %s", data.join.describe())
    identity = identify(config, data)
    others = [] if new else begun_studies(url, config.name)
    refuse_changed(identity, others)
    store = open_store(tracking_uri, directory, later=True)  # before hours of training a teacher
    task, worth = meet_teacher(config, data, cache=cache, shared=shared, device=device)
    worth.say()
    identity["teacher_weights"] = task.teacher_info.hash
    refuse_changed(identity, others)
    say_changed(identity, others)
    info = describe_search(config, task, identity)
    folder = cache / "studies" / info.study
    return Prepared(
        config=config,
        device=device,
        info=info,
        identity=identity,
        task=task,
        space=found.space,
        costs=found.costs,
        sample=replace(found.sample, teacher_macs=task.teacher_info.cost.macs),
        fronts=found.fronts,
        ledger=url,
        store=store,
        folder=folder,
        teacher_audit=audit_or_refuse(config, task, folder / TEACHER_AUDIT),
    )


def describe_search(config: Config, task: Task, identity: Mapping[str, Any]) -> SearchInfo:
    """The search's record; its name ends in a hash of what must not change when it goes on."""
    fingerprint = content_hash(identity)
    return SearchInfo(
        study=f"{config.name}-{fingerprint[:STUDY_DIGITS]}",
        config=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        fingerprint=fingerprint,
        seed=config.seed,
        objectives=config.search.objectives,
        budget=task.budget,
        data=task.data.info,
        teacher=task.teacher_info,
    )
