"""A space without data, with costs that are made up, and results for it: what tests of the engine share."""

from __future__ import annotations

from dataclasses import replace

from autokd.config import parse_config
from autokd.engine.ledger import Entry, Proposal
from autokd.records import (
    AuditFigures,
    Budget,
    Candidate,
    Cost,
    FrontMember,
    StudentSpec,
    TeacherInfo,
    TrialResult,
    Verdict,
)
from autokd.space import Space

OBJECTIVES = ("val_accuracy", "macs")
CONFIG = parse_config(
    {
        "data": {"source": "digits"},
        "teacher": {"model": "resnet", "train": {"epochs": 1}},
        "students": {
            "model": "resnet",
            "families": {
                "resnet": {
                    "width": {"low": 8, "high": 96, "step": 8},
                    "depth": [1, 2, 3],
                    "stages": 3,
                    "stem_stride": [1, 2],
                }
            },
        },
        "distill": {"temperature": {"low": 1, "high": 8, "log": True}},
        "schedule": {"assistants": [0, 1]},
        "train": {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}},
    },
    source="",
)
SPACE = Space(CONFIG, image_size=8)
TEACHER_COST = Cost(macs=10_000_000, params=10**6, size_bytes=4 * 10**6)
TEACHER_INFO = TeacherInfo(
    name="resnet", hash="t", cost=TEACHER_COST, val_accuracy=0.9, source="made up"
)


def made_up_cost(spec: StudentSpec) -> Cost:
    """Grows with every argument as real costs do."""
    width, depth = spec.arguments["width"], spec.arguments["depth"]
    macs = width**2 * depth * 500 // spec.arguments["stem_stride"] ** 2
    return Cost(macs=macs, params=macs // 10, size_bytes=4 * macs // 10)


def complete(
    proposal: Proposal, number: int, *, budget: Budget | None = None, accuracy: float | None = None
) -> TrialResult:
    """A result whose accuracy grows with the student's size, a little differently for each trial."""
    cost = made_up_cost(proposal.candidate.student)
    grown = min(0.95, 0.3 + 0.04 * cost.macs**0.15 + 0.01 * (number * 37 % 7))
    return TrialResult(
        number=number,
        seed=number,
        candidate=proposal.candidate,
        state="complete",
        cost=cost,
        excess=(budget or Budget()).excess(cost),
        val={"accuracy": grown if accuracy is None else accuracy, "loss": 1.0},
        control=proposal.control,
    )


def make_audit(**changes) -> AuditFigures:
    """What an audit found, with some of it replaced."""
    found = AuditFigures(
        status="pass",
        sentence="No group lost more than 5 points.",
        worst_group="site=C",
        worst_group_accuracy=0.6,
        worst_label_group_accuracy=0.5,
        accuracy_gap=0.1,
        gap_growth=0.02,
        worst_change_group="site=C",
        worst_change=-0.03,
        undecided=0,
    )
    return replace(found, **changes)


def make_member(number: int, *, rank: int = 1, accuracy: float = 0.7, report="none", **audit):
    """A member of the front with its verdict on test; `audit` replaces values of its figures."""
    figures = make_audit(**audit)
    verdict = Verdict(
        accuracy=accuracy, loss=1.0, audit=figures, report=str(report), teacher_accuracy=0.76
    )
    return FrontMember(number=number, rank=rank, verdict=verdict)


def rejected(proposal: Proposal, number: int, budget: Budget) -> TrialResult:
    done = complete(proposal, number, budget=budget)
    return replace(done, state="rejected", val={}, reason="over budget")


def entry_of(proposal: Proposal, number: int, *results: TrialResult | None) -> Entry:
    return Entry(number=number, proposal=proposal, results=tuple(r for r in results if r))


def candidate_of(width: int, depth: int = 1) -> Candidate:
    values = {"students.resnet.width": width, "students.resnet.depth": depth}
    return SPACE.sample(lambda name, distribution: values.get(name, _first(distribution)))


def _first(distribution):
    return distribution.choices[0] if hasattr(distribution, "choices") else distribution.low


def result_of(
    number: int, *, width: int = 8, accuracy: float = 0.5, state: str = "complete", **changes
) -> TrialResult:
    """A trial's result without the proposal that led to it."""
    proposal = Proposal(candidate=candidate_of(width), params={})
    done = complete(proposal, number, accuracy=accuracy)
    return replace(done, state=state, **changes)
