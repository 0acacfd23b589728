"""A gate of an audit, and what all of them come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SEVERITY = {"pass": 0, "undecided": 1, "warn": 2, "fail": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One question that an audit answers."""

    id: str
    attr: str | None = None
    group: str | None = None
    klass: str | None = None  # "class" in audit.json
    value: float | None = None
    ci: tuple[float, float] | None = None
    threshold: float | None = None
    state: str
    needed_n: int | None = None  # images to decide it; None: decided, or no number would
    required: bool = False
    why: str  # a sentence without its full stop

    def to_dict(self) -> dict[str, Any]:
        names = ("id", "attr", "group", "klass", "value", "ci", "threshold", "state", "needed_n")
        record = {"class" if name == "klass" else name: getattr(self, name) for name in names}
        return record | {"required": self.required, "why": self.why}


def overall_status(gates: Sequence[Gate]) -> str:
    """The worst of fail > undecided where required, or where no group is judged > warn > pass; undecided too where no
    group passed, or all images together did not."""
    states = [gate.state for gate in gates]
    if "fail" in states:
        return "fail"
    if any(gate.state == "undecided" and gate.required for gate in gates):
        return "undecided"
    whole = [gate.state for gate in gates if gate.id == "accuracy_change"]  # of a comparison
    ids = ("group_harmed",) if whole else ("group_harmed", "teacher", "accuracy_gap")
    asked = [gate.state for gate in gates if gate.id in ids]
    if not asked or (not whole and set(asked) == {"undecided"}):
        return "undecided"
    if "warn" in states:
        return "warn"
    return "pass" if "pass" in asked and "undecided" not in whole else "undecided"
