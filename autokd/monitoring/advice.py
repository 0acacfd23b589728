"""What to do about what was found: keep the student, look closer, or distil again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autokd.drift.accuracy import Accuracy, AccuracyChange
from autokd.drift.by_group import find_fallen
from autokd.drift.reference import Reference
from autokd.drift.shift import Shift
from autokd.fairness.audit import Audit

KEEP, UNDECIDED, CLOSER, AGAIN = "keep", "undecided", "look closer", "re-distil"
EXIT_CODES = {KEEP: 0, UNDECIDED: 3, CLOSER: 3, AGAIN: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One of EXIT_CODES, and why."""

    recommendation: str
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.recommendation]


def advise(
    shifts: Sequence[Shift],
    change: AccuracyChange | None,
    audit: Audit | None,
    *,
    reference: Reference,
    against_teacher: bool,
    expected: float | None,
    margin: float,
) -> Advice:
    """With labels, accuracy and the audit decide and drift explains; without, drift is all there is, and is no proof of harm."""
    found = [_of_shifts(shifts, alone=change is None)]
    if change is not None:
        found.insert(0, _of_accuracy(change))
    if audit is not None:
        found.append(_of_audit(audit, reference, against_teacher, margin))
    if change is None and found[0][0] == CLOSER:
        found.append((KEEP, _guess(expected, reference.val, margin)))
    order = list(EXIT_CODES)
    worst = max((recommendation for recommendation, _ in found), key=order.index)
    return Advice(recommendation=worst, reasons=tuple(reason for _, reason in found))


def _of_accuracy(change: AccuracyChange) -> tuple[str, str]:
    (low, high), then, now = change.interval, change.then, change.now
    figures = (
        f"{now.share:.1%} of {now.images:,} images, {then.share:.1%} of {then.images:,} on {then.split} at export; "
        f"{_points(-change.loss)} (95 %: {_points(-high)} to {_points(-low)})"
    )
    limit = f"the margin of {change.margin * 100:g} points"
    if change.state == "fell":
        return AGAIN, f"Accuracy fell by more than {limit}: {figures}."
    if change.state == "slipped":
        return CLOSER, f"Accuracy fell, perhaps by more than {limit}: {figures}. {_more(change)}"
    if change.state == "undecided":
        return (
            UNDECIDED,
            f"Whether accuracy fell by {limit} is undecided: {figures}. {_more(change)}",
        )
    return KEEP, f"Accuracy is within {limit}: {figures}."


def _more(change: AccuracyChange) -> str:
    if change.needed is None:
        return (
            f"The {change.then.images:,} images of {change.then.split} at export are too few to decide it by any number of "
            "new ones."
        )
    return f"About {max(change.needed, change.now.images + 1):,} labelled images decide it."


def _of_shifts(shifts: Sequence[Shift], *, alone: bool) -> tuple[str, str]:
    moved = [shift for shift in shifts if shift.state in ("drifted", "shifted")]
    still_open = [shift for shift in shifts if shift.state == "undecided"]
    if moved:
        what = ", ".join(_moved(moved))
        if not alone:
            return KEEP, f"Drift: {what}. With labels at hand, accuracy decides."
        return CLOSER, f"Drift: {what}. Without labels it is not known whether answers are worse."
    if still_open:
        needed = [shift.needed for shift in still_open]
        names = ", ".join(shift.name for shift in still_open)
        enough = [each for each in needed if each is not None]
        said = (
            f"{max(enough):,} images decide it"
            if len(enough) == len(needed)
            else "too few images were kept at export to ever decide it"
        )
        return KEEP if not alone else UNDECIDED, f"Drift is undecided for {names}: {said}."
    return KEEP, "No drift of images or answers that is large enough to matter."


def _moved(moved: Sequence[Shift]) -> Iterator[str]:
    for shift in sorted(moved, key=lambda shift: shift.state):
        size = "large" if shift.state == "drifted" else "some"
        yield f"{shift.name} ({size}, {shift.measure} {shift.effect:.2f})"


def _of_audit(
    audit: Audit, reference: Reference, against_teacher: bool, margin: float
) -> tuple[str, str]:
    """A fail is news where it did not fail at export, or where a group is right less often than then."""
    said = f"Audit on the new images: {audit.status}. {audit.figures().sentence}"
    gates, then = audit.record["gates"], reference.audits.values()
    if audit.status != "fail":
        is_open = any(g["attr"] and g["required"] and g["state"] == "undecided" for g in gates)
        return UNDECIDED if is_open else KEEP, said
    if against_teacher and then and "fail" not in then:
        return AGAIN, said
    if not against_teacher:
        said += " The teacher was not at hand, so this is of the student alone."
    elif then:
        said += " It failed at export too."
    failed = {gate["attr"] for gate in gates if gate["state"] == "fail" and gate["attr"]}
    if reference.groups is None or failed - set(reference.groups):
        return (
            CLOSER,
            f"{said} How its groups were at export is not known; a new export of it knows those of the search.",
        )
    fallen = find_fallen(reference.groups, audit.record["by"], sorted(failed), margin=margin)
    if not fallen:
        return KEEP, f"{said} No group has fallen since export by more than chance explains."
    told = ", ".join(
        f"{name} ({each.then.share:.1%} of {each.then.images:,} then, {each.now.share:.1%} of {each.now.images:,} now)"
        for name, each in fallen.items()
    )
    return CLOSER, f"{said} Fallen since export: {told}."


def _guess(expected: float | None, then: Accuracy, margin: float) -> str:
    if expected is None:
        return "Confidence says nothing of accuracy on images so unlike those at export: label some of the new images to know."
    far = "" if then.share - expected < margin else ", more than the margin below"
    return (
        f"By its confidence, an accuracy of about {expected:.0%} is to be expected{far} ({then.share:.1%} on {then.split} at "
        "export). It is a guess: label some of the new images to know."
    )


def _points(share: float) -> str:
    return f"{round(share * 100, 1) + 0.0:+.1f} pp"  # + 0.0: no minus before a zero
