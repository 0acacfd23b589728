"""Which student to ship: the ends of the front, and the cheapest that costs hardly any accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autokd.quantities import format_cost, share_of
from autokd.records import COSTS, AuditFigures, FrontMember, TeacherInfo, TrialResult

NEAR = 0.01  # of val accuracy that a much cheaper student may be worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One student of the front, and what it is to be taken for."""

    result: TrialResult
    member: FrontMember
    reason: str

    @property
    def audit(self) -> AuditFigures | None:
        """On test where it was asked, since val chose the student."""
        return self.member.verdict.audit if self.member.verdict else self.result.audit


def choose(
    front: Sequence[TrialResult], members: Sequence[FrontMember], objectives: Sequence[str]
) -> tuple[Choice, ...]:
    """The most accurate, the cheapest within a point of it, the cheapest; each student once.

    Accuracy is val's, as everywhere where students are chosen; costs are compared by the first that is an objective.
    The one in between is chosen among those whose audit on val does not fail, if there are any.
    """
    if not front:
        return ()
    cost = next((name for name in objectives if name in COSTS), "macs")
    by_number = {member.number: member for member in members}
    near = [r for r in front if r.val["accuracy"] >= front[0].val["accuracy"] - NEAR]
    sound = [r for r in near if r.audit is None or r.audit.status != "fail"] or near
    picks = (
        ("the most accurate", front[0]),
        (
            f"the cheapest within {100 * NEAR:g} point of it",
            min(sound, key=lambda r: r.objective(cost)),
        ),
        ("the cheapest", min(front, key=lambda r: r.objective(cost))),
    )
    chosen = {result.number: result for _, result in picks}
    choices = []
    for number, result in chosen.items():
        *more, last = [reason for reason, each in picks if each.number == number]
        reason = " and ".join([", ".join(more), last] if more else [last])
        choices.append(Choice(result=result, member=by_number[number], reason=reason))
    return tuple(choices)


def choice_sentence(choice: Choice, teacher: TeacherInfo, *, link: str) -> str:
    """Markdown: ``**The cheapest: [trial-0015](…)**, resnet …: val 97.8 %, test 97.5 %; 54.9k MACs (1.6 % of the teacher's); …``"""
    result, verdict = choice.result, choice.member.verdict
    assert result.cost is not None
    accuracy = f"val {result.val['accuracy']:.1%}"
    accuracy += f", test {verdict.accuracy:.1%}" if verdict else ""
    further = choice.member.also.items()
    accuracy += "".join(f", on {name} {each.accuracy:.1%}" for name, each in further)
    share = share_of(result.cost.macs, teacher.cost.macs)
    costs = f"{format_cost('macs', result.cost.macs)} MACs"
    costs += "" if share is None else f" ({share:.1%} of the teacher's)"
    costs += f", {format_cost('size_bytes', result.cost.size_bytes)}"
    if result.cost.latency_ms is not None:
        costs += f", {format_cost('latency_ms', result.cost.latency_ms)}"
    reason = choice.reason[0].upper() + choice.reason[1:]
    text = f"**{reason}: [{result.name}]({link})**, {result.candidate.student.describe()}: {accuracy}; {costs}"
    if choice.audit:
        text += f"; fairness audit: **{choice.audit.status}**"
        text += f" ({choice.audit.sentence})" if choice.audit.status == "fail" else ""
    return text + ("" if text.endswith(")") else ".")
