"""Whom the students of a search inherit from: found, and their weights tried, before its first trial."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autokd.data import ImageData
from autokd.engine.survey import Survey
from autokd.records import HEIR, PRETRAINED, Stage, StudentSpec
from autokd.space import Space
from autokd.students import load_start, starts_from_file
from autokd.task import StudentCosts
from autokd.teachers import build_student

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heirs:
    """Students of one model that inherit from the same donor."""

    model: str
    donor: Stage | None  # of a stage of its own; None: the teacher
    least: float  # share of their weights that it can fill, 0..1
    most: float

    def sentence(self) -> str:
        """``resnet inherits 97 to 100% of its weights from the teacher``."""
        share = f"{self.most:.0%}"
        if f"{self.least:.0%}" != share:
            share = f"{self.least:.0%} to {share}".replace("% to", " to")
        return f"{self.model} inherits {share} of its weights from {self._donor()}"

    def _donor(self) -> str:
        if self.donor is None:
            return "the teacher"
        student, epochs = self.donor.student, self.donor.training.epochs
        said = student.model if student.start else student.describe()
        if starts_from_file(student):
            said += f" ({student.start})"
        return f"{said}, trained on labels first (epochs: {epochs})" if epochs else said


def find_heirs(space: Space, found: Survey, costs: StudentCosts) -> tuple[Heirs, ...]:
    """Those among a survey's students, by model and donor. Raises ConfigError where a donor can't be."""
    groups: dict[tuple[str, StudentSpec | None], list[float]] = {}
    for each in found.sampled:
        if each.spec.start != HEIR:
            continue
        start = space.starts.trace(each.spec)[-1]
        donor = start.donor or space.starts.teacher
        assert donor is not None
        if start.donor:
            costs(start.donor)  # refuses one that can't be built
        share = space.starts.share(each.spec, donor)
        groups.setdefault((each.spec.model, start.donor), []).append(share)
    return tuple(
        Heirs(
            model=model,
            donor=space.donor_stage(donor) if donor else None,
            least=min(shares),
            most=max(shares),
        )
        for (model, donor), shares in groups.items()
    )


def try_weights(found: Survey, heirs: Sequence[Heirs], data: ImageData) -> None:
    """Raises CheckpointError where published weights can't be had, before each trial would find that out for itself.

    Every file is tried, and said what is taken of it; of the hub's the first, as they are fetched.
    """
    own = [each.spec for each in found.sampled if each.spec.start not in (None, HEIR)]
    donors = [each.donor.student for each in heirs if each.donor and each.donor.student.start]
    starting = {(spec.model, spec.start): spec for spec in [*own, *donors]}
    for spec in starting.values():
        if starts_from_file(spec):
            _say_start(replace(spec, pruned=0.0), data)
    fetched = [spec for spec in starting.values() if spec.start == PRETRAINED]
    for spec in fetched[:1]:
        build_student(spec, data, start=True)


def _say_start(spec: StudentSpec, data: ImageData) -> None:
    classes, channels = len(data.info.class_names), data.info.channels
    loaded = load_start(build_student(spec, data), spec, classes=classes, channels=channels)
    log.info("%s starts from %s", spec.model, loaded.sentence())
