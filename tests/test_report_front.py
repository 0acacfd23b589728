"""The front in words: which student to ship, and a table that leads to its runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_records import make_audit
from test_report import FRONT, MEMBERS, OBJECTIVES, RESULTS, TEACHER, costing
from tracking_records import make_info

from autokd.records import FrontMember, Places, Remeasured
from autokd.report.choice import choice_sentence, choose
from autokd.report.front import NOTE_LENGTH, front_markdown, front_note

PLACES = Places(
    address="http://127.0.0.1:5000/",
    view="#/view",
    run="#/run",
    report="#/run/artifacts/report/{}",
    trials={n: f"#/runs/{n}" for n in range(200)},
)
INFO = make_info(teacher=TEACHER)


def members_of(front):
    tested = {member.number: member for member in MEMBERS}
    return [
        replace(tested.get(r.number, FrontMember(number=r.number, rank=n, verdict=None)), rank=n)
        for n, r in enumerate(front, start=1)
    ]


def with_accuracies(*accuracies: float):
    """A front, most accurate and dearest first."""
    return [
        replace(
            RESULTS[1],
            number=n,
            val={"accuracy": accuracy, "loss": 0.1},
            cost=costing(1_000_000 // (n + 1)),
        )
        for n, accuracy in enumerate(accuracies)
    ]


def reasons(front, objectives=OBJECTIVES) -> dict[int, str]:
    return {c.result.number: c.reason for c in choose(front, members_of(front), objectives)}


def test_the_ends_of_the_front_and_the_cheapest_within_a_point_are_the_choice():
    assert reasons(with_accuracies(0.95, 0.945, 0.941, 0.93, 0.6)) == {
        0: "the most accurate",
        2: "the cheapest within 1 point of it",
        4: "the cheapest",
    }


def test_one_student_that_is_all_of_these_is_named_once():
    assert reasons(with_accuracies(0.95)) == {
        0: "the most accurate, the cheapest within 1 point of it and the cheapest"
    }
    assert reasons(with_accuracies(0.95, 0.7)) == {
        0: "the most accurate and the cheapest within 1 point of it",
        1: "the cheapest",
    }


def test_a_student_that_fails_its_audit_is_not_the_one_in_between_while_another_is_near():
    front = with_accuracies(0.95, 0.945, 0.941)
    front[2] = replace(front[2], audit=make_audit(status="fail"))
    assert reasons(front)[1] == "the cheapest within 1 point of it"
    front[:2] = [replace(r, audit=make_audit(status="fail")) for r in front[:2]]
    assert reasons(front)[2] == "the cheapest within 1 point of it and the cheapest"


def test_cheap_means_by_the_first_cost_that_is_an_objective():
    front = with_accuracies(0.95, 0.945)
    front[0] = replace(front[0], cost=replace(front[0].cost, latency_ms=0.01))
    assert 1 not in reasons(front, ("val_accuracy", "latency_ms", "macs"))
    assert reasons([]) == {}


def test_a_choice_says_what_it_gains_and_what_it_costs_and_that_its_audit_fails():
    (choice, *_) = choose(FRONT, members_of(FRONT), OBJECTIVES)
    text = choice_sentence(choice, TEACHER, link="#/runs/1")
    assert text.startswith("**The most accurate")
    assert "[trial-0001](#/runs/1)**, resnet" in text
    assert "val 75.0%, test " in text
    assert "2.00M MACs (20.0% of the teacher's), 1.00 MB, 2.00 ms; fairness audit: **" in text
    failing = replace(
        choice,
        member=replace(choice.member, verdict=None),
        result=replace(choice.result, audit=make_audit(status="fail")),
    )
    text = choice_sentence(failing, TEACHER, link="")
    assert f"**fail** ({make_audit(status='fail').sentence})" in text


def test_the_report_links_every_member_of_the_front_to_its_run():
    report = front_markdown(FRONT, members_of(FRONT), INFO, PLACES, summary="Three students.")
    rows = [line for line in report.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(FRONT)
    for result, row in zip(FRONT, rows[2:], strict=True):
        assert f"[{result.name}](#/runs/{result.number})" in row
    assert "75.00%" in rows[2]
    assert " test (teacher 76.00%) " in rows[0]
    assert f"`autokd export {INFO.study}/1 --output DIR`" in report


def test_the_report_has_figures_of_further_seeds_where_there_are_some():
    again = Remeasured(
        seeds=3, val_mean=0.81, val_std=0.012, test_mean=0.79, test_std=None, shrink=0.01
    )
    members = members_of(FRONT)
    members[0] = replace(members[0], again=again)
    report = front_markdown(FRONT, members, INFO, PLACES, summary="")
    assert "| val, further seeds | test, further seeds |" in report
    assert "| 81.00% ± 1.20% | 79.00% |" in report
    assert "| – | – |" in report
    assert "Further seeds: mean" in report


@pytest.mark.parametrize("size", [3, 150])
def test_the_note_fits_into_what_mlflow_keeps_and_says_what_it_leaves_out(size):
    front = with_accuracies(*(0.95 - n / 1000 for n in range(size)))
    note = front_note(front, members_of(front), INFO, PLACES, summary="Many students.")
    assert len(note) <= NOTE_LENGTH
    assert ("The rest is in report.md." in note) == (size == 150)
    assert note.startswith("**The most accurate")
    for link in ("(#/view)", "(#/run/artifacts/report/pareto.html)", "autokd register"):
        assert link in note


def test_without_a_front_there_is_the_summary_alone():
    note = front_note([], [], INFO, PLACES, summary="None finished.")
    assert note.startswith("None finished.")
    assert "The rest" not in note
