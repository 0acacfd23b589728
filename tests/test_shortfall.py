"""A front of which no student is good enough: that is said, with what to try by what the search knows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from engine_records import make_member, result_of
from test_report import FRONT, RESULTS, TEACHER, costing
from test_report_front import PLACES
from tracking_records import make_info

from autokd.console.front import print_shortfall
from autokd.insight import Growth
from autokd.records import Epoch
from autokd.report.front import front_markdown, front_note
from autokd.report.shortfall import find_shortfall

INFO = make_info(teacher=replace(TEACHER, val_accuracy=0.9))
CHANCE = 1 / len(INFO.data.class_names)


def curve(*accuracies: float) -> tuple[Epoch, ...]:
    return tuple(
        Epoch(
            stage="student",
            epoch=number,
            train_loss=1.0,
            val_loss=1.0,
            val_accuracy=accuracy,
            learning_rate=1e-3,
            seconds=1.0,
        )
        for number, accuracy in enumerate(accuracies, start=1)
    )


def shortfall_of(front, *, results=None, growth=(), info=INFO, **audit):
    members = [make_member(r.number, rank=n, **audit) for n, r in enumerate(front, start=1)]
    return find_shortfall(results or front, front, members, info, growth=growth)


def keeping(share: float, **changes):
    """A student that keeps this share of what its teacher has above chance."""
    changes = {"excess": {}, "cost": costing(100_000)} | changes
    return result_of(0, accuracy=CHANCE + share * (0.9 - CHANCE), **changes)


@pytest.mark.parametrize(
    ("share", "status", "enough"),
    [(0.95, "pass", True), (0.81, "undecided", True), (0.52, "pass", False), (0.95, "fail", False)],
)
def test_a_student_is_good_enough_that_keeps_most_and_does_not_fail_its_audit(
    share, status, enough
):
    assert (shortfall_of([keeping(share)], status=status) is None) == enough


def test_students_as_good_as_a_teacher_at_chance_are_not_good_enough():
    info = replace(INFO, teacher=replace(TEACHER, val_accuracy=CHANCE + 0.01))
    found = shortfall_of([keeping(0.0), replace(keeping(0.02), number=1)], info=info)
    assert found is not None
    assert "a better one comes first" in found.advice[0]


def test_one_good_student_is_enough_and_no_front_is_no_shortfall():
    front = [keeping(0.9), replace(keeping(0.3), number=1)]
    assert shortfall_of(front) is None
    assert find_shortfall(RESULTS[5:], (), (), INFO, growth=()) is None


def test_the_sentence_has_the_figures_and_how_many_fail():
    front = [keeping(0.52), replace(keeping(0.3), number=1)]
    found = shortfall_of(front, status="fail")
    assert found.sentence == (
        f"None of these students is good enough: the most accurate is right about {front[0].val['accuracy']:.1%} of val, the "
        f"teacher about 90.0% (chance {CHANCE:.1%}), and each fails its fairness audit."
    )


def test_curves_that_still_rise_ask_for_more_epochs():
    rising = keeping(0.5, history=curve(0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6))
    level = keeping(0.5, history=curve(0.1, 0.2, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6))
    assert any(
        "rose by 10.0 points in the last quarter of the epochs: more of them (train.epochs, now 8)"
        in advice
        for advice in shortfall_of([rising]).advice
    )
    assert "epochs" not in shortfall_of([level]).text()


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.97, "takes 97% of the limit on MACs: a larger budget"), (0.12, "takes 12% of the budget only")],
)  # fmt: skip
def test_the_edge_of_the_budget_asks_for_a_larger_one_and_an_empty_one_for_larger_students(
    share, said
):
    info = replace(INFO, budget=replace(INFO.budget, macs=1e6))
    found = shortfall_of([keeping(0.5, excess={"macs": math.log(share)})], info=info)
    assert said in found.text()


def test_a_control_that_is_better_alone_asks_what_the_teacher_says():
    taught = replace(RESULTS[3], control="plain KD, small student", val={"accuracy": 0.4})
    alone = replace(RESULTS[2], val={"accuracy": 0.5})
    text = shortfall_of([keeping(0.5)], results=[keeping(0.5), taught, alone]).text()
    assert "The small control is better without the teacher (50.0% against 40.0%)" in text
    swapped = [replace(taught, val={"accuracy": 0.6}), alone]
    assert "control" not in shortfall_of([keeping(0.5)], results=swapped).text()


def test_a_space_that_is_mostly_over_the_budget_and_a_front_that_grows_are_named():
    over = [replace(RESULTS[5], number=n) for n in range(10, 14)]
    growth = [
        Growth(clock=clock, epochs=1, trials=trials, hypervolume=volume)
        for clock, trials, volume in ((0, 0, 0.0), (10, 9, 0.4), (95, 19, 0.5), (100, 20, 0.5))
    ]
    text = shortfall_of([keeping(0.5)], results=[keeping(0.5), *over], growth=growth).text()
    assert "80% of the proposals were over the budget" in text
    assert "grew by 20.0% in the last quarter of the time: more trials" in text
    assert "--trials 40" in text


def test_a_weak_teacher_comes_first():
    info = replace(INFO, teacher=replace(TEACHER, val_accuracy=CHANCE + 0.1))
    found = shortfall_of([result_of(0, accuracy=CHANCE)], info=info)
    assert found.advice[0].startswith("The teacher itself is right about")


def test_a_page_that_has_nothing_to_ship_leads_with_that_and_gives_no_command_to_ship():
    members = [make_member(r.number, rank=n) for n, r in enumerate(FRONT, start=1)]
    shortfall = shortfall_of([keeping(0.5)], status="fail").text()
    words = {"summary": "Many students.", "shortfall": shortfall}
    for page in (front_note, front_markdown):
        text = page(FRONT, members, INFO, PLACES, **words)
        assert "**None of these students is good enough: the most accurate is right" in text
        assert "What to try:\n\n- " in text
        assert "**The most accurate" not in text
        assert "autokd export" not in text
        assert "autokd register" not in text
        assert "autokd run " in text


def test_it_is_told_below_a_stored_front(printed):
    text = shortfall_of([keeping(0.5)], status="fail").text()
    lines = printed(80, lambda: print_shortfall(text))
    assert "None of these students is good enough" in " ".join(lines)
    assert any(line.startswith("- ") for line in lines)
