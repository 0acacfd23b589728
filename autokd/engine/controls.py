"""Trials that every search begins with: what the others are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autokd.balance import FIXED
from autokd.choices import RANDOM
from autokd.engine.ledger import Proposal
from autokd.engine.survey import Sampled, Survey
from autokd.mitigation import NONE
from autokd.quantities import count_of
from autokd.records import HEIR, PRETRAIN, TEACHER, Candidate
from autokd.space import START, Space, centre

NO_DISTILLATION = "no distillation"
PLAIN_KD = "plain KD"

_IN_WORDS = {HEIR: "heir", RANDOM: "random weights"}  # starts, in the names of controls
_NOTHING_ELSE = {
    "mitigation": NONE,
    "loss_arguments": {},
    "taps": 1,
    "balance": FIXED,
    "teacher_warmup": 0.0,
    "teacher_until": 1.0,
    "teacher_drop": 0.0,
}
# Hinton et al. 2015 at the weights that CIFAR work has used since (Tian et al. 2020).
LOSSES: Mapping[str, Mapping[str, Any]] = {
    NO_DISTILLATION: _NOTHING_ELSE
    | {"teachers": (), "loss_weights": {"ce": 1.0}, "temperature": 1.0},
    PLAIN_KD: _NOTHING_ELSE
    | {"teachers": (TEACHER,), "loss_weights": {"ce": 0.1, "kd": 0.9}, "temperature": 4.0},
}


def control_proposals(space: Space, survey: Survey) -> list[Proposal]:
    """The dearest and the cheapest student found within budget, each without distillation and with plain KD.

    Two by two, so that what distillation gains can be read off at both ends of the front. Where there are heirs each is
    trained without distillation from its other start too, so that what a start gains can be read off as well.
    """
    feasible = survey.feasible
    ends = {"large": feasible[-1]}
    if len(feasible) > 1:
        ends["small"] = feasible[0]
    return [
        _control(space, sampled, f"{size} student", kind, start, named=len(starts) > 1)
        for size, sampled in ends.items()
        for starts in [space.starts.compared(sampled.spec)]
        for kind, start in [
            *((kind, starts[0]) for kind in LOSSES),
            *((NO_DISTILLATION, other) for other in starts[1:]),
        ]
    ]


def crowding(controls: int, trials: int) -> str:
    """What to say where controls leave few trials to search with; empty where they do not."""
    if 2 * controls < trials:
        return ""
    return f"{min(controls, trials)} of {count_of(trials, 'trial')} are controls; more trials leave more to search with"


def _control(
    space: Space, sampled: Sampled, name: str, kind: str, start: str | None, *, named: bool
) -> Proposal:
    """The student of the survey, trained at the centre of the space.

    Of the space's parameters it has those that it really takes its values from: not the loss's.
    """
    values: dict[str, Any] = {START: start} if START in space.distributions else {}

    def suggest(parameter: str, distribution: Any) -> Any:
        value = sampled.params.get(parameter, centre(parameter, distribution))
        if not parameter.startswith(("distill.", "schedule.")):
            values[parameter] = value
        return value

    whole = space.sample(suggest, start=start)
    stages = [replace(s, **LOSSES[kind]) for s in whole.stages if s.name in ("student", "prune")]
    if stages[0].start_from == PRETRAIN:  # then it starts from where that one would have
        stages[0] = replace(stages[0], start_from=whole.stage(PRETRAIN).start_from)
    donor = [whole.donor] if whole.donor else []
    return Proposal(
        candidate=Candidate(stages=(*donor, *stages)),
        params=values,
        control=", ".join([kind, *([_IN_WORDS[start]] if named and start else []), name]),
    )
