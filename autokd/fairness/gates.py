"""The gates of an audit: figures in, pass, warn, undecided or fail out. Draws nothing at random."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autokd.fairness.gate import SEVERITY, Gate
from autokd.fairness.groups import Attribute
from autokd.fairness.rates import Z95
from autokd.fairness.resample import Interval
from autokd.fairness.words import change_words, group_words, p_words, percent, points
from autokd.records import AuditPolicy

ALPHA = 0.05
POWER = 1.645 + 0.842  # one-sided 5%, power 80%
MIN_CALIBRATION_N = 100  # images below which a calibration error says nothing


def harm_gate(
    attribute: Attribute,
    group: str,
    figures: Mapping[str, Any],
    *,
    policy: AuditPolicy,
    required: bool,
) -> Gate:
    """Does the group lose against its teacher? `figures` are its entry of student_vs_teacher."""
    low, high = figures["accuracy_delta_ci95"]
    change, p = figures["accuracy_delta"], figures["gate_p_holm"]
    margin, small = policy.margin, policy.warn_margin
    words = change_words(attribute, group, figures)
    needed, why = None, words
    if high < -small and change <= -margin and p < ALPHA:
        state = "fail"
    elif high < 0 or (change <= -small and p < ALPHA):
        state = "warn"
    elif low <= -margin:
        state = "undecided"
        needed = images_needed(figures, margin=margin)
        why = (
            f"{words}: neither no loss nor one of {points(margin)} can be ruled out "
            f"with {figures['n']} images"
        )
        why += f"; about {needed} would decide" if needed else ""
    else:
        state = "pass"
        why = f"{words}: a loss of {points(margin)} is ruled out"
    return Gate(
        id="group_harmed",
        attr=attribute.name,
        group=group,
        value=change,
        ci=(low, high),
        threshold=-margin,
        state=state,
        needed_n=needed,
        required=required,
        why=why,
    )


def images_needed(figures: Mapping[str, Any], *, margin: float) -> int | None:
    """To show "no worse than the margin" with power 80%: (1.645 + 0.842)^2 churn / margin^2.

    That supposes no change at all. Where the group has more images already and is undecided all the same, so many
    that an interval around the change as it is would leave out 0 or the margin. None: no number shows a margin of 0.
    """
    if not margin:
        return None
    n, change = int(figures["n"]), float(figures["accuracy_delta"])
    low, high = figures["accuracy_delta_ci95"]
    churn: float = max(figures["disagreement"], 1 / (n + 2))
    shrink: float = (high - low) / 2 / max(change + margin, -change)
    return math.ceil(max(POWER**2 * churn / margin**2, n * shrink**2, n + 1))


def uneven_gate(
    attribute: Attribute, test: Mapping[str, Any], *, policy: AuditPolicy, times: int
) -> Gate:
    """Do the groups lose unevenly? Uneven gains are no harm: they warn."""
    value, p = test["max_min_delta"], test["permutation_p"]
    groups = group_words(attribute)
    if value is None:
        state, why = "undecided", f"fewer than two groups of {groups} are judged"
    else:
        state = _chance_state(value > policy.margin, p, times)
        why = (
            f"the change differs by {points(value)} between groups of {groups} "
            f"({chance_words(test['expected_if_equal'], p, times)})"
        )
        if state == "fail" and test["min_delta"] >= 0:
            state, why = "warn", f"{why}, but no group lost"
    return Gate(
        id="harm_uneven",
        attr=attribute.name,
        value=value,
        threshold=policy.margin,
        state=state,
        why=why,
    )


def gap_gate(
    attribute: Attribute, test: Mapping[str, Any], model: str, *, policy: AuditPolicy, times: int
) -> Gate:
    """Is the teacher itself unfair, or a student that stands alone? Classes differ in difficulty: they warn at most."""
    value, p = test["max_min"], test["max_min_permutation_p"]
    groups, why = group_words(attribute), ""
    if value is None:
        state, why = "undecided", f"fewer than two groups of {groups} are judged"
    else:
        state = _chance_state(value > policy.margin, p, times)
        why = (
            f"the {model}'s accuracy differs by {points(value)} between groups of {groups} "
            f"({chance_words(test['max_min_expected_if_equal'], p, times)})"
        )
    if state == "fail" and attribute.is_class:
        state, why = "warn", f"{why}; classes differ in difficulty by nature"
    elif state == "fail" and model == "teacher" and policy.accept_teacher_bias:
        state, why = "warn", f"{why}; accepted: {policy.accept_teacher_bias}"
    return Gate(
        id="teacher" if model == "teacher" else "accuracy_gap",
        attr=attribute.name,
        value=value,
        threshold=policy.margin,
        state=state,
        why=why,
    )


def recall_gate(
    attribute: Attribute,
    klass: str,
    spread: Mapping[str, Any],
    p: float,
    *,
    policy: AuditPolicy,
    times: int,
) -> Gate:
    """Is a class found as often in its worst group as in its best? p holds for all classes at once."""
    value, limit = spread["ratio"], policy.recall_ratio
    if value is None:
        state = "undecided" if spread["groups"] < 2 else "pass"
        why = f'class "{klass}": fewer than two groups of {group_words(attribute)} are judged'
        if state == "pass":
            why = f'class "{klass}" is found in no group of {group_words(attribute)}'
    else:
        state = "pass" if value >= limit else _chance_state(True, p, times)
        if value < limit and state == "pass":  # so are small cells in most audits of equal groups
            state = "undecided"
        why = (
            f'class "{klass}" is found {value:.2f} times as often in '
            f"{group_words(attribute, spread['min_group'])} as in {group_words(attribute, spread['max_group'])}"
        )
        why += "" if state == "pass" else f" ({tested_words(p, times)})"
    return Gate(
        id="recall_ratio",
        attr=attribute.name,
        klass=klass,
        value=value,
        threshold=limit,
        state=state,
        why=why,
    )


def floor_gate(
    attribute: Attribute, accuracies: Mapping[str, tuple[float, Interval, int]], *, floor: float
) -> Gate | None:
    """The judged group that is worst off against the floor: (accuracy, interval, n) by group."""
    found = []
    for group, (value, (low, high), n) in accuracies.items():
        state, needed = "undecided", None
        if high < floor:
            state = "fail"
        elif value < floor:
            state = "warn"
        elif low >= floor:
            state = "pass"
        elif value > floor:
            needed = max(n + 1, math.ceil(Z95**2 * value * (1 - value) / (value - floor) ** 2))
        why = f"{group_words(attribute, group)} is right in {percent(value)} of {n} images; the floor is {percent(floor)}"
        found.append(
            Gate(
                id="worst_group_floor",
                attr=attribute.name,
                group=group,
                value=value,
                ci=(low, high),
                threshold=floor,
                state=state,
                needed_n=needed,
                why=why,
            )
        )
    return max(found, key=lambda gate: (SEVERITY[gate.state], -(gate.value or 0)), default=None)


def calibration_gate(
    attribute: Attribute,
    group: str,
    teacher_ece: float,
    student_ece: float,
    n: int,
    *,
    policy: AuditPolicy,
) -> Gate:
    """Did the group's calibration error grow?"""
    value = student_ece - teacher_ece
    state, needed = "pass", None
    if value > policy.calibration_margin:
        state = "warn"
    elif n < MIN_CALIBRATION_N:
        state, needed = "undecided", MIN_CALIBRATION_N
    why = (
        f"{group_words(attribute, group)}: the calibration error went from {points(teacher_ece)} to "
        f"{points(student_ece)}"
    )
    if state == "undecided":
        why += f"; {n} images are too few to tell"
    return Gate(
        id="calibration",
        attr=attribute.name,
        group=group,
        value=value,
        threshold=policy.calibration_margin,
        state=state,
        needed_n=needed,
        why=why,
    )


