"""What a reader is told to do follows from what the gates say."""

from __future__ import annotations

import pytest
from fairness_rows import rows

from autokd.fairness.advice import advice
from autokd.fairness.audit import audit


def gates(*states):
    return {"gates": [{"id": name, "state": state} for name, state in states]}


@pytest.mark.parametrize(
    ("states", "begins"),
    [
        ([("group_harmed", "fail")], ["Take another student"]),
        ([("guessing", "undecided")], ["A model that is hardly ever right"]),
        ([("accuracy_change", "fail")], ["Take another student"]),
        ([("teacher", "fail")], ["The teacher itself"]),
        ([("group_harmed", "undecided"), ("recall_ratio", "undecided")], ["Undecided is no pass"]),
        ([("group_harmed", "warn")], ["A small loss is likely"]),
        ([("group_harmed", "fail"), ("calibration", "warn")], ["Take another", "The student's conf"]),
        ([("coverage", "warn")], ["Many images are in no group"]),
        ([("group_harmed", "pass"), ("worst_group_floor", "undecided")], ["Nothing is asked"]),
    ],
)  # fmt: skip
def test_advice_follows_the_gates(states, begins):
    found = advice(gates(*states))
    assert len(found) == len(begins)
    assert all(text.startswith(start) for text, start in zip(found, begins, strict=True))


def test_a_harmed_group_sends_the_reader_to_the_images_first():
    done = audit(**rows((250,) * 3, harm=0.3))
    assert advice(done.record)[0].startswith("Look at the contested images (8) first")
    assert "<h3>What to do</h3>" in done.to_html()
    assert "Look at the contested images" in done.to_markdown()
