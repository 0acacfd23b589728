"""Which gates an audit has, and what they say of its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from autokd.errors import DataError, nearest_name
from autokd.fairness.gate import Gate
from autokd.fairness.gates import (
    calibration_gate,
    coverage_gate,
    floor_gate,
    gap_gate,
    harm_gate,
    recall_gate,
    required_gate,
    uneven_gate,
)
from autokd.fairness.groups import MISSING, Attribute
from autokd.fairness.inputs import Inputs
from autokd.fairness.overall import overall_gates
from autokd.records import AuditPolicy


def correction(inputs: Inputs) -> int:
    """What the p of a range between groups is multiplied by, so that few audits of equal groups fail.

    The number of ranges that may fail the audit (Bonferroni): per attribute the first model's accuracy, the change, and
    the recall of all classes at once. Twice that in a comparison: half of the 5% is left to the gates of single
    groups. Uncorrected, an audit of three attributes would fail for nothing about one time in three.
    """
    ranges = sum(
        1 + inputs.is_comparison + ("student" in inputs.models and not each.is_class)
        for each in inputs.attributes
    )
    return ranges * (2 if inputs.is_comparison else 1)


def judge(
    by: Mapping[str, Any],
    overall: Mapping[str, Any],
    inputs: Inputs,
    *,
    policy: AuditPolicy,
) -> list[Gate]:
    """All gates: of all images together, then attribute by attribute; those of required groups last."""
    required = required_groups(inputs.attributes, policy.required)
    times = correction(inputs)
    gates = overall_gates(overall["student_vs_teacher"], inputs, policy=policy)
    for attribute in inputs.attributes:
        figures = by[attribute.name]
        if inputs.is_comparison:
            gates += _comparison_gates(attribute, figures, required, times, policy)
        if inputs.models.get("student"):
            gates += _student_gates(attribute, figures, inputs.class_names, times, policy)
        first = next(iter(inputs.models))  # the teacher, or a student that stands alone
        test = figures["homogeneity"][first]
        gates.append(gap_gate(attribute, test, first, policy=policy, times=times))
        gates.append(_coverage(attribute, figures["not_judged"], policy))
    if policy.floor is None and "student" in inputs.models:
        why = "no floor was given for the accuracy of the worst group"
        gates.append(Gate(id="worst_group_floor", state="undecided", why=why))
    by_name = {attribute.name: attribute for attribute in inputs.attributes}
    for name, group in required:
        n = _sizes(by_name[name]).get(group)
        gates.append(required_gate(by_name[name], group, n, policy=policy))
    return gates


def required_groups(
    attributes: Sequence[Attribute], required: Sequence[str]
) -> list[tuple[str, str]]:
    """``site=C`` is one group, ``site`` all of its known groups; one that the data lack stays, to fail on it."""
    known = {attribute.name: attribute for attribute in attributes}
    found: dict[tuple[str, str], None] = {}
    for entry in required:
        name, _, group = entry.partition("=")
        if name not in known:
            raise DataError(
                f"required: '{entry}' names no attribute of the data; they are "
                f"{', '.join(known)}.{nearest_name(name, known)}"
            )
        everyone = [each for each in known[name].groups if each != MISSING]
        for each in [group] if "=" in entry else everyone:
            found[name, each] = None
    return list(found)


def _comparison_gates(
    attribute: Attribute,
    figures: Mapping[str, Any],
    required: Sequence[tuple[str, str]],
    times: int,
    policy: AuditPolicy,
) -> Iterator[Gate]:
    compared = figures["student_vs_teacher"]
    for group in figures["judged"]:
        must = (attribute.name, group) in required
        yield harm_gate(attribute, group, compared["groups"][group], policy=policy, required=must)
    if len(attribute.groups) > 1:
        test = compared["delta_differs_between_groups"]
        yield uneven_gate(attribute, test, policy=policy, times=times)
    key = f"ece{policy.ece_bins}_l1"
    for group in figures["judged"]:
        teacher, student = (figures[m]["groups"][group] for m in ("teacher", "student"))
        if teacher[key] is not None and student[key] is not None:
            yield calibration_gate(
                attribute, group, teacher[key], student[key], student["n"], policy=policy
            )


def _student_gates(
    attribute: Attribute,
    figures: Mapping[str, Any],
    class_names: Sequence[str],
    times: int,
    policy: AuditPolicy,
) -> Iterator[Gate]:
    student = figures["student"]
    if policy.floor is not None:
        judged = {
            group: (values["accuracy"], tuple(values["accuracy_gate_ci95"]), values["n"])
            for group, values in student["groups"].items()
            if values["judged"]
        }
        gate = floor_gate(attribute, judged, floor=policy.floor)
        if gate:
            yield gate
    if attribute.is_class:
        return
    joint = student["recall_homogeneity"]
    for c, name in enumerate(class_names):
        between = student["aggregates"]["judged_groups"]["tpr_ovr"][c]
        p = 1.0 if joint is None or np.isnan(joint["p_joint"][c]) else float(joint["p_joint"][c])
        yield recall_gate(attribute, name, between, p, policy=policy, times=times)


def _coverage(attribute: Attribute, not_judged: Sequence[str], policy: AuditPolicy) -> Gate:
    sizes = _sizes(attribute)
    rows = len(attribute.codes)
    return coverage_gate(
        attribute,
        missing_share=attribute.missing / rows if len(attribute.parts) == 1 else None,
        unjudged_share=sum(sizes[group] for group in not_judged) / rows,
        policy=policy,
    )


def _sizes(attribute: Attribute) -> dict[str, int]:
    counts = np.bincount(attribute.codes, minlength=len(attribute.groups)).tolist()
    return dict(zip(attribute.groups, counts, strict=True))
