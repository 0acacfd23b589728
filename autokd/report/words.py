"""What a search found, in a few sentences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from autokd.quantities import count_of, format_count, share_of
from autokd.records import (
    AUDIT_STATES,
    FrontMember,
    Remeasured,
    TeacherInfo,
    TrialResult,
    further_sets,
)
from autokd.report.controls import Pair, heirs_and_not, taught_and_not

ASIDES = {"stopped": "stopped early", "rejected": "rejected untrained", "failed": "failed"}


def summarise(
    results: Sequence[TrialResult],
    front: Sequence[TrialResult],
    teacher: TeacherInfo,
    members: Sequence[FrontMember] = (),
    *,
    again: Mapping[int, Remeasured] | None = None,
    accepted_bias: str | None = None,
) -> str:
    """Counts, the two ends of the front against the teacher, what distillation gained, and what the audits say.

    `again`: trials that were trained from further seeds, by their number. `accepted_bias` is why a teacher is used
    whatever its own audit says.
    """
    again = again or {}
    trained = sum(result.state == "complete" for result in results)
    asides = [
        f"{count} {ASIDES[state]}"
        for state in ASIDES
        if (count := sum(result.state == state for result in results))
    ]
    counts = f"{count_of(trained, 'student')} trained to {'its' if trained == 1 else 'their'} end"
    counts += f" ({', '.join(asides)})" if asides else ""
    if not front and trained:
        return f"{counts}; none kept the gap between groups within audit.max_gap_growth, so there is no front."
    if not front:
        return f"{counts}; none finished, so there is no front yet."
    best, smallest = front[0], min(front, key=lambda r: r.cost.macs if r.cost else 0)
    sentences = [f"{counts}; {len(front)} within budget and beaten by no other."]
    sentences.append(f"The most accurate {_against(best, teacher)}.")
    if smallest is not best:
        sentences.append(f"The smallest {_against(smallest, teacher)}.")
    sentences += _shrink(members)
    sentences += _gains(results, again)
    sentences += _audits(front, members)
    sentences += _elsewhere(members)
    sentences += [f"The teacher's bias was accepted: {accepted_bias}"] if accepted_bias else []
    return " ".join(sentences)


def _against(result: TrialResult, teacher: TeacherInfo) -> str:
    assert result.cost is not None
    kept = share_of(result.val["accuracy"], teacher.val_accuracy)
    share = share_of(result.cost.macs, teacher.cost.macs)
    if kept is None or share is None:
        return (
            f"has a val accuracy of {result.val['accuracy']:.1%} (the teacher: {teacher.val_accuracy:.1%}) "
            f"at {format_count(result.cost.macs)} MACs (the teacher: {format_count(teacher.cost.macs)})"
        )
    accuracy = (
        f"keeps {kept:.1%} of the teacher's val accuracy"
        if kept <= 1
        else f"beats the teacher (val {result.val['accuracy']:.1%} against {teacher.val_accuracy:.1%})"
    )
    return f"{accuracy} {_share_of_macs(share)} ({format_count(result.cost.macs)})"


def _share_of_macs(share: float) -> str:
    """``at 6.3% of its MACs``, ``at 1.5 times its MACs``."""
    if round(share, 2) == 1:
        return "at as many MACs"
    return f"at {share:.1%} of its MACs" if share < 1 else f"at {share:.3g} times its MACs"


def _shrink(members: Sequence[FrontMember]) -> list[str]:
    """How much of the accuracy that the front was chosen by is left."""
    found = [member.again for member in members if member.again]
    if not found:
        return []
    changes = [-100 * each.shrink for each in found]
    seeds = min(each.seeds for each in found)
    return [
        f"Trained again from {seeds} further seed{'s' if seeds > 1 else ''}, the front's val accuracy is "
        f"{mean(changes):+.1f} points from what it was chosen by ({min(changes):+.1f} to {max(changes):+.1f})."
    ]


def _gains(results: Sequence[TrialResult], again: Mapping[int, Remeasured]) -> list[str]:
    """From the control trials: what a teacher brings, and what an heir has in advance."""
    done = [result for result in results if result.state == "complete"]
    taught = _changed(taught_and_not(done), again)
    heirs = [*heirs_and_not(done)]
    said = [f"Plain distillation changed the control students by {taught}."] if taught else []
    if heirs:
        whom = (heir.candidate.inherits_from() or "published weights" for _, heir, _ in heirs)
        said.append(
            f"Starting as heirs of {' and of '.join(dict.fromkeys(whom))} changed those without distillation by {_changed(heirs, again)}; "
            "what the donor was trained before comes on top."
        )
    return said


def _changed(pairs: Iterable[Pair], again: Mapping[int, Remeasured]) -> str:
    """``+1.2 points for the large one and -0.3 points for the small one (one seed each)``; empty without a pair."""
    gains, seeds = [], set()
    for size, one, other in pairs:
        gain, spread, count = _difference(one, other, again)
        gains.append(f"{gain:+.1f}{spread} points for the {size} one")
        seeds.add(count)
    if not gains:
        return ""
    how = "one seed each" if seeds == {1} else "± standard error; one seed where there is none"
    if len(seeds) == 1 and seeds != {1}:
        how = f"mean ± standard error of {seeds.pop()} seeds each"
    return f"{' and '.join(gains)} ({how})"


def _difference(
    one: TrialResult, other: TrialResult, again: Mapping[int, Remeasured]
) -> tuple[float, str, int]:
    """In points: over further seeds where both have several, with its standard error; and how many seeds."""
    a, b = again.get(one.number), again.get(other.number)
    if a is None or b is None or a.val_std is None or b.val_std is None:
        return 100 * (one.val["accuracy"] - other.val["accuracy"]), "", 1
    error = math.sqrt(a.val_std**2 / a.seeds + b.val_std**2 / b.seeds)
    return 100 * (a.val_mean - b.val_mean), f" ± {100 * error:.1f}", min(a.seeds, b.seeds)


def _audits(front: Sequence[TrialResult], members: Sequence[FrontMember]) -> list[str]:
    """The verdicts on the front: those on test once there are some, else those on val."""
    tested = [(m.number, m.verdict.audit) for m in members if m.verdict is not None]
    audits = tested or [(r.number, r.audit) for r in front if r.audit is not None]
    if not audits:
        return []
    counts = Counter(audit.status for _, audit in audits)
    verdicts = ", ".join(f"{counts[state]} {state}" for state in AUDIT_STATES if counts[state])
    text = f"Fairness of the front on {'test' if tested else 'val'}: {verdicts}."
    judged = [
        (audit.worst_change, n, audit) for n, audit in audits if audit.worst_change is not None
    ]
    change, number, audit = min(judged, key=lambda j: j[0], default=(0.0, 0, None))
    if audit is not None and change < 0:
        text += (
            f" {audit.worst_change_group} loses most: {-100 * change:.1f} points in trial {number}."
        )
    return [text]


def _elsewhere(members: Sequence[FrontMember]) -> list[str]:
    """What further sets say of the member that is most accurate on val, and of the teacher."""
    sentences = []
    for name in further_sets(members):
        member = min((m for m in members if name in m.also), key=lambda m: m.rank)
        verdict = member.also[name]
        teacher = verdict.teacher_accuracy
        against = "" if teacher is None else f", the teacher {teacher:.1%}"
        sentences.append(
            f"On {name} ({count_of(verdict.images or 0, 'image')}) trial {member.number} has {verdict.accuracy:.1%}{against}."
        )
    return sentences
