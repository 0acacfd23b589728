"""All figures of one attribute, under the names that audit.json gives them. Judges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from autokd.fairness.amplification import amplification, directional
from autokd.fairness.between import aggregates
from autokd.fairness.groups import EVERYONE, Attribute, everyone
from autokd.fairness.inputs import Inputs, Model
from autokd.fairness.paired import (
    Pairs,
    adjusted,
    compare,
    holm,
    mcnemar_exact,
    overall_record,
    pairs_record,
)
from autokd.fairness.rates import PER_CLASS, Floats, Ints, Rates, measure, rates_record, wilson
from autokd.fairness.resample import (
    RangeTest,
    cluster_interval,
    image_interval,
    range_test,
    sign_flip_p,
)
from autokd.records import AuditPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One attribute of one audit."""

    inputs: Inputs
    attribute: Attribute
    clusters: Ints | None
    judged: Ints  # places of the groups that are large enough
    draws: int  # of every bootstrap and permutation
    policy: AuditPolicy

    @property
    def judged_names(self) -> list[str]:
        return [self.attribute.groups[g] for g in self.judged]

    def test(
        self, scores: Ints, *, columns: Ints | None = None, where: NDArray[np.bool_] | None = None
    ) -> RangeTest:
        """Of the range between judged groups of the rows' mean score."""
        place = np.full(len(self.attribute.groups), -1)
        place[self.judged] = np.arange(len(self.judged))
        codes = place[self.attribute.codes]
        rows = codes >= 0 if where is None else (codes >= 0) & where
        return range_test(
            codes[rows],
            scores[rows],
            columns=None if columns is None else columns[rows],
            clusters=None if self.clusters is None else self.clusters[rows],
            min_n=1 if columns is None else self.policy.min_rate_denominator,
            draws=self.draws,
            seed=self.policy.seed,
        )


def make_cut(inputs: Inputs, attribute: Attribute, *, draws: int, policy: AuditPolicy) -> Cut:
    n = np.bincount(attribute.codes, minlength=len(attribute.groups))
    return Cut(
        inputs=inputs,
        attribute=attribute,
        clusters=_clusters_within(attribute, inputs.clusters),
        judged=np.flatnonzero(n >= policy.min_group_n),
        draws=draws,
        policy=policy,
    )


def attribute_record(cut: Cut) -> dict[str, Any]:
    """``by.<attribute>`` but for the states, which the gates decide."""
    inputs, attribute = cut.inputs, cut.attribute
    names = np.array(attribute.groups, dtype=object)
    rates = {
        name: measure(model, inputs.labels, attribute, policy=cut.policy)
        for name, model in {**inputs.models, **inputs.assistants}.items()
    }
    record: dict[str, Any] = {
        "judged": cut.judged_names,
        "not_judged": np.delete(names, cut.judged).tolist(),
        "parts": list(attribute.parts),
    }
    for name in ("teacher", "student"):
        record[name] = _model_record(cut, rates[name]) if name in inputs.models else None
    if "student" in inputs.models:
        for g, values in enumerate(record["student"]["groups"].values()):
            interval = _accuracy_interval(cut, inputs.models["student"], g)
            values["accuracy_gate_ci95"] = interval
    record["homogeneity"] = {
        name: _homogeneity(cut, model, rates[name]) for name, model in inputs.models.items()
    }
    record["student_vs_teacher"] = record["amplification"] = None
    if inputs.is_comparison:
        record["student_vs_teacher"] = _comparison(cut, inputs.models["student"], tested=True)
        record["amplification"] = _amplification(cut, record)
    record["assistants"] = {name: _model_record(cut, rates[name]) for name in inputs.assistants}
    record["assistants_vs_teacher"] = {
        name: {"groups": _comparison(cut, model, tested=False)["groups"]}
        for name, model in inputs.assistants.items()
        if "teacher" in inputs.models
    }
    if record["student"]:
        record["student"]["recall_homogeneity"] = _recall_test(cut, record["student"])
    return record


