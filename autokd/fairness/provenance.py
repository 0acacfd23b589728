"""Where an audit's figures come from and what they can't show: data, versions, hashes, limits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

import numpy as np

from autokd.fairness.gate import Gate
from autokd.fairness.groups import MOST_ATTRIBUTES, affordable
from autokd.fairness.inputs import Inputs
from autokd.records import AuditPolicy

FEW_CLUSTERS = 10  # below it, intervals from resampled clusters are too narrow at times


def data_record(
    inputs: Inputs, about: Mapping[str, Any], *, by: Mapping[str, Any], policy: AuditPolicy
) -> dict[str, Any]:
    """Who was audited."""
    sizes = None if inputs.clusters is None else np.bincount(inputs.clusters)
    first = "student" if "student" in inputs.models else "teacher"
    return {
        "rows": len(inputs.labels),
        "classes": len(inputs.class_names),
        "class_names": inputs.class_names,
        "split": about.get("split"),
        "join": about.get("join"),
        "clusters": None if sizes is None else {"count": len(sizes), "largest": sizes.max()},
        "missing": {each.name: each.missing for each in inputs.attributes if len(each.parts) == 1},
        "groups": {
            each.name: {
                group: {name: values[name] for name in ("n", "n_class", "judged")}
                for group, values in by[each.name][first]["groups"].items()
            }
            for each in inputs.attributes
        },
        "notes": [*about.get("notes", []), *left_out(inputs, policy), *oddities(inputs)],
    }


def versions() -> dict[str, str]:
    """Of all that the figures depend on."""
    found = {"python": python_version()}
    for name in ("autokd", "numpy", "scipy", "pandas"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a folder that was never installed
            found[name] = "unknown"
    return found


def rows_hash(inputs: Inputs) -> str:
    """16 hex digits of labels, predictions, groups and clusters, whatever the order of the rows."""
    tables = [inputs.labels[:, None].astype(np.float64)]
    for model in {**inputs.models, **inputs.assistants}.values():
        as_labels = model.predicted[:, None].astype(np.float64)
        tables.append(as_labels if model.probabilities is None else model.probabilities)
    numbers = np.ascontiguousarray(np.hstack(tables))
    names = [
        np.array(each.groups, dtype=object)[each.codes]
        for each in inputs.attributes
        if len(each.parts) == 1
    ]
    digests = sorted(
        hashlib.sha256(row.tobytes() + "\x1f".join(texts).encode()).digest()
        for row, *texts in zip(numbers, *names, strict=True)
    )
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def limits(
    inputs: Inputs,
    gates: Sequence[Gate],
    *,
    by: Mapping[str, Any],
    about: Mapping[str, Any],
    seeds: Mapping[str, Any] | None,
    times: int,
    policy: AuditPolicy,
) -> list[str]:
    """What a reader has to know before trusting the figures; each sentence stands by itself."""
    found = [
        "An audit finds differences between the groups it is given; groups that nobody recorded, and causes, it can't.",
        f"Gates allow for chance: of {len(gates)} gates some may still be wrong, and an interval misses the truth "
        "in about 1 of 20 cases.",
        "Calibration error is biased upwards in small groups: compare student and teacher within a group, "
        "not groups with each other.",
    ]
    split = about.get("split")
    found.append(
        f"The figures are of the split '{split}' alone."
        if split
        else "Nothing is known of the split: if these rows chose or trained the student, its figures flatter it."
    )
    if times > 1:
        found.append(
            f"Several ranges between groups were tested: to fail a gate, the p of one times {times} has to be below "
            "0.05. The p of single groups are adjusted within an attribute (Holm), not across attributes."
        )
    if not inputs.is_comparison:
        found.append("One model was audited alone: what compression changed was not tested.")
    if all(each.is_class for each in inputs.attributes):
        found.append(
            "No groups of people or places were given: classes stand in for them, and nothing is known of others."
        )
    found += _data_limits(inputs, by, policy)
    found.append(_cluster_limit(inputs, by))
    found.append(_seed_limit(seeds))
    if policy.accept_teacher_bias and "teacher" in inputs.models:
        found.append(f"The teacher's bias was accepted beforehand: {policy.accept_teacher_bias}")
    if about.get("generalisation") is None:
        found.append("Corrupted images and attributions were not tested.")
    return found


def _data_limits(inputs: Inputs, by: Mapping[str, Any], policy: AuditPolicy) -> list[str]:
    found = []
    small = sum(len(figures["not_judged"]) for figures in by.values())
    if small:
        found.append(
            f"{small} groups have fewer than {policy.min_group_n} images and were not judged; their figures are shown."
        )
    labels_only = [
        name
        for name, model in {**inputs.models, **inputs.assistants}.items()
        if model.probabilities is None
    ]
    if labels_only:
        found.append(
            f"{' and '.join(labels_only)} came as labels without probabilities: calibration, NLL, Brier score and KL "
            "are null."
        )
    return found


def left_out(inputs: Inputs, policy: AuditPolicy) -> list[str]:
    """Crossings that were asked for and not made."""
    singles = sum(len(each.parts) == 1 for each in inputs.attributes)
    made = affordable(singles, policy.intersections)
    return [
        f"Crossings of {size} of the {singles} columns ({math.comb(singles, size):,}) were not made, as an audit has at most "
        f"{MOST_ATTRIBUTES} columns and crossings: name fewer columns."
        for size in range(made + 1, min(policy.intersections, singles) + 1)
    ]


def oddities(inputs: Inputs) -> list[str]:
    """What is odd about the rows, worst first: with it a verdict says less than it seems to."""
    notes = []
    right = {name: model.predicted == inputs.labels for name, model in inputs.models.items()}
    if wrong := [name for name, hits in right.items() if not hits.any()]:
        notes.append(
            f"{_names(wrong)} wrong about every image: check that classes and rows are in the order of the labels."
        )
    if all(hits.all() for hits in right.values()):
        notes.append(
            f"{_names(list(right))} right about every image: nothing can differ between groups on images so easy."
        )
    notes += _one_sided(inputs)
    present = np.unique(inputs.labels)
    if len(present) == 1:
        only = inputs.class_names[present[0]]
        notes.append(
            f'Every row is of the class "{only}": precision and false positives say little.'
        )
    lone = [each.name for each in inputs.attributes if len(each.groups) == 1]
    if lone:
        notes.append(f"{', '.join(lone)}: there is one group alone, so nothing can be compared.")
    return notes


def _one_sided(inputs: Inputs) -> list[str]:
    """Classes that labels or predictions alone have; of models with probabilities the columns say what there is."""
    if any(model.probabilities is not None for model in inputs.models.values()):
        return []
    labelled = np.bincount(inputs.labels, minlength=len(inputs.class_names))
    predicted = sum(
        np.bincount(model.predicted, minlength=len(inputs.class_names))
        for model in inputs.models.values()
    )
    told = {
        "is the label of no row, but predicted": (labelled == 0) & (predicted > 0),
        "is never predicted, but the label of rows": (labelled > 0) & (predicted == 0),
    }
    return [
        f"{_classes([name for name, here in zip(inputs.class_names, of, strict=True) if here])} {what}: is it spelt alike?"
        for what, of in told.items()
        if of.any()
    ]


def _classes(names: Sequence[str]) -> str:
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f'Class "{names[0]}"{more}'


def _names(models: Sequence[str]) -> str:
    return f"The {models[0]} is" if len(models) == 1 else "Both models are"


def _cluster_limit(inputs: Inputs, by: Mapping[str, Any]) -> str:
    if inputs.clusters is None:
        return (
            "No clusters were given: images count as independent. If several are of one patient, writer or camera, "
            "intervals are too narrow."
        )
    few = [
        f"{attr}={group}"
        for attr, figures in by.items()
        for group in figures["judged"]
        if inputs.is_comparison
        and (figures["student_vs_teacher"]["groups"][group]["clusters"] or FEW_CLUSTERS)
        < FEW_CLUSTERS
    ]
    more = (
        f" Fewer than {FEW_CLUSTERS} clusters say little of others: {', '.join(few)}."
        if few
        else ""
    )
    return (
        "Gates resample whole clusters; McNemar's p, Wilson's and Wald's intervals are shown as if images were "
        f"independent, and are too optimistic.{more}"
    )


def _seed_limit(seeds: Mapping[str, Any] | None) -> str:
    if seeds is None:
        return "One training of each model was audited: how much another seed would change was not tested."
    if "state" in seeds:
        return f"Tests across trainings {seeds['state']} of teacher and student; until then, churn is disagreement."
    return "Tests across seeds are about training noise, paired tests about test-set noise; neither stands for both."
