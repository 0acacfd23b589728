"""Tables in narrow and in wide terminals: what stays, what leaves, and that no figure is cut."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from engine_records import candidate_of, make_audit, make_member, result_of
from rich.table import Table
from test_report import TEACHER, costing

from autokd.console.columns import print_table
from autokd.console.front import print_front
from autokd.report.frame import front_frame

LONG = "mobilenetv4_hybrid_large_075.e200_r256_in12k_ft_in1k_and_some_more_words"


def front_of(model: str, *, tested: bool = True):
    """Two students with a verdict each, and the control that they are shown beside."""
    (stage,) = candidate_of(8).stages
    named = replace(stage, student=replace(stage.student, model=model, arguments={}))
    results = [
        result_of(
            number,
            accuracy=accuracy,
            cost=costing(2_000_000 // number),
            audit=make_audit(),
            candidate=replace(candidate_of(8), stages=(named,)),
        )
        for number, accuracy in ((41, 1.0), (42, 0.875))
    ]
    control = replace(results[1], number=2, control="no distillation, small student")
    members = (
        [make_member(r.number, status="fail", undecided=17) for r in results] if tested else []
    )
    return front_frame(results, TEACHER, members), TEACHER, [*results, control]


@pytest.mark.parametrize("model", ["resnet18", LONG])
@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_trial_student_val_macs_and_audit_stay_whole_at_every_width(printed, width, model):
    lines = printed(width, lambda: print_front(*front_of(model)))
    text = "\n".join(lines)
    heading = next(line for line in lines if "student" in line).split()
    assert {"trial", "student", "val", "MACs", "audit"} <= set(heading)
    for figure in ("100.0 %", "87.5 %", "48.8k", "47.6k", "fail, 17 open", " 41 ", " 42 "):
        assert figure in text
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert model[:12] in text


def test_columns_leave_in_one_order_and_those_that_left_are_named(printed):
    first = ["latency", "size", "of T's acc.", "of T's MACs", "stages"]
    before = 0
    for width in (176, 100, 80, 60):
        text = " ".join(" ".join(printed(width, lambda: print_front(*front_of(LONG)))).split())
        found = re.search(rf"Not shown in {width} columns: (.*) \(autokd front --csv", text)
        gone = found[1].split(", ") if found else []
        assert gone[: len(first)] == first[: len(gone)]
        assert len(gone) >= before
        before = len(gone)
    assert before > len(first)


def test_what_is_said_below_the_front_is_of_columns_that_are_shown(printed):
    narrow = " ".join(printed(60, lambda: print_front(*front_of("resnet18"))))
    wide = " ".join(printed(176, lambda: print_front(*front_of("resnet18"))))
    assert "worst: accuracy of the worst group" in wide
    assert "worst:" not in narrow


def test_the_teacher_is_shown_on_test_too(printed):
    lines = printed(176, lambda: print_front(*front_of("resnet18")))
    (teacher,) = [line for line in lines if f" {TEACHER.name} " in line]
    assert teacher.split()[2:6] == ["90.0", "%", "76.0", "%"]


def test_a_column_that_is_empty_takes_no_room(printed):
    lines = printed(176, lambda: print_front(*front_of("resnet18", tested=False)))
    assert " test " not in next(line for line in lines if "student" in line)


def test_lines_are_longer_than_a_terminal_that_is_too_narrow_for_what_must_stay(printed):
    def show() -> None:
        table = Table("figure", "words")
        table.add_row("1,234,567,890 of 9,876,543,210", "some words that are folded")
        print_table(table, text=("words",))

    text = printed(20, show)
    assert any("1,234,567,890 of 9,876,543,210" in line for line in text)
    assert all(word in " ".join(text) for word in ("some", "words", "folded"))
