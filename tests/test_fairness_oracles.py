"""Figures of the audit against the libraries that define them, on rows drawn at random."""

from __future__ import annotations

import itertools
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from fairlearn.metrics import MetricFrame, count, selection_rate
from fairness_rows import CLASSES, probabilities
from scipy import stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from torchmetrics.functional.classification import multiclass_calibration_error

from autokd.fairness.audit import audit
from autokd.fairness.paired import holm, mcnemar_exact
from autokd.fairness.rates import wilson
from autokd.fairness.resample import range_test, sign_flip_p

N = 1500
RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, CLASSES, N)
SITE = RNG.choice(list("ABCDE"), N, p=[0.4, 0.3, 0.15, 0.1, 0.05])
TEACHER = probabilities(LABELS, seed=1)
STUDENT = probabilities(LABELS, seed=2)
T, S = TEACHER.argmax(axis=1), STUDENT.argmax(axis=1)


@cache
def by_site() -> Any:
    return audit(LABELS, STUDENT, teacher=TEACHER, groups={"site": SITE}).record["by"]["site"]


@pytest.mark.parametrize("site", list("ABCDE"))
def test_rates_of_a_group_are_those_of_scikit_learn_and_fairlearn(site):
    rows, found = site == SITE, by_site()["student"]["groups"][site]
    y, p = LABELS[rows], S[rows]
    frame = MetricFrame(
        metrics={"n": count, "accuracy": metrics.accuracy_score},
        y_true=LABELS,
        y_pred=S,
        sensitive_features=SITE,
    ).by_group
    options = {"labels": range(CLASSES), "average": None, "zero_division": np.nan}
    assert found["n"] == frame.loc[site, "n"]
    assert found["accuracy"] == pytest.approx(frame.loc[site, "accuracy"])
    assert found["recall"] == pytest.approx(metrics.recall_score(y, p, **options), nan_ok=True)
    assert found["precision"] == pytest.approx(metrics.precision_score(y, p, **options))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, p))
    assert found["macro_f1_present_classes"] == pytest.approx(
        metrics.f1_score(y, p, average="macro")
    )
    assert found["confusion"] == metrics.confusion_matrix(y, p, labels=range(CLASSES)).tolist()
    assert found["selection_rate"] == pytest.approx(
        [selection_rate(y, p, pos_label=c) for c in range(CLASSES)]
    )
    fpr = [((p == c) & (y != c)).sum() / (y != c).sum() for c in range(CLASSES)]
    assert found["fpr_ovr"] == pytest.approx(fpr)


@pytest.mark.parametrize("site", list("ABCDE"))
def test_calibration_of_a_group_is_that_of_torchmetrics_and_scikit_learn(site):
    rows, found = site == SITE, by_site()["student"]["groups"][site]
    y, p = LABELS[rows], STUDENT[rows]
    ece = multiclass_calibration_error(
        torch.from_numpy(p).float(), torch.from_numpy(y), CLASSES, n_bins=15, norm="l1"
    )
    assert found["ece15_l1"] == pytest.approx(float(ece), abs=1e-6)
    assert found["nll"] == pytest.approx(metrics.log_loss(y, p, labels=range(CLASSES)))
    brier = metrics.brier_score_loss(y, p, labels=range(CLASSES), scale_by_half=False)
    assert found["brier"] == pytest.approx(brier)
    assert sum(each["n"] for each in found["reliability"]) == rows.sum()
    gaps = [abs(each["accuracy"] - each["confidence"]) * each["n"] for each in found["reliability"]]
    assert sum(gaps) / rows.sum() == pytest.approx(found["ece15_l1"])


@pytest.mark.parametrize("site", list("ABCDE"))
def test_paired_figures_of_a_group_are_those_of_statsmodels_and_scikit_learn(site):
    rows = site == SITE
    found = by_site()["student_vs_teacher"]["groups"][site]
    t, s = T[rows] == LABELS[rows], S[rows] == LABELS[rows]
    table = [[(t & s).sum(), (t & ~s).sum()], [(~t & s).sum(), (~t & ~s).sum()]]
    assert found["mcnemar_exact_p"] == pytest.approx(mcnemar(table, exact=True).pvalue)
    corrected = mcnemar(table, exact=False, correction=True)
    assert found["mcnemar_cc_chi2"] == pytest.approx(corrected.statistic)
    assert found["mcnemar_cc_p"] == pytest.approx(corrected.pvalue)
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(T[rows], S[rows]))
    kl = stats.entropy(TEACHER[rows], STUDENT[rows], axis=1).mean()
    assert found["kl_teacher_student"] == pytest.approx(kl)


def test_gaps_between_groups_are_those_of_fairlearn_where_every_group_has_every_class():
    found = by_site()["student"]["aggregates"]["judged_groups"]
    big = np.isin(SITE, by_site()["judged"])
    frame = MetricFrame(
        metrics=metrics.accuracy_score,
        y_true=LABELS[big],
        y_pred=S[big],
        sensitive_features=SITE[big],
    )
    assert found["accuracy"]["difference"] == pytest.approx(frame.difference())
    assert found["accuracy"]["ratio"] == pytest.approx(frame.ratio())
    for c in range(CLASSES):
        recall = MetricFrame(
            metrics=metrics.recall_score,
            y_true=LABELS[big] == c,
            y_pred=S[big] == c,
            sensitive_features=SITE[big],
        )
        assert found["tpr_ovr"][c]["difference"] == pytest.approx(recall.difference())


