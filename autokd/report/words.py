"""What a search found, in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence

from autokd.quantities import format_count
from autokd.records import TeacherInfo, TrialResult


def summarise(
    results: Sequence[TrialResult], front: Sequence[TrialResult], teacher: TeacherInfo
) -> str:
    """Counts, the two ends of the front against the teacher, and what distillation gained."""
    trained = sum(result.state == "complete" for result in results)
    asides = [
        f"{count} {state}"
        for state in ("rejected", "stopped", "failed")
        if (count := sum(result.state == state for result in results))
    ]
    counts = f"{trained} students trained" + (f" ({', '.join(asides)})" if asides else "")
    if not front:
        return f"{counts}; none finished, so there is no front yet."
    best, smallest = front[0], min(front, key=lambda r: r.cost.macs if r.cost else 0)
    sentences = [f"{counts}; {len(front)} within budget and beaten by no other."]
    sentences.append(f"The most accurate {_against(best, teacher)}.")
    if smallest is not best:
        sentences.append(f"The smallest {_against(smallest, teacher)}.")
    sentences += _gain_of_distillation(results)
    return " ".join(sentences)


def _against(result: TrialResult, teacher: TeacherInfo) -> str:
    assert result.cost is not None
    kept = result.val["accuracy"] / teacher.val_accuracy
    share = result.cost.macs / teacher.cost.macs
    return (
        f"keeps {kept:.1%} of the teacher's accuracy at {share:.2g} of its MACs"
        if share >= 1
        else f"keeps {kept:.1%} of the teacher's val accuracy at {share:.1%} of its MACs "
        f"({format_count(result.cost.macs)})"
    )


def _gain_of_distillation(results: Sequence[TrialResult]) -> list[str]:
    """From the control trials: the same student and settings, with and without a teacher. One seed each."""
    accuracy = {
        r.control: r.val["accuracy"] for r in results if r.control and r.state == "complete"
    }
    gains = []
    for size in ("large", "small"):
        without = accuracy.get(f"no distillation, {size} student")
        plain = accuracy.get(f"plain KD, {size} student")
        if without is not None and plain is not None:
            gains.append(f"{100 * (plain - without):+.1f} points for the {size} one")
    if not gains:
        return []
    return [
        f"Plain distillation changed the control students by {' and '.join(gains)} (one seed each)."
    ]
