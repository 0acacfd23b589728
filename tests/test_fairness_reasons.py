"""Every null in audit.json has its reason beside the figures."""

from __future__ import annotations

import numpy as np
import pytest
from fairness_rows import CLASSES, probabilities

from autokd.fairness.audit import audit
from autokd.fairness.reasons import REASONS, reasons
from autokd.records import AuditPolicy

LABELS = np.tile(np.arange(CLASSES), 30)
SHARES = probabilities(LABELS)
SITE = np.repeat(["A", "B", "C"], 40)
GIVEN = {
    "labels": LABELS,
    "student": SHARES,
    "teacher": SHARES[::-1],
    "groups": {"site": SITE},
    "policy": AuditPolicy(resamples=200),
}
SEEDS = np.stack([LABELS, LABELS, LABELS])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"student": LABELS, "teacher": LABELS},
        {"groups": {"site": ["A"] * 120}},
        {"groups": {"site": np.arange(120).astype(str)}},
        {"labels": LABELS * 0},
        {"labels": np.minimum(LABELS, 1), "student": LABELS * 0, "teacher": LABELS * 0},
        {"teacher": None},
        {"student": None},
        {"student": None, "teacher": LABELS},
        {"groups": None},
        {"cluster": SITE},
        {"teacher_seeds": SEEDS, "student_seeds": SEEDS},
        {"teacher_seeds": SEEDS[:1], "student_seeds": SEEDS[:1]},
        {"teacher_seeds": SEEDS, "student_seeds": (SEEDS + 1) % CLASSES},
        {"about": {"hashes": {"teacher": None, "model": None}}},
    ],
)
def test_every_figure_that_is_null_has_a_reason_of_its_own(change):
    record = audit(**GIVEN | change).record
    assert set(record["reasons"]) <= set(REASONS)
    assert "undefined" not in record["reasons"].values()
    without = {key: value for key, value in record.items() if key != "reasons"}
    assert reasons(without) == record["reasons"]


def test_groups_of_corrupted_images_and_attributions_have_reasons_too():
    generalisation = {
        "corruptions": [
            {"name": "none", "strength": None, "by": {"site": {"A": {"teacher": None}}}}
        ],
        "attribution": {"mean": None, "ci95": None, "chance": None, "by": {"site": {"A": None}}},
    }
    found = reasons({"generalisation": generalisation})
    assert set(found) == {"strength", "teacher", "mean", "ci95", "chance", "attribution_by"}
    assert set(found) <= set(REASONS)


def test_a_figure_that_is_never_null_has_no_reason():
    record = audit(**GIVEN).record
    assert "accuracy_delta" not in record["reasons"]
    assert record["reasons"]["floor"] == "not set"


def test_the_number_of_bins_in_a_figures_name_does_not_matter():
    done = audit(**GIVEN | {"student": LABELS, "policy": AuditPolicy(ece_bins=10, resamples=200)})
    assert done.record["overall"]["student"]["ece10_l1"] is None
    assert done.record["reasons"]["ece_l1"] == "the model came as labels without probabilities"
