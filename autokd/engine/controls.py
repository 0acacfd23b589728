"""Trials that every search begins with: what the others are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autokd.balance import FIXED
from autokd.engine.ledger import Proposal
from autokd.engine.survey import Sampled, Survey
from autokd.mitigation import NONE
from autokd.records import PRETRAIN, TEACHER, Candidate
from autokd.space import Space, centre

NO_DISTILLATION = "no distillation"
PLAIN_KD = "plain KD"

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

    Two by two, so that what distillation gains can be read off at both ends of the front.
    """
    feasible = survey.feasible
    ends = {"large": feasible[-1]}
    if len(feasible) > 1:
        ends["small"] = feasible[0]
    return [
        _control(space, student, f"{name}, {size} student", losses)
        for size, student in ends.items()
        for name, losses in LOSSES.items()
    ]


def _control(space: Space, sampled: Sampled, name: str, losses: Mapping[str, Any]) -> Proposal:
    """The student of the survey, trained at the centre of the space.

    Of the space's parameters it has those that it really takes its values from: not the loss's.
    """
    values: dict[str, Any] = {}

    def suggest(parameter: str, distribution: Any) -> Any:
        value = sampled.params.get(parameter, centre(parameter, distribution))
        if not parameter.startswith(("distill.", "schedule.")):
            values[parameter] = value
        return value

    whole = space.sample(suggest)
    stages = [replace(s, **losses) for s in whole.stages if s.name in ("student", "prune")]
    if stages[0].start_from == PRETRAIN:  # then it starts from where that one would have
        stages[0] = replace(stages[0], start_from=whole.stage(PRETRAIN).start_from)
    donor = [whole.donor] if whole.donor else []
    candidate = Candidate(stages=(*donor, *stages))
    return Proposal(candidate=candidate, params=values, control=name)
