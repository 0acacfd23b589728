"""What an audit refuses, each in one clear line; what it takes although it looks odd; how columns become groups."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from fairness_rows import CLASSES, probabilities, rows

from autokd.errors import DataError
from autokd.fairness.audit import audit
from autokd.fairness.groups import affordable, band, read_attributes
from autokd.records import AuditPolicy

LABELS = np.tile(np.arange(CLASSES), 30)
SHARES = probabilities(LABELS)
SITE = np.repeat(["A", "B", "C"], 40)


def changed(array: np.ndarray, place: object, value: object) -> np.ndarray:
    copy = array.astype(np.float64)
    copy[place] = value
    return copy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": []}, "labels: there are no rows"),
        ({"labels": [["a"]]}, r"labels: expected one label a row, got an array of shape \(1, 1\)"),
        ({"labels": ["cat"] * 120}, "labels must be whole numbers from 0, .* got 'cat'"),
        ({"labels": changed(LABELS, 3, np.nan)}, r"labels: row 3 has no label \(nan\)"),
        ({"labels": changed(LABELS, 5, 1.5)}, "labels must be whole numbers, row 5 has 1.5"),
        ({"labels": changed(LABELS, 5, -1)}, "labels count from 0, row 5 has -1"),
        ({"labels": changed(LABELS, 5, 9)}, "labels: label 9 is out of range for 4 classes"),
        ({"labels": LABELS * 0, "student": LABELS * 0}, "one class alone"),
        ({"student": None}, "nothing to audit: give a student, a teacher or both"),
        ({"student": SHARES[:7]}, "student: 7 rows of predictions for 120 labels"),
        ({"student": SHARES[None]}, "student: expected .rows, classes. probabilities"),
        ({"student": np.full((120, 4), "a")}, "student: probabilities must be numbers"),
        ({"student": changed(SHARES, (2, 1), np.nan)}, "student: row 2 .* not finite"),
        ({"student": changed(SHARES, (2, 1), -0.1)}, "row 2 has the negative probability -0.1"),
        ({"student": SHARES * 1.01}, "probabilities of row 0 sum to 1.01, not to 1"),
        ({"student": changed(LABELS, 4, 7), "teacher": SHARES}, "student: label 7 is out of range"),
        (
            {"teacher": probabilities(LABELS % 3, classes=3)},
            "disagree on the number of classes: teacher 3, student 4",
        ),
        ({"class_names": ["a", "b"]}, "student 4; class_names has 2"),
        ({"class_names": ["a", "b", "b", "c"]}, "class_names: two classes have the same name"),
        ({"ids": [1, 2]}, "ids: 2 ids for 120 rows"),
        (
            {"ids": LABELS.reshape(60, 2)},
            r"ids: must hold one value a row, got an array of shape \(60",
        ),
        ({"labels": [[0], [0, 1]]}, "labels: rows differ in length"),
        ({"student": [[1.0], [0.5, 0.5]]}, "student: rows differ in length"),
        (
            {"teacher": SHARES, "student_seeds": [LABELS, LABELS[:5]]},
            "student_seeds: rows differ in length",
        ),
        (
            {"groups": {"site": SITE.reshape(60, 2)}},
            r"column 'site': must hold one .* shape \(60, 2\)$",
        ),
        (
            {"groups": SITE.reshape(60, 2)},
            r"'group': must hold one value a row, got an array of shape",
        ),
        ({"groups": {"site": [["A"], ["B", "C"]] * 60}}, r"one value a row, got \['A'\]$"),
        (
            {"cluster": np.stack([SITE, SITE], axis=1)},
            r"cluster: must hold one value a row, got an array of",
        ),
        (
            {"groups": {f"c{i}": SITE for i in range(101)}},
            "101 columns, of which an audit compares 100",
        ),
        ({"ids": [*range(119), 7]}, "ids: '7' stands for more than one row"),
        ({"groups": {"site": ["A"]}}, "groups: column 'site' has 1 values for 120 rows"),
        (
            {"groups": {"age": np.arange(120) % 30}},
            "column 'age' has 30 different numbers.*--bands",
        ),
        ({"groups": {"age": np.arange(120) % 30}}, r"data\.metadata\.bands"),
        (
            {"groups": {"sex": SITE, "site": SITE, "sexxsite": SITE}},
            "two attributes would be called 'sexxsite'",
        ),
        (
            {"groups": {"a": ["x|y", "x"] * 60, "b": ["z", "y|z"] * 60}},
            r"two groups of a x b would be called 'x\|y\|z'",
        ),
        ({"cluster": [1]}, "cluster: 1 values for 120 rows"),
        ({"cluster": [None, *range(119)]}, "cluster: 1 of 120 rows have no value"),
        ({"policy": AuditPolicy(required=("sit=A",))}, "'sit=A' names no attribute.*'site'"),
        ({"teacher_seeds": [LABELS]}, "seeds: they compare student and teacher; give both"),
        ({"teacher": SHARES, "student_seeds": LABELS}, "student_seeds: expected"),
        ({"teacher": SHARES, "student_seeds": [LABELS + 1]}, "student_seeds: label 4"),
    ],
)
def test_input_that_can_not_be_audited_is_refused_in_one_line(arguments, message):
    given = {"labels": LABELS, "student": SHARES, "groups": {"site": SITE}} | arguments
    with pytest.raises(DataError, match=message) as refusal:
        audit(**given)
    assert "\n" not in str(refusal.value)


def test_a_column_of_many_names_is_taken_for_an_id():
    with pytest.raises(
        DataError, match="column 'name' has 600 different values and makes no group"
    ):
        read_attributes({"name": [f"image {i}" for i in range(600)]}, 600, intersections=1)


def test_probabilities_may_be_rounded_as_in_a_file():
    assert audit(LABELS, SHARES.round(4), groups={"site": SITE}).record["n"] == 120


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        (["F", None, "", "M"], ("(missing)", "F", "M")),
        ([1.0, 2.0, np.nan, 1.0], ("(missing)", "1", "2")),
        ([True, False, None, pd.NA], ("(missing)", "False", "True")),
        (["b", "a", "b", "c"], ("a", "b", "c")),
        (pd.Categorical(["x", "y", "x", None]), ("(missing)", "x", "y")),
        ([0.5, 1.25, 0.5, 0.5], ("0.5", "1.25")),
    ],
)
def test_values_of_any_type_become_named_groups(values, groups):
    (attribute,) = read_attributes({"column": values}, 4, intersections=2)
    assert attribute.groups == groups


def test_a_plain_sequence_is_one_column_of_groups():
    done = audit(LABELS, SHARES, groups=list(SITE))
    assert done.record["by"].keys() == {"group"}
    assert done.record["by"]["group"]["judged"] == ["A", "B", "C"]


def test_every_pair_of_attributes_is_crossed_and_empty_cells_are_left_out():
    frame = pd.DataFrame({"sex": ["F", "F", "M"], "site": ["A", "B", None], "eye": list("LLR")})
    found = {each.name: each.groups for each in read_attributes(frame, 3, intersections=3)}
    assert list(found) == ["sex", "site", "eye", "sexxsite", "sexxeye", "sitexeye", "sexxsitexeye"]
    assert found["sexxsite"] == ("F|A", "F|B", "M|(missing)")
    assert list(read_attributes(frame, 3, intersections=1)[0].codes) == [0, 0, 1]


def test_a_data_frame_is_as_good_as_a_mapping_however_many_rows_it_has():
    attributes = read_attributes(pd.DataFrame({"site": SITE, "sex": SITE}), 120, intersections=2)
    assert [each.name for each in attributes] == ["site", "sex", "sitexsex"]


def test_crossings_are_left_out_where_there_would_be_more_than_can_be_read_and_that_is_said():
    def audited(count, crossed):
        groups = {f"c{i}": SITE for i in range(count)}
        done = audit(LABELS, LABELS, groups=groups, policy=AuditPolicy(intersections=crossed))
        return {len(v["parts"]) for v in done.record["by"].values()}, " ".join(
            done.record["summary"]
        )

    assert affordable(13, 2) == 2
    assert affordable(14, 2) == 1
    assert affordable(8, 3) == 3
    made, said = audited(9, 3)
    assert made == {1, 2}
    assert "Crossings of 3 of the 9 columns (84) were not made, as an audit has at most 100" in said


def test_numbers_are_cut_into_bands_and_an_edge_belongs_above():
    bands = ["under 18", "18 to under 40", "18 to under 40", "40 and over", None]
    assert band([17.9, 18, 39.9, 40, None], [18, 40]) == bands
    with pytest.raises(DataError, match="the edges must rise, got 40, 18"):
        band([1], [40, 18])


@pytest.mark.parametrize(
    "change",
    [
        {"student": LABELS, "teacher": LABELS},  # all right
        {"student": (LABELS + 1) % CLASSES, "teacher": (LABELS + 1) % CLASSES},  # all wrong
        {"groups": {"site": ["A"] * 120}},  # one group
        {"groups": {"site": np.arange(120).astype(str)}},  # no group that could be judged
        {"labels": LABELS * 0},  # one class occurs
        {"groups": {"site": [None] * 120}},
        {"teacher": None},
        {"student": None},
        {"groups": None},
        {"cluster": ["one"] * 120},
        {"cluster": SITE},
        {"policy": AuditPolicy(margin=0.0, warn_margin=0.0)},
    ],
)
def test_odd_rows_are_audited_without_a_warning_and_fit_into_json(change):
    given = {
        "labels": LABELS,
        "student": SHARES,
        "teacher": SHARES[::-1],
        "groups": {"site": SITE},
    } | change
    done = audit(**given)
    json.dumps(done.record, allow_nan=False)
    assert done.status in ("pass", "warn", "undecided", "fail")
    assert all(sentence.endswith(".") for sentence in done.record["summary"])
    assert 1 <= len(done.record["summary"]) <= 4
    assert done.figures().status == done.status


def test_one_group_and_one_class_are_noted():
    assert (
        "one group alone"
        in audit(LABELS, SHARES, groups={"s": ["A"] * 120}).record["data"]["notes"][0]
    )
    notes = audit(LABELS * 0, SHARES, groups={"site": SITE}).record["data"]["notes"]
    assert any('Every row is of the class "0"' in note for note in notes)


def test_labels_alone_leave_calibration_undefined_and_say_so():
    done = audit(**rows())
    figures = done.record["by"]["site"]["student"]["groups"]["A"]
    assert figures["ece15_l1"] is figures["nll"] is figures["reliability"] is None
    assert (
        done.record["by"]["site"]["student_vs_teacher"]["groups"]["A"]["kl_teacher_student"] is None
    )
    assert any("came as labels without probabilities" in line for line in done.record["limits"])
    assert "calibration" not in {gate["id"] for gate in done.record["gates"]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"student": LABELS, "teacher": LABELS},
            "Both models are right about every image: nothing can differ between groups on images so easy.",
        ),
        (
            {"student": (LABELS + 1) % CLASSES},
            "The student is wrong about every image: check that classes and rows are in the order of the labels.",
        ),
        (
            {"student": (LABELS + 1) % CLASSES, "teacher": (LABELS + 1) % CLASSES},
            "Both models are wrong about every image: check that classes and rows are in the order of the labels.",
        ),
        (
            {"groups": {"s": ["A"] * 120}},
            "s: there is one group alone, so nothing can be compared.",
        ),
        (
            {"labels": LABELS * 0},
            'Every row is of the class "0": precision and false positives say little.',
        ),
    ],
)
def test_rows_about_which_a_verdict_says_little_are_told_with_the_verdict(change, sentence):
    given = {"labels": LABELS, "student": SHARES, "teacher": SHARES, "groups": {"site": SITE}}
    done = audit(**given | change)
    assert done.record["summary"][-1] == sentence
    assert sentence in done.record["data"]["notes"]
    assert sentence in audit(**given | change).to_markdown().replace("\\", "")
