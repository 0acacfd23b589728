"""What a search finds before its teacher: data, space and earlier fronts, each refused here where a search would fail."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autokd.auditing import check_audit
from autokd.config import Config
from autokd.data import ImageData, load_data, read_also_test
from autokd.data.batches import refuse_little_shared_memory
from autokd.engine.heritage import Heirs, find_heirs
from autokd.engine.portfolio import earlier_fronts
from autokd.engine.survey import Survey, survey_file, try_starts
from autokd.evaluation import EVAL_BATCH
from autokd.parameters import values_of
from autokd.shared import Shared
from autokd.space import Space
from autokd.task import StudentCosts, choose_device, probe_of
from autokd.teachers import describe_teacher

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Everything of a search but its teacher and its stores."""

    data: ImageData
    shared: Shared
    space: Space
    costs: StudentCosts
    sample: Survey
    heirs: tuple[Heirs, ...]
    # what is taken of each file that students start from, and of heirs' donors
    starts: tuple[str, ...]
    fronts: Sequence[Mapping[str, Any]]  # of the searches that a warm start begins with


def gather(config: Config, *, cache: Path, ledger: str, device: str | None) -> Gathered:
    """Find all of it, what is quick to find first. Raises an AutoKDError that says what is wrong.

    `ledger`: the URL of its database.
    """
    probe_of(config, choose_device(device))
    shared = Shared(config.search.shared, cache)
    shared.check()
    fronts = earlier_fronts(ledger, config.search.warm_start)
    data = load_data(config.data, seed=config.seed, cache=cache)
    data = replace(data, also_test=read_also_test(config.data, data.info, cache))
    data.say()
    check_audit(config.audit.to_policy(seed=config.seed), data)
    refuse_little_shared_memory(data.train, max(EVAL_BATCH, *values_of(config.train.batch_size)))
    space, costs, sample = survey_file(config, data)
    for member in config.teacher.members:  # one that can't be built, or has not the features
        costs(describe_teacher(member, data).student)
    heirs = find_heirs(space, sample, costs)
    donors = [each.donor.student for each in heirs if each.donor]
    starts = (*try_starts(sample, donors, data), *(each.sentence() for each in heirs))
    for start in starts:
        log.info("%s", start)
    return Gathered(
        data=data,
        shared=shared,
        space=space,
        costs=costs,
        sample=sample,
        heirs=heirs,
        starts=starts,
        fronts=fronts,
    )
