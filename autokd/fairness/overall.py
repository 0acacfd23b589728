"""Gates about all images together: they are judged however small the groups are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from autokd.fairness.gate import Gate
from autokd.fairness.gates import harm_gate
from autokd.fairness.groups import EVERYONE, everyone
from autokd.fairness.inputs import Inputs
from autokd.fairness.rates import wilson
from autokd.fairness.words import percent
from autokd.records import AuditPolicy

NEARLY_NONE = (
    0.1  # right in so few images, a model says nothing of groups, however many classes there are
)


def overall_gates(
    figures: Mapping[str, Any] | None, inputs: Inputs, *, policy: AuditPolicy
) -> list[Gate]:
    """`figures` are those of all images in student_vs_teacher; None: one model stands alone."""
    gates = [_guessing_gate(inputs, policy)]
    if figures is not None:
        everybody = everyone(len(inputs.labels))
        gate = harm_gate(everybody, EVERYONE, figures, policy=policy, required=False)
        gates.append(replace(gate, id="accuracy_change", attr=None, group=None))
    return gates


def _guessing_gate(inputs: Inputs, policy: AuditPolicy) -> Gate:
    """Is the model that is judged better than a guess? Equally wrong everywhere is no pass."""
    name = "student" if "student" in inputs.models else "teacher"
    right, n = int((inputs.models[name].predicted == inputs.labels).sum()), len(inputs.labels)
    low, high = wilson(np.array(right), np.array(n)).tolist()
    chance, share = 1 / len(inputs.class_names), right / n
    state = "pass"
    why = f"the {name} is right in {percent(share)} of {n} images, by guessing in {percent(chance)}"
    if high < chance:
        state = "fail"
    elif low <= chance or share < NEARLY_NONE:
        state = "undecided"
    if state != "pass":
        why += "; are classes and rows in the order of the labels?"
    if state == "fail" and name == "teacher" and policy.accept_teacher_bias:
        state, why = "warn", f"{why} Accepted: {policy.accept_teacher_bias}"
    return Gate(
        id="guessing", value=share, ci=(low, high), threshold=chance, state=state, required=True, why=why
    )  # fmt: skip