def test_adjusted_p_values_are_those_of_statsmodels():
    groups = by_site()["student_vs_teacher"]["groups"]
    judged = [groups[name] for name in by_site()["judged"]]
    raw = [each["mcnemar_exact_p"] for each in judged]
    for key, method in (("holm", "holm"), ("bh", "fdr_bh")):
        expected = multipletests(raw, method=method)[1]
        assert [each[f"mcnemar_exact_p_{key}"] for each in judged] == pytest.approx(expected)
    p = np.random.default_rng(0).random(40) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (1, 30), (117, 250), (999, 1000)])
def test_wilson_intervals_are_those_of_statsmodels(right, n):
    expected = proportion_confint(right, n, method="wilson")
    assert wilson(np.array(right), np.array(n)) == pytest.approx(expected, abs=1e-12)


def test_a_chi_square_of_homogeneity_is_scipys():
    found = by_site()["homogeneity"]["student"]
    groups = by_site()["student"]["groups"]
    right = np.array([groups[name]["correct"] for name in found["groups"]])
    n = np.array([groups[name]["n"] for name in found["groups"]])
    expected = stats.chi2_contingency([right, n - right], correction=False)
    assert found["chi2"] == pytest.approx(expected.statistic)
    assert found["chi2_p"] == pytest.approx(expected.pvalue)


def test_a_permutation_test_of_two_groups_is_scipys():
    rng = np.random.default_rng(3)
    codes, scores = np.repeat([0, 1], [60, 90]), rng.choice([-1, 0, 1], 150, p=[0.2, 0.7, 0.1])

    def gap(a, b, axis):
        return np.abs(a.mean(axis=axis) - b.mean(axis=axis))

    expected = stats.permutation_test(
        (scores[:60], scores[60:]),
        gap,
        n_resamples=20_000,
        alternative="greater",
        vectorized=True,
        rng=0,
    )
    found = range_test(codes, scores, draws=20_000, seed=0)
    assert found.p[0] == pytest.approx(expected.pvalue, abs=0.015)
    assert found.expected[0] == pytest.approx(expected.null_distribution.mean(), abs=0.002)


@pytest.mark.parametrize("net", [[1] * 9 + [-1] * 3, [3, -1, 4, 1, -5, 9, 2], [2, 2, 2], [5], [0]])
def test_sign_flips_are_exact(net):
    values = np.array(net, dtype=np.int64)
    flips = np.array(list(itertools.product([-1, 1], repeat=len(net))))
    sums = np.abs((flips * np.abs(values)).sum(axis=1))
    assert sign_flip_p(values) == pytest.approx(np.mean(sums >= abs(values.sum())))


def test_sign_flips_of_clusters_of_one_image_are_mcnemars_test():
    p = mcnemar_exact(np.array(14), np.array(5))
    assert sign_flip_p(np.array([-1] * 14 + [1] * 5 + [0] * 30)) == pytest.approx(float(p))


def test_a_class_that_a_group_lacks_is_left_out_and_is_no_gap_of_one():
    labels = np.concatenate([np.tile([0, 1, 2], 50), np.tile([0, 1], 50)])
    site = np.repeat(["A", "B"], [150, 100])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = audit(labels, labels, groups={"site": site}).record["by"]["site"]["student"]
    assert found["groups"]["B"]["recall"] == [1, 1, None]
    between = found["aggregates"]["judged_groups"]
    assert between["tpr_ovr"][2]["difference"] is None
    assert between["equal_opportunity_difference_max"] == 0


@pytest.mark.parametrize("site", list("ABCDE"))
def test_the_mean_margin_of_a_group_is_the_labels_lead_over_the_likeliest_other_class(site):
    rows = site == SITE
    leads = [
        row[label] - max(np.delete(row, label))
        for row, label in zip(TEACHER[rows], LABELS[rows], strict=True)
    ]
    assert by_site()["teacher"]["groups"][site]["mean_margin"] == pytest.approx(np.mean(leads))
    assert np.mean(np.array(leads) > 0) == by_site()["teacher"]["groups"][site]["accuracy"]


def test_calibration_by_class_is_that_of_torchmetrics_on_the_rows_of_the_class():
    record = audit(LABELS, STUDENT, groups={"site": SITE}).record
    for c in range(CLASSES):
        rows = c == LABELS
        ece = multiclass_calibration_error(
            torch.from_numpy(STUDENT[rows]).float(), torch.from_numpy(LABELS[rows]), CLASSES,
            n_bins=15, norm="l1",
        )  # fmt: skip
        assert record["overall"]["student"]["ece15_l1_by_class"][c] == pytest.approx(
            float(ece), abs=1e-6
        )


def test_a_class_that_does_not_occur_has_no_calibration_error():
    labels = np.minimum(LABELS, 2)
    found = audit(labels, STUDENT).record["overall"]["student"]["ece15_l1_by_class"]
    assert [value is None for value in found] == [False, False, False, True]
