"""Whom the students of a search inherit from: found before its first trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autokd.engine.survey import Survey
from autokd.records import HEIR, TEACHER, Cost, Stage, StudentSpec, describe_donor
from autokd.space import Space


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
        donor = describe_donor(self.donor) if self.donor else "the teacher"
        new = "; its classifier is new" if self.donor and not self.donor.training.epochs else ""
        return f"{self.model} inherits {share} of its weights from {donor}{new}"


def find_heirs(
    space: Space, found: Survey, costs: Callable[[StudentSpec], Cost]
) -> tuple[Heirs, ...]:
    """Those among a survey's students, by model and donor. Raises ConfigError where a donor can't be."""
    shares: dict[tuple[str, str], list[float]] = {}
    donors: dict[tuple[str, str], StudentSpec | None] = {}
    for each in found.sampled:
        if each.spec.start != HEIR:
            continue
        own = space.starts.trace(each.spec)[-1].donor
        if own:
            costs(own)  # refuses one that can't be built
        donor = own or space.starts.teacher
        assert donor is not None
        group = each.spec.model, own.describe() if own else TEACHER
        donors[group] = own
        shares.setdefault(group, []).append(space.starts.share(each.spec, donor))
    return tuple(
        Heirs(
            model=model,
            donor=space.donor_stage(donor) if donor else None,
            least=min(shares[model, name]),
            most=max(shares[model, name]),
        )
        for (model, name), donor in donors.items()
    )