def coverage_gate(
    attribute: Attribute, *, missing_share: float | None, unjudged_share: float, policy: AuditPolicy
) -> Gate:
    """How much of the data is in no judged group, or in none that is known?"""
    missing = missing_share or 0.0
    too_many_missing = missing > policy.missing_share
    warns = too_many_missing or unjudged_share > policy.unjudged_share
    why = f"{group_words(attribute)}: {percent(unjudged_share)} of the images are in groups too small to judge"
    if missing:
        why += f", {percent(missing)} have no value"
    return Gate(
        id="coverage",
        attr=attribute.name,
        value=missing if too_many_missing else unjudged_share,
        threshold=policy.missing_share if too_many_missing else policy.unjudged_share,
        state="warn" if warns else "pass",
        why=why,
    )


def required_gate(attribute: Attribute, group: str, n: int | None, *, policy: AuditPolicy) -> Gate:
    """Is a group that has to be decided there, and large enough? n is None where it is absent."""
    words, needed = group_words(attribute, group), None
    if not n:
        state, why = "fail", f"{words} has to be decided and is absent from the data"
    elif n < policy.min_group_n:
        state, needed = "undecided", policy.min_group_n
        why = f"{words} has to be decided and has {n} images, of {needed} that are the least"
    else:
        state, why = "pass", f"{words} has to be decided and has {n} images"
    return Gate(
        id="coverage",
        attr=attribute.name,
        group=group,
        value=n or 0,
        threshold=policy.min_group_n,
        state=state,
        needed_n=needed,
        required=True,
        why=why,
    )


def chance_words(expected: float, p: float, times: int) -> str:
    """``5.4 pp by chance alone; p=0.66``."""
    return f"{points(expected)} by chance alone; {tested_words(p, times)}"


def tested_words(p: float, times: int) -> str:
    """``p=0.031, p=0.28 after correction``: the second where the first alone would count."""
    if times < 2 or p >= ALPHA:
        return p_words(p)
    return f"{p_words(p)}, {p_words(min(1, p * times))} after correction"


def _chance_state(is_large: bool, p: float, times: int) -> str:
    """An audit asks about so many ranges that uncorrected, one in three audits of equal groups would fail."""
    if is_large and p * times < ALPHA:
        return "fail"
    return "warn" if p < ALPHA else "pass"
