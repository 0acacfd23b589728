"""An audit in plain words: phrases for groups and figures, the summary, and what the audit could not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autokd.fairness.gate import Gate
from autokd.fairness.groups import EVERYONE, Attribute
from autokd.records import AuditPolicy

NAMED = 4  # undecided groups that the summary names; the others are in the table of gates
# Of equally bad gates, those that say most about people come first.
ORDER = (
    "guessing",
    "group_harmed",
    "accuracy_change",
    "worst_group_floor",
    "teacher",
    "accuracy_gap",
    "harm_uneven",
    "recall_ratio",
    "coverage",
    "calibration",
)
NEAREST = ("group_harmed", "worst_group_floor", "teacher", "accuracy_gap", "accuracy_change")
WIDEST = ("teacher", "accuracy_gap", "harm_uneven", "calibration")  # of these more is worse


def points(share: float) -> str:
    """``19.2 pp``: percentage points."""
    return f"{100 * share:.1f} pp"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def p_words(p: float) -> str:
    """``p<0.001`` or ``p=0.031``."""
    return "p<0.001" if p < 0.001 else f"p={p:.3f}" if p < 0.1 else f"p={p:.2f}"


def group_words(attribute: Attribute, group: str | None = None) -> str:
    """``site C``, ``sex F x site C``, ``class "7"``; without a group the attribute's name, ``sex x site``."""
    if group is None:
        return " x ".join(attribute.parts)
    if group == attribute.name == EVERYONE:
        return "the student as a whole"
    values = group.split("|")
    if len(values) != len(attribute.parts):  # a value has the sign in it
        return f"{group_words(attribute)} {group}"
    if attribute.is_class:
        return f'class "{group}"'
    return " x ".join(
        f"{part} {value}" for part, value in zip(attribute.parts, values, strict=True)
    )


def change_words(attribute: Attribute, group: str, figures: Mapping[str, Any]) -> str:
    """``site C loses 19.2 pp (25 of 120 images regressed, 2 fixed; Holm p<0.001)``."""
    change, p = figures["accuracy_delta"], p_words(figures["gate_p_holm"])
    verb = f"loses {points(-change)}" if change < 0 else f"gains {points(change)}"
    return (
        f"{group_words(attribute, group)} {verb if change else 'keeps its accuracy'} "
        f"({figures['regressed']} of {figures['n']} images regressed, {figures['fixed']} fixed; "
        f"{p if attribute.name == EVERYONE else f'Holm {p}'})"
    )


def summary(
    gates: Sequence[Gate],
    attributes: Mapping[str, Attribute],
    *,
    status: str,
    models: Sequence[str],
    policy: AuditPolicy,
    odd: Sequence[str] = (),
) -> list[str]:
    """The verdict, and up to three sentences: who lost what, who is undecided, what was accepted, what is odd."""
    bad = [gate for gate in gates if gate.state in ("fail", "warn")]
    bad.sort(key=lambda gate: (gate.state != "fail", ORDER.index(gate.id), _rank(gate)))
    last = [sentence] if (sentence := _undecided(gates, attributes)) else []
    if policy.accept_teacher_bias and "teacher" in models:
        last.append(f"The teacher's own bias was accepted beforehand: {policy.accept_teacher_bias}")
    last += odd[:1]
    told = (bad or _nearest(gates))[: max(1, 3 - len(last))]
    verdict = _verdict(gates, models, margin=policy.margin)
    told_so = [_as_sentence(gate.why) for gate in told]
    sentences = [f"{status.capitalize()}: {verdict}", *[*told_so, *last][:3]]
    return [text if text.endswith(".") else f"{text}." for text in sentences]


def _as_sentence(text: str) -> str:
    """Names of attributes and groups stay as they are written."""
    return f"The {text.removeprefix('the ')}" if text.startswith("the ") else text


def _rank(gate: Gate) -> float:
    """Less comes first: the greatest loss, the lowest ratio, the widest gap."""
    value = gate.value or 0.0
    return -value if gate.id in WIDEST else value


def _nearest(gates: Sequence[Gate]) -> list[Gate]:
    """What came nearest to a warning, where nothing warned."""
    passed = [gate for gate in gates if gate.state == "pass" and gate.id in NEAREST]
    return sorted(passed, key=lambda gate: (NEAREST.index(gate.id), _rank(gate)))[:1]


def _verdict(gates: Sequence[Gate], models: Sequence[str], *, margin: float) -> str:
    asked = [gate.state for gate in gates if gate.id == "group_harmed"]
    others = [gate.state for gate in gates if gate.id != "group_harmed"]
    if len(models) < 2:
        text = f"the {models[0]} alone, compared with no other model"
    elif not asked:
        text = "no group is large enough to be judged"
    else:
        text = (
            f"{asked.count('fail') or 'none'} of {_number(len(asked), 'judged group')} harmed by "
        )
        text += f"{points(margin)} or more against the teacher"
        text += f", {some} perhaps harmed" if (some := asked.count("warn")) else ""
        text += f", {still} undecided" if (still := asked.count("undecided")) else ""
    for state, verb in (("fail", "failed"), ("warn", "warned")):
        if n := others.count(state):
            text += f"; {_number(n, 'other gate' if asked else 'gate')} {verb}"
    return text


def _undecided(gates: Sequence[Gate], attributes: Mapping[str, Attribute]) -> str:
    open_gates = [g for g in gates if g.state == "undecided" and g.id == "group_harmed"]
    open_gates += [g for g in gates if g.state == "undecided" and g.id == "coverage"]
    if not open_gates:
        return ""
    open_gates.sort(key=lambda gate: (not gate.required, gate.needed_n or 0, gate.attr, gate.group))
    named = [
        f"{group_words(attributes[gate.attr or ''], gate.group)} {gate.needed_n}"
        for gate in open_gates[:NAMED]
    ]
    rest = open_gates[NAMED:]
    more = f" and {len(rest)} more up to {max(g.needed_n or 0 for g in rest)}" if rest else ""
    return (
        f"{_number(len(open_gates), 'group')} undecided, not passed; images needed: "
        f"{', '.join(named)}{more}"
    )


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
