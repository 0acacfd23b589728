"""The gates' table, row by row; statuses and exit codes; and the words in which an audit says what it found."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fairness_rows import CLASSES, probabilities, rows

from autokd.fairness.audit import audit
from autokd.fairness.gate import Gate, overall_status
from autokd.fairness.gates import (
    calibration_gate,
    coverage_gate,
    floor_gate,
    gap_gate,
    harm_gate,
    images_needed,
    recall_gate,
    uneven_gate,
)
from autokd.fairness.groups import Attribute
from autokd.fairness.record_tables import worst_gates
from autokd.records import AuditPolicy

POLICY = AuditPolicy()
SITE = Attribute(name="site", parts=("site",), groups=("A", "B"), codes=np.array([0, 1]), missing=0)
CLASS = replace(SITE, name="class", parts=("class",))


def figures(change: float, low: float, high: float, p: float, **others: Any) -> dict[str, Any]:
    return {
        "n": 100,
        "regressed": 10,
        "fixed": 5,
        "accuracy_delta": change,
        "accuracy_delta_ci95": [low, high],
        "gate_p_holm": p,
        "disagreement": 0.1,
    } | others


@pytest.mark.parametrize(
    ("change", "low", "high", "p", "state"),
    [
        (-0.10, -0.15, -0.03, 0.01, "fail"),
        (-0.10, -0.15, -0.03, 0.06, "warn"),  # not sure enough to fail
        (-0.04, -0.06, -0.03, 0.01, "warn"),  # sure, but less than the margin
        (-0.10, -0.19, -0.01, 0.01, "warn"),  # may be as little as 1 pp
        (-0.03, -0.07, 0.01, 0.01, "warn"),
        (-0.03, -0.07, 0.01, 0.50, "undecided"),
        (0.00, -0.05, 0.05, 1.00, "undecided"),
        (0.00, -0.04, 0.04, 1.00, "pass"),
        (-0.03, -0.04, 0.00, 0.10, "pass"),
        (0.20, 0.10, 0.30, 0.00, "pass"),
    ],
)
def test_a_group_is_harmed_as_the_table_of_gates_says(change, low, high, p, state):
    gate = harm_gate(SITE, "A", figures(change, low, high, p), policy=POLICY, required=False)
    assert gate.state == state
    assert (gate.needed_n is not None) == (state == "undecided")


@pytest.mark.parametrize(
    ("value", "p", "times", "state"),
    [
        (0.06, 0.01, 1, "fail"),
        (0.06, 0.01, 9, "warn"),  # one of nine such tests is nothing unusual
        (0.04, 0.01, 1, "warn"),
        (0.06, 0.06, 1, "pass"),
        (None, None, 1, "undecided"),
    ],
)
def test_gaps_fail_when_they_are_large_and_no_chance(value, p, times, state):
    test = {
        "max_min_delta": value,
        "min_delta": -0.01,
        "permutation_p": p,
        "expected_if_equal": 0.03,
        "max_min": value,
        "max_min_permutation_p": p,
        "max_min_expected_if_equal": 0.03,
    }
    assert uneven_gate(SITE, test, policy=POLICY, times=times).state == state
    assert gap_gate(SITE, test, "teacher", policy=POLICY, times=times).state == state
    gains = test | {"min_delta": 0.0}
    assert uneven_gate(SITE, gains, policy=POLICY, times=times).state == state.replace(
        "fail", "warn"
    )
    of_classes = gap_gate(CLASS, test, "teacher", policy=POLICY, times=times)
    assert of_classes.state == ("warn" if state == "fail" else state)
    reason = AuditPolicy(accept_teacher_bias="camera B is broken")
    accepted = gap_gate(SITE, test, "teacher", policy=reason, times=times)
    assert accepted.state == ("warn" if state == "fail" else state)
    assert ("camera B is broken" in accepted.why) == (state == "fail")


@pytest.mark.parametrize(
    ("ratio", "groups", "p", "state"),
    [
        (0.7, 3, 0.01, "fail"),
        (0.7, 3, 0.03, "warn"),
        (0.7, 3, 0.20, "undecided"),  # chance explains it
        (0.8, 3, 0.01, "pass"),
        (None, 1, 1.0, "undecided"),
        (None, 2, 1.0, "pass"),  # found in no group: bad, but equally
    ],
)
def test_a_class_that_is_found_unevenly_fails_the_recall_gate(ratio, groups, p, state):
    spread = {"ratio": ratio, "groups": groups, "min_group": "A", "max_group": "B"}
    assert recall_gate(SITE, "cat", spread, p, policy=POLICY, times=2).state == state


@pytest.mark.parametrize(
    ("value", "interval", "state"),
    [
        (0.7, (0.6, 0.78), "fail"),
        (0.7, (0.6, 0.82), "warn"),
        (0.9, (0.81, 0.95), "pass"),
        (0.9, (0.79, 0.95), "undecided"),
    ],
)
def test_the_floor_is_held_against_the_worst_group(value, interval, state):
    gate = floor_gate(SITE, {"A": (value, interval, 80), "B": (0.99, (0.95, 1.0), 80)}, floor=0.8)
    assert gate is not None
    assert (gate.state, gate.group) == (state, "B" if state == "pass" and value > 0.99 else "A")
    assert (gate.needed_n or 81) > 80


@pytest.mark.parametrize(
    ("grown", "n", "state"),
    [(0.06, 50, "warn"), (0.04, 50, "undecided"), (0.04, 100, "pass"), (-0.2, 100, "pass")],
)
def test_calibration_warns_and_never_fails(grown, n, state):
    assert calibration_gate(SITE, "A", 0.05, 0.05 + grown, n, policy=POLICY).state == state


@pytest.mark.parametrize(
    ("missing", "unjudged", "state"),
    [(0.06, 0.0, "warn"), (0.05, 0.10, "pass"), (0.0, 0.11, "warn"), (None, 0.2, "warn")],
)
def test_coverage_warns_of_rows_that_nobody_judges(missing, unjudged, state):
    gate = coverage_gate(SITE, missing_share=missing, unjudged_share=unjudged, policy=POLICY)
    assert gate.state == state


@pytest.mark.parametrize(
    ("churn", "margin", "n", "needed"), [(0.10, 0.05, 50, 248), (0.10, 0.02, 50, 1547)]
)
def test_images_needed_follow_churn_and_margin(churn, margin, n, needed):
    unchanged = figures(0.0, -0.06, 0.06, 1.0, n=n, disagreement=churn)
    assert images_needed(unchanged, margin=margin) == pytest.approx(needed, abs=1)


def test_more_images_are_needed_than_an_undecided_group_has():
    many = figures(-0.025, -0.06, 0.01, 1.0, n=400, disagreement=0.1)
    assert (images_needed(many, margin=0.05) or 0) > 400
    assert images_needed(many, margin=0.0) is None


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (["pass", "warn", "fail", "undecided!"], "fail"),
        (["pass", "warn", "undecided!"], "undecided"),
        (["pass", "warn", "undecided"], "warn"),
        (["pass", "undecided"], "pass"),
        (["undecided", "undecided"], "undecided"),  # nothing was decided: that is no pass
        ([], "undecided"),
    ],
)
def test_the_status_is_the_worst_gate_and_undecided_only_where_it_is_required(states, status):
    gates = [
        Gate(id="group_harmed", state=state.strip("!"), required="!" in state, why="")
        for state in states
    ]
    assert overall_status(gates) == status


@pytest.mark.parametrize(
    ("required", "status", "exit_code"),
    [
        ((), "pass", 0),
        (("site=A",), "pass", 0),
        (("site=C",), "undecided", 3),  # 60 images are too few
        (("site",), "undecided", 3),
        (("site=D",), "undecided", 3),  # 20 are not even judged
        (("site=Z",), "fail", 1),
    ],
)
def test_a_required_group_has_to_be_decided(required, status, exit_code):
    given = rows((1000, 1000, 60, 20), churn=0.06, accuracy=0.95, seed=1, classes=2)
    done = audit(**given, policy=AuditPolicy(required=required))
    assert (done.status, done.exit_code) == (status, exit_code)
    assert done.record["by"]["site"]["student_vs_teacher"]["groups"]["D"]["state"] == "not_judged"
    undecided = [line for line in done.record["summary"] if "undecided, not passed" in line]
    assert len(undecided) == 1
    assert "site C" in undecided[0]


def test_all_of_a_required_attribute_does_not_mean_rows_without_a_value():
    given = rows((1000, 1000), seed=1, accuracy=0.95, classes=2)
    given["groups"]["site"][:5] = ""
    assert audit(**given, policy=AuditPolicy(required=("site",))).status == "pass"


def test_the_summary_names_who_lost_how_much():
    done = audit(**rows((250, 250, 250), harm=0.2, seed=2))
    assert done.status == "fail"
    verdict, first = done.record["summary"][:2]
    assert verdict.startswith("Fail: 1 of 3 judged groups harmed by 5.0 pp or more")
    figures = done.record["by"]["site"]["student_vs_teacher"]["groups"]["C"]
    lost = f"site C loses {-100 * figures['accuracy_delta']:.1f} pp"
    counted = (
        f"({figures['regressed']} of 250 images regressed, {figures['fixed']} fixed; Holm p<0.001)."
    )
    assert first == f"{lost} {counted}"
    assert done.figures().sentence == first
    assert done.figures().worst_change_group == "site=C"


def test_classes_are_the_groups_where_no_others_are_given():
    labels = np.repeat(np.arange(CLASSES), 100)
    student = np.where((labels == 3) & (np.arange(400) % 2 == 0), 0, labels)
    done = audit(labels, student, teacher=labels, class_names=["1", "2", "3", "7"])
    assert done.record["summary"][1].startswith('class "7" loses 50.0 pp')
    assert "recall_ratio" not in {gate["id"] for gate in done.record["gates"]}
    assert any("classes stand in for them" in line for line in done.record["limits"])


def test_a_teacher_alone_is_judged_before_anything_is_distilled_from_it():
    given = rows((250, 250), seed=3)
    teacher = np.where(given["groups"]["site"] == "B", given["student"] % 2, given["labels"])
    done = audit(given["labels"], teacher=teacher, groups=given["groups"])
    assert (done.status, done.exit_code) == ("fail", 1)
    assert done.record["overall"]["student"] is None
    assert done.record["by"]["site"]["student_vs_teacher"] is None
    assert {gate["id"] for gate in done.record["gates"]} == {"guessing", "teacher", "coverage"}
    assert "The teacher's accuracy differs by" in done.record["summary"][1]
    policy = AuditPolicy(accept_teacher_bias="site B is being retired")
    for student in (None, given["labels"]):
        later = audit(
            given["labels"], student, teacher=teacher, groups=given["groups"], policy=policy
        )
        assert later.status == "warn"
        assert "site B is being retired" in later.record["summary"][-1]
        assert any("site B is being retired" in line for line in later.record["limits"])


def test_a_student_alone_is_held_to_the_floor():
    given = rows((400, 400), accuracy=0.7)
    labels, student, groups = given["labels"], given["teacher"], given["groups"]
    assert audit(labels, student, groups=groups, policy=AuditPolicy(floor=0.9)).status == "fail"
    without = audit(labels, student, groups=groups).record["gates"]
    assert [g["state"] for g in without if g["id"] == "worst_group_floor"] == ["undecided"]


def test_a_student_that_is_much_worse_fails_though_no_group_is_large_enough_to_be_judged():
    given = rows((15,) * 40, accuracy=0.9, churn=0.0)
    given["student"] = np.where(np.arange(600) % 3 == 0, given["labels"] ^ 1, given["teacher"])
    done = audit(**given)
    assert (done.status, done.exit_code) == ("fail", 1)
    verdict, first = done.record["summary"][:2]
    assert verdict.startswith("Fail: no group is large enough to be judged; 1 gate failed")
    assert re.match(
        r"The student as a whole loses 3\d\.\d pp \(\d+ of 600 images regressed, ", first
    )
    assert done.record["overall"]["student_vs_teacher"]["regressed"] > 100


def test_where_no_group_is_judged_nothing_is_decided_and_a_warning_does_not_hide_it():
    given = rows((15,) * 40, churn=0.02)
    done = audit(**given)
    assert (done.status, done.exit_code) == ("undecided", 3)
    assert "warn" in {gate["state"] for gate in done.record["gates"]}
    [whole] = [g for g in done.record["gates"] if g["id"] == "accuracy_change"]
    assert whole["state"] == "pass"


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("every", "status"), [(600, "fail"), (4, "undecided")])
def test_a_model_that_is_hardly_ever_right_never_passes(alone, every, status):
    labels = np.arange(600) % 4
    model = np.where(np.arange(600) % every == 1, labels, (labels + 1) % 4)
    done = audit(
        labels, model, teacher=None if alone else model, groups={"site": ["A"] * 300 + ["B"] * 300}
    )
    assert done.status == status
    [gate] = [g for g in done.record["gates"] if g["id"] == "guessing"]
    assert gate["state"] == status
    assert "by guessing in 25.0%; are classes and rows in the order of the labels?" in gate["why"]
    assert done.record["summary"][1].startswith("The student is right in") == (status == "fail")


def test_few_right_answers_of_many_classes_are_no_pass_though_better_than_guessing():
    labels = np.arange(3000) % 100
    model = np.where(np.arange(3000) % 13 == 0, labels, (labels + 1) % 100)
    done = audit(labels, model, teacher=model, groups={"site": ["A"] * 1500 + ["B"] * 1500})
    assert (done.status, done.exit_code) == ("undecided", 3)


def test_a_class_that_labels_or_predictions_alone_have_is_named():
    labels = np.repeat([0, 1, 2], 200)
    model = np.where(labels == 2, 3, labels)
    done = audit(labels, model, teacher=model, class_names=["dog", "owl", "cat", "kitty"])
    told = " ".join(done.record["summary"])
    assert 'Class "kitty" is the label of no row, but predicted: is it spelt alike?' in told
    assert any('"cat" is never predicted' in note for note in done.record["data"]["notes"])


def test_the_most_contested_images_are_those_whose_label_lost_most():
    given = rows((200, 200), classes=CLASSES)
    labels = given["labels"]
    teacher, student = probabilities(labels, seed=1), probabilities(labels, seed=2)
    done = audit(
        labels,
        student,
        teacher=teacher,
        groups=given["groups"],
        ids=[f"img{i}" for i in range(400)],
        about={"thumbnails": {f"img{i}": "cG5n" for i in range(0, 400, 2)}},
    )
    found = done.record["contested"]
    lost = [each["p_teacher"] - each["p_student"] for each in found]
    assert lost == sorted(lost, reverse=True)
    assert len(found) == 24
    for each in found:
        assert each["teacher"] == str(labels[each["row"]]) != each["student"]
        assert each["groups"] == {"site": given["groups"]["site"][each["row"]]}
        assert each["png"] == ("cG5n" if each["row"] % 2 == 0 else None)


def test_of_a_teacher_alone_the_images_of_least_margin_are_listed():
    labels = rows((200, 200))["labels"]
    shares = probabilities(labels, seed=1)
    given = {"teacher": shares, "groups": {"site": ["A", "B"] * 200}, "ids": np.arange(400) + 7}
    found = audit(labels, **given).record["uncertain"]
    margins = [each["margin"] for each in found]
    assert len(found) == 24
    assert margins == sorted(margins)
    assert (margins[0] < 0) == (found[0]["teacher"] != found[0]["label"])
    for each in found:
        own = shares[each["row"], labels[each["row"]]]
        assert each["p_teacher"] == pytest.approx(own)
        assert each["id"] == each["row"] + 7
    assert audit(labels, shares, **given).record["uncertain"] == []
    page = audit(labels, **given).to_html()
    assert "Images of which the teacher is least sure" in page


def test_gates_are_listed_as_they_weigh():
    def gate(state, *, required=False):
        return {"state": state, "required": required}

    weighed = [
        gate("fail"),
        gate("undecided", required=True),
        gate("warn"),
        gate("undecided"),
        gate("pass", required=True),
        gate("pass"),
    ]
    assert worst_gates(weighed[::-1]) == weighed


def test_a_student_that_stands_alone_fails_where_its_groups_differ_beyond_chance():
    given = rows((250, 250), harm=0.2)
    done = audit(given["labels"], given["student"], groups=given["groups"])
    assert done.status == "fail"
    assert done.record["summary"][1].startswith("The student's accuracy differs by ")
    even = rows((250, 250))
    assert audit(even["labels"], even["student"], groups=even["groups"]).status == "pass"
    few = slice(0, 20)
    small = audit(even["labels"][few], even["student"][few])
    assert (small.status, small.exit_code) == ("undecided", 3)
    assert "teacher" not in {gate["id"] for gate in done.record["gates"]}
