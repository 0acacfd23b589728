"""Several trainings of teacher and student: tests over seeds, PIE and churn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from autokd.fairness.audit import audit
from autokd.fairness.seeds import modal_labels

LABELS = np.tile([0, 1, 2], 60)
SITE = np.repeat(["A", "B"], 90)


def trainings(count: int, *, errors: np.ndarray | float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wrong = rng.random((count, len(LABELS))) < errors
    return np.where(wrong, (LABELS + 1) % 3, LABELS)


def over_seeds(teacher: np.ndarray, student: np.ndarray) -> dict:
    done = audit(
        LABELS,
        student[0],
        teacher=teacher[0],
        groups={"site": SITE},
        teacher_seeds=teacher,
        student_seeds=student,
    )
    return done.record["across_seeds"]


def test_a_group_that_pays_in_every_training_is_found():
    errors = np.where(SITE == "B", 0.4, 0.1)
    found = over_seeds(trainings(5, errors=0.1, seed=1), trainings(5, errors=errors, seed=2))
    groups = found["per_group_site"]
    assert groups["B"]["normalized_difference"] < -0.05
    assert groups["B"]["welch_t"] > 0
    assert groups["B"]["welch_p_bh"] < 0.01
    assert found["pie"]["over_index_by_group"]["site"]["B"] > 1


def test_welch_is_of_accuracy_less_the_mean_of_all_seeds():
    teacher, student = trainings(4, errors=0.1, seed=1), trainings(6, errors=0.3, seed=2)
    found = over_seeds(teacher, student)["per_group_site"]["A"]
    excess = [
        (each == LABELS)[:, SITE == "A"].mean(axis=1) - (each == LABELS).mean()
        for each in (teacher, student)
    ]
    expected = stats.ttest_ind(*excess, equal_var=False)
    assert found["welch_p"] == pytest.approx(expected.pvalue)
    assert found["welch_df"] == pytest.approx(expected.df)


def test_of_tied_votes_the_largest_label_wins():
    modal, votes = modal_labels(np.array([[0, 2, 1], [1, 0, 1]]), 3)
    assert modal.tolist() == [1, 2, 1]
    assert votes.tolist() == [[1, 1, 0], [1, 0, 1], [0, 2, 0]]


def test_fewer_than_three_trainings_are_called_disagreement():
    found = over_seeds(trainings(2, errors=0.1, seed=1), trainings(5, errors=0.1, seed=2))
    assert found["state"] == "needs >= 3 seeds"
    assert found["seeds"] == {"teacher": 2, "student": 5}
    assert 0 < found["churn"]["teacher_to_student"] < 0.3
    assert "pie" not in found
    assert found["per_group_site"]["A"]["welch_p"] is None
    assert found["per_group_site"]["A"]["student_std"] > 0


def test_a_teacher_that_was_trained_once_is_compared_with_several_students():
    teacher, students = trainings(1, errors=0.1, seed=1), trainings(5, errors=0.3, seed=2)
    given = {"teacher": teacher[0], "groups": {"site": SITE}, "student_seeds": students}
    done = audit(LABELS, students[0], **given)
    found = done.record["across_seeds"]
    assert found["seeds"] == {"teacher": 1, "student": 5}
    at_a = (students == LABELS)[:, SITE == "A"].mean(axis=1)
    group = found["per_group_site"]["A"]
    assert group["student_mean"] == pytest.approx(at_a.mean())
    assert group["student_std"] == pytest.approx(at_a.std(ddof=1))
    assert group["teacher_std"] is group["welch_p"] is None
    assert f"{at_a.mean():.1%} ± {100 * at_a.std(ddof=1):.1f}" in done.to_html()
    assert "called disagreement, not a test" in done.to_html()


def test_trainings_that_all_agree_have_no_test_and_no_pie():
    same = np.stack([LABELS] * 3)
    found = over_seeds(same, same)
    assert found["per_class"]["y=0"]["welch_p"] is None
    assert found["pie"]["count"] == 0
    assert found["pie"]["student_modal_accuracy_on_pie"] is None
    assert found["churn"]["student_seed_to_seed"] == 0


def test_an_audit_without_seeds_says_so():
    record = audit(LABELS, LABELS, teacher=LABELS, groups={"site": SITE}).record
    assert record["across_seeds"] is None
    assert any("how much another seed would change" in line for line in record["limits"])