def overall_change(inputs: Inputs, policy: AuditPolicy) -> dict[str, Any]:
    """The entry of all images together in student_vs_teacher, however few they are."""
    everybody = everyone(len(inputs.labels))
    cut = make_cut(inputs, everybody, draws=policy.resamples, policy=replace(policy, min_group_n=0))
    change = _comparison(cut, inputs.models["student"], tested=True)["groups"][EVERYONE]
    return dict(change)


def _clusters_within(attribute: Attribute, clusters: Ints | None) -> Ints | None:
    """None where each group is one cluster: figures of such groups are about these clusters alone."""
    if clusters is None:
        return None
    pairs = np.unique(np.stack([attribute.codes, clusters], axis=1), axis=0)
    return None if len(pairs) == len(attribute.groups) == clusters.max() + 1 else clusters


def _model_record(cut: Cut, rates: Rates) -> dict[str, Any]:
    everyone = np.ones(len(rates.n), dtype=bool)
    judged = rates.n >= cut.policy.min_group_n
    groups = cut.attribute.groups
    records = {name: rates_record(rates, g, policy=cut.policy) for g, name in enumerate(groups)}
    if cut.attribute.is_class:  # a group is one class: C x C figures would say nothing more
        records = {name: each | dict.fromkeys(PER_CLASS) for name, each in records.items()}
    return {
        "groups": records,
        "aggregates": {
            name: aggregates(rates, groups, cut.inputs.class_names, among=among, policy=cut.policy)
            for name, among in (("all_groups", everyone), ("judged_groups", judged))
        },
    }


def _accuracy_interval(cut: Cut, model: Model, g: int) -> Floats:
    """Wilson's, of as many rows as the clusters are worth: n / design effect (Dean & Pagano 2015)."""
    right = (model.predicted == cut.inputs.labels).astype(np.int64)
    rows = cut.attribute.codes == g
    n, share = int(rows.sum()), float(right[rows].mean())
    worth = float(n)
    if cut.clusters is not None:
        sizes, hits = _by_cluster(cut, right, g)
        k, noise = len(sizes), share * (1 - share) / n
        error = k / max(k - 1, 1) * ((hits - share * sizes) ** 2).sum() / n**2
        worth = n / max(1.0, error / noise) if noise and k > 1 else float(k)
    return wilson(np.array(share * worth), np.array(worth))


def _homogeneity(cut: Cut, model: Model, rates: Rates) -> dict[str, Any]:
    """Is the model equally accurate in all judged groups? Noise removed: after Lum, Zhang & Bower (2022)."""
    n, right = rates.n[cut.judged], rates.correct[cut.judged]
    record: dict[str, Any] = dict.fromkeys(
        ("chi2", "dof", "chi2_p", "max_min", "max_min_permutation_p", "max_min_expected_if_equal")
    ) | dict.fromkeys(
        ("variance_between_groups", "variance_between_groups_noise_removed", "method")
    )
    record = {"groups": cut.judged_names} | record
    if len(n) < 2:
        return record
    share, accuracy = right.sum() / n.sum(), right / n
    if 0 < share < 1:
        record["chi2"] = ((right - n * share) ** 2 / (n * share * (1 - share))).sum()
        record["dof"] = len(n) - 1
        record["chi2_p"] = chi2.sf(record["chi2"], len(n) - 1)
    test = cut.test((model.predicted == cut.inputs.labels).astype(np.int64))
    noise = (accuracy * (1 - accuracy) / n).mean()
    return record | {
        "max_min": test.observed[0],
        "max_min_permutation_p": test.p[0],
        "max_min_expected_if_equal": test.expected[0],
        "variance_between_groups": accuracy.var(ddof=1),
        "variance_between_groups_noise_removed": accuracy.var(ddof=1) - noise,
        "method": test.method,
    }


def _recall_test(cut: Cut, student: Mapping[str, Any]) -> dict[str, Any] | None:
    """Is a class found as often in all groups? None: no class is found so unevenly that it matters."""
    ratios = [each["ratio"] for each in student["aggregates"]["judged_groups"]["tpr_ovr"]]
    low = [ratio is not None and ratio < cut.policy.recall_ratio for ratio in ratios]
    if cut.attribute.is_class or not any(low):
        return None
    labels, model = cut.inputs.labels, cut.inputs.models["student"]
    right = (model.predicted == labels).astype(np.int64)
    test = cut.test(right, columns=labels)
    p = np.full(len(ratios), np.nan)
    p[: len(test.p_joint)] = test.p_joint
    return {"p_joint": p, "method": test.method}


