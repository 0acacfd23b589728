"""What is recommended for a student in use follows from accuracy, drift and the audit, held against those at export."""

from __future__ import annotations

import re

import numpy as np
import pytest

import autokd
from autokd.drift.accuracy import Accuracy, compare_accuracy
from autokd.drift.reference import Reference
from autokd.drift.shift import Shift
from autokd.monitoring.advice import advise

SITES = np.repeat(["A", "B"], 200)
LABELS = np.arange(400) % 2
# a quarter of the answers for A are wrong
STUDENT = np.where((SITES == "A") & (np.arange(400) // 2 % 4 == 0), 1 - LABELS, LABELS)
AS_NOW = {"site": {"A": (150, 200), "B": (200, 200)}}
BETTER_THEN = {"site": {"A": (195, 200), "B": (200, 200)}}
RIGHT = Accuracy(split="val", correct=350, images=400)


def reference(*, then=None, groups=None):
    return Reference(
        source="trial 1",
        class_names=("cat", "dog"),
        channels=1,
        image_size=8,
        flip=True,
        data_name="pets",
        data_hash="",
        val=RIGHT,
        test=None,
        audits={} if then is None else {"val": then},
        groups=groups,
        seen=None,
        candidate={},
    )


def advised(kept, *, teacher=True, shifts=(), expected=None, labelled=True):
    done = autokd.audit(
        LABELS, STUDENT, teacher=LABELS if teacher else None, groups={"site": SITES}
    )
    assert done.status == "fail"
    return advise(
        shifts,
        compare_accuracy(RIGHT, RIGHT, margin=0.05) if labelled else None,
        done if labelled else None,
        reference=kept,
        against_teacher=teacher,
        expected=expected,
        margin=0.05,
    )


@pytest.mark.parametrize(
    ("teacher", "then", "groups", "recommendation", "said"),
    [
        (True, "warn", AS_NOW, "re-distil", "site A loses"),
        (True, "fail", AS_NOW, "keep", "It failed at export too. No group has fallen since export"),
        (True, "fail", BETTER_THEN, "look closer", r"Fallen since export: site=A \(97.5% of 200 then"),
        (True, "fail", None, "look closer", "How its groups were at export is not known"),
        (True, "fail", {"sex": {"F": (1, 2)}}, "look closer", "at export is not known"),
        (True, None, AS_NOW, "keep", "No group has fallen"),  # the file is in other numbers
        (False, "warn", AS_NOW, "keep", "so this is of the student alone. No group has fallen"),
        (False, "warn", BETTER_THEN, "look closer", "so this is of the student alone. Fallen since"),
    ],
)  # fmt: skip
def test_a_failed_audit_counts_where_it_is_news(teacher, then, groups, recommendation, said):
    advice = advised(reference(then=then, groups=groups), teacher=teacher)
    assert advice.recommendation == recommendation
    assert re.search(said, advice.reasons[-1])


def shift(name, of, state):
    return Shift(
        name=name, of=of, then=0.1, now=0.9, measure="D", effect=0.5, p=0.0, corrected_p=0.0,
        needed=9, state=state,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("of", "state", "worthless"),
    [
        ("images", "drifted", True),
        ("both", "drifted", True),
        ("answers", "drifted", False),
        ("images", "shifted", False),
    ],
)
def test_confidence_is_worthless_on_images_that_are_plainly_others(of, state, worthless):
    assert shift("x", of, state).is_of_other_images == worthless


def test_without_labels_a_guess_is_told_only_where_there_is_one():
    moved = [shift("confidence", "answers", "drifted")]
    guessed = advised(reference(), shifts=moved, expected=0.7, labelled=False)
    assert "an accuracy of about 70% is to be expected, more than the margin" in guessed.reasons[-1]
    moved = [shift("brightness", "images", "drifted")]
    unknown = advised(reference(), shifts=moved, labelled=False)
    assert unknown.reasons[-1].startswith("Confidence says nothing of accuracy on images so unlike")
    assert guessed.recommendation == unknown.recommendation == "look closer"
