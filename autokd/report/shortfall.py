"""Whether any student of a front is worth shipping; and if none is, what to try, by what the search knows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from autokd.insight import Growth
from autokd.records import FrontMember, SearchInfo, TrialResult
from autokd.report.controls import taught_and_not
from autokd.report.insight.words import GROWING, LIMITS, late_gain

ENOUGH = 0.8  # of what the teacher has above chance
WEAK = 0.5  # of the way from chance to all right, below which the teacher itself is the first thing to mend
RISING = 0.01  # of val accuracy in the last quarter of the epochs
AT_THE_EDGE, FAR_FROM_IT = 0.8, 0.5  # of a limit that the most accurate student takes
MOST_REJECTED = 0.5  # of the proposals
SMALL = 64  # pixels, below which published weights are no help


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Why no student of the front is good enough, and what may help, most likely first."""

    sentence: str
    advice: tuple[str, ...]

    def text(self) -> str:
        """Markdown, for people at a terminal too."""
        return "\n".join([self.sentence, "", *(f"- {each}" for each in self.advice)])


def find_shortfall(
    results: Sequence[TrialResult],
    front: Sequence[TrialResult],
    members: Sequence[FrontMember],
    info: SearchInfo,
    *,
    growth: Sequence[Growth],
) -> Shortfall | None:
    """None where a student keeps ENOUGH of its teacher and does not fail its audit, or where there is none at all."""
    chance = 1 / len(info.data.class_names)
    luck = 2 * math.sqrt(chance * (1 - chance) / info.data.val_count)
    # of a teacher at chance, every student keeps enough; what is kept has to be more than luck
    least = max(ENOUGH * (info.teacher.val_accuracy - chance), luck)
    failing = [_status(member, r) == "fail" for r, member in zip(front, members, strict=True)]
    kept = [r.val["accuracy"] - chance >= least for r in front]
    if not front or any(k and not f for k, f in zip(kept, failing, strict=True)):
        return None
    best = front[0].val["accuracy"]
    reasons = []
    if not any(kept):
        reasons.append(
            f"the most accurate is right about {best:.1%} of val, the teacher about {info.teacher.val_accuracy:.1%} "
            f"(chance {chance:.1%})"
        )
    if count := sum(failing):
        every = "each fails its" if count == len(front) > 1 else f"{count} of {len(front)} fail"
        reasons.append(f"{every if len(front) > 1 else 'it fails its'} fairness audit")
    advice = (
        *_of_the_teacher(info, chance),
        *_of_training(front),
        *_of_distillation(results),
        *_of_the_budget(results, front[0], info),
        *_of_the_search(growth),
        *_of_the_start(front, info),
        *(_of_groups() if any(failing) else ()),
    )
    return Shortfall(
        sentence=f"None of these students is good enough: {', and '.join(reasons)}.", advice=advice
    )


def _status(member: FrontMember, result: TrialResult) -> str | None:
    audit = member.verdict.audit if member.verdict else result.audit
    return audit.status if audit else None


def _of_the_teacher(info: SearchInfo, chance: float) -> Iterator[str]:
    if info.teacher.val_accuracy - chance < WEAK * (1 - chance):
        yield (
            f"The teacher itself is right about {info.teacher.val_accuracy:.1%} only: a better one comes first "
            "(more epochs, a pretrained start, its mean, std and classes as in its training)."
        )


def _of_training(front: Sequence[TrialResult]) -> Iterator[str]:
    curves = [[each.val_accuracy for each in r.history if each.stage == "student"] for r in front]
    long = [curve for curve in curves if len(curve) >= 4]
    gains = [max(curve) - max(curve[: -(len(curve) // 4)]) for curve in long]
    if gains and (gain := median(gains)) > RISING:
        yield (
            f"Val accuracy still rose by {100 * gain:.1f} points in the last quarter of the epochs: more of them "
            f"(train.epochs, now {max(map(len, long))})."
        )


def _of_distillation(results: Sequence[TrialResult]) -> Iterator[str]:
    for size, taught, alone in taught_and_not(results):
        with_it, without = taught.val["accuracy"], alone.val["accuracy"]
        if without > with_it:
            yield (
                f"The {size} control is better without the teacher ({without:.1%} against {with_it:.1%}): look at what the teacher "
                "says (its mean, std, image size and classes), try a smaller distill.weight, other losses (distill.loss: [kd, dist, dkd]) "
                "or schedule.assistants: [0, 1]."
            )
            return


def _of_the_budget(
    results: Sequence[TrialResult], best: TrialResult, info: SearchInfo
) -> Iterator[str]:
    shares = {
        name: math.exp(value)
        for name, value in best.excess.items()
        if name in info.budget.limits and best.cost and best.cost.known(name) is not None
    }
    if shares and (share := max(shares.values())) >= AT_THE_EDGE:
        name = max(shares, key=lambda each: shares[each])
        yield f"The most accurate takes {share:.0%} of the limit on {LIMITS[name]}: a larger budget, if the device allows one."
    elif shares and share < FAR_FROM_IT:
        yield f"The most accurate takes {share:.0%} of the budget only: larger students (students.families, students.image_size)."
    rejected = sum(result.state == "rejected" for result in results)
    if results and (share := rejected / len(results)) >= MOST_REJECTED:
        yield (
            f"{share:.0%} of the proposals were over the budget and not trained: smaller students in students.families, "
            "so that more of them are tried."
        )


def _of_the_search(growth: Sequence[Growth]) -> Iterator[str]:
    if growth and (gain := late_gain(growth)) > GROWING:
        yield (
            f"The front grew by {gain:.1%} in the last quarter of the time: more trials "
            f"(`autokd search FILE --trials {2 * growth[-1].trials}` goes on)."
        )


def _of_the_start(front: Sequence[TrialResult], info: SearchInfo) -> Iterator[str]:
    if info.data.image_size > SMALL and not any(r.candidate.student.start for r in front):
        yield (
            "All of these started from random weights: published ones are a better start for photographs "
            "(students.pretrained: true; families inherit from them too), or the teacher's (students.start: heir)."
        )


def _of_groups() -> Iterator[str]:
    yield (
        "Who loses most stands in each student's audit: distill.mitigation: [none, adaptive_alpha, group_dro], or "
        "worst_group_accuracy among search.objectives."
    )