def _comparison(cut: Cut, student: Model, *, tested: bool) -> dict[str, Any]:
    teacher, labels = cut.inputs.models["teacher"], cut.inputs.labels
    pairs = compare(teacher, student, labels, cut.attribute)
    change = (student.predicted == labels).astype(np.int64) - (teacher.predicted == labels)
    groups = {
        name: pairs_record(pairs, g) | _interval(cut, pairs, change, g)
        for g, name in enumerate(cut.attribute.groups)
    }
    for g, values in adjusted(pairs, cut.judged).items():
        groups[cut.attribute.groups[g]] |= values
    record: dict[str, Any] = {"overall": overall_record(pairs), "groups": groups}
    if not tested:
        return record
    _add_gate_p(cut, pairs, change, groups)
    test = cut.test(change) if len(cut.judged) > 1 else None
    record["delta_differs_between_groups"] = {
        "groups": cut.judged_names,
        "max_min_delta": test and test.observed[0],
        "min_delta": test and pairs.change[cut.judged].min(),
        "permutation_p": test and test.p[0],
        "expected_if_equal": test and test.expected[0],
        "method": test and test.method,
    }
    return record


def _interval(cut: Cut, pairs: Pairs, change: Ints, g: int) -> dict[str, Any]:
    n, b, c = int(pairs.n[g]), int(pairs.regressed[g]), int(pairs.fixed[g])
    interval = image_interval(n, b, c, draws=cut.policy.resamples, seed=cut.policy.seed)
    if cut.clusters is None:
        return {"accuracy_delta_ci95": interval, "ci_method": "paired bootstrap", "clusters": None}
    sizes, net = _by_cluster(cut, change, g)
    interval = cluster_interval(
        sizes, net, interval, draws=cut.policy.resamples, seed=cut.policy.seed
    )
    return {
        "accuracy_delta_ci95": interval,
        "ci_method": "cluster bootstrap",
        "clusters": len(sizes),
    }


def _add_gate_p(cut: Cut, pairs: Pairs, change: Ints, groups: dict[str, dict[str, Any]]) -> None:
    """The p that the gate goes by: McNemar's supposes independent images, so clusters have one of their own."""
    if not len(cut.judged):
        return
    if cut.clusters is None:
        p, method = mcnemar_exact(pairs.regressed, pairs.fixed)[cut.judged], "McNemar exact"
    else:
        p = np.array([sign_flip_p(_by_cluster(cut, change, g)[1]) for g in cut.judged])
        method = "sign flips of clusters, exact"
    for name, one, corrected in zip(cut.judged_names, p, holm(p), strict=True):
        groups[name] |= {"gate_p": one, "gate_p_holm": corrected, "gate_p_method": method}


def _by_cluster(cut: Cut, scores: Ints, g: int) -> tuple[Ints, Ints]:
    """Rows and net score of every cluster that has rows in the group."""
    assert cut.clusters is not None
    rows = cut.attribute.codes == g
    _, of = np.unique(cut.clusters[rows], return_inverse=True)
    net = np.bincount(of, weights=scores[rows]).astype(np.int64)
    return np.bincount(of), net


def _amplification(cut: Cut, record: Mapping[str, Any]) -> dict[str, Any]:
    judged = [record[name]["aggregates"]["judged_groups"] for name in ("teacher", "student")]
    grown = amplification(*judged)
    labels = cut.inputs.labels
    teacher, student = (cut.inputs.models[name].predicted for name in ("teacher", "student"))
    pairs = {
        "directional_teacher_vs_labels": (labels, teacher),
        "directional_student_vs_labels": (labels, student),
        "directional_student_vs_teacher": (teacher, student),
    }
    for name, (reference, predicted) in pairs.items():
        grown[name] = (
            None
            if cut.attribute.is_class
            else directional(
                reference, predicted, cut.attribute, cut.inputs.class_names, judged=cut.judged
            )
        )
    return grown
