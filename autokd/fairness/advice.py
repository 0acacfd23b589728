"""What to do about an audit: a few sentences by what its gates say. The guide to them is docs/fairness.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def advice(record: Mapping[str, Any]) -> list[str]:
    """Most urgent first; never empty."""
    states = {(gate["id"], gate["state"]) for gate in record["gates"]}
    lost = {("group_harmed", "fail"), ("accuracy_change", "fail"), ("harm_uneven", "fail"), ("recall_ratio", "fail"), ("worst_group_floor", "fail")}  # fmt: skip
    told = []
    if states & {("guessing", "fail"), ("guessing", "undecided")}:
        told.append(
            "A model that is hardly ever right says nothing of groups: see that predictions and labels name classes alike, "
            "and are of the same rows."
        )
    if states & lost:
        if record.get("contested"):
            told.append(
                "Look at the contested images (8) first: wrong labels and broken files show there."
            )
        told.append(
            "Take another student of like cost that loses less there, or search for one: worst_group_accuracy as an "
            "objective, audit.max_gap_growth as a limit, distill.mitigation as a choice."
        )
    if ("teacher", "fail") in states:
        told.append(
            "The teacher itself differs between groups (3), and hands that down: no student mends it. Take another "
            "teacher, or write down why this one will do (accept_teacher_bias)."
        )
    if ("accuracy_gap", "fail") in states:
        told.append(
            "The model is not equally right for all groups (4). If it was compressed, audit it against the model that it "
            "was made from: that tells what compression did."
        )
    if ("group_harmed", "undecided") in states:
        told.append(
            "Undecided is no pass: collect as many images of these groups as “images needed” says (9), and audit again."
        )
    if not told and ("group_harmed", "warn") in states:
        told.append("A small loss is likely: look at the groups that are marked ! (4) and decide.")
    if ("calibration", "warn") in states:
        told.append(
            "The student's confidence is less to be trusted than the teacher's (6): fit a temperature on val before "
            "thresholds are set on it."
        )
    if ("coverage", "warn") in states or ("coverage", "undecided") in states:
        told.append("Many images are in no group that could be judged (2): the verdict is not about them.")  # fmt: skip
    return told or ["Nothing is asked of you by the gates. Read what was not tested (10) before you rely on it."]  # fmt: skip
