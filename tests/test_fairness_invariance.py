"""What must not change an audit: the order of rows, how they came in files, names of groups and of classes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fairness_rows import probabilities
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.fairness.audit import audit
from autokd.records import AuditPolicy

pytestmark = pytest.mark.slow

POLICY = AuditPolicy(resamples=200)
# These name one of several groups that tie, rows by position, or the content itself.
NAMES = {"min_group", "max_group", "worst_label_group", "row", "hashes", "why", "summary", "limits"}


@st.composite
def arguments(draw: Any) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, classes = draw(st.integers(40, 250)), draw(st.integers(2, 4))
    labels = rng.integers(0, classes, n)
    cluster = draw(st.sampled_from([None, 7, 30]))
    clusters = None if cluster is None else rng.integers(0, cluster, n)
    site = rng.integers(0, 3, n) if clusters is None or draw(st.booleans()) else clusters % 3
    return {
        "labels": labels,
        "student": probabilities(labels, seed=int(rng.integers(99)), classes=classes),
        "teacher": probabilities(labels, seed=int(rng.integers(99)), classes=classes),
        "groups": {"site": np.array(list("ABC"))[site], "sex": rng.choice(["F", "M", ""], n)},
        "cluster": clusters,
        "ids": np.arange(n),
    }


def reorder(given: dict[str, Any], order: np.ndarray) -> dict[str, Any]:
    moved = {k: v[order] for k, v in given.items() if isinstance(v, np.ndarray)}
    return given | moved | {"groups": {k: v[order] for k, v in given["groups"].items()}}


def alike(a: Any, b: Any, path: str = "") -> None:
    """Equal but for rounding in sums: a random figure that was drawn anew would differ by far more."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a.keys() - NAMES:
            alike(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), path
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            alike(one, other, f"{path}/{i}")
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-9), path
    else:
        assert a == b, path


@given(arguments(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_the_order_of_rows_changes_nothing_and_so_neither_does_splitting_them_in_files(rows, seed):
    before = audit(**rows, policy=POLICY)
    order = np.random.default_rng(seed).permutation(len(rows["labels"]))
    after = audit(**reorder(rows, order), policy=POLICY)
    alike(before.record, after.record)
    assert before.record["hashes"] == after.record["hashes"]
    assert before.record["summary"] == after.record["summary"]


@given(arguments())
@settings(deadline=None, max_examples=25)
def test_names_of_groups_change_nothing(rows):
    new = {"A": "zebra", "B": "yak", "C": "xerus", "F": "w", "M": "v", "": ""}
    renamed = {k: np.array([new[each] for each in v]) for k, v in rows["groups"].items()}
    before = audit(**rows, policy=POLICY).record
    after = audit(**rows | {"groups": renamed}, policy=POLICY).record
    assert before["status"] == after["status"]
    for attr, figures in before["by"].items():
        found = after["by"][attr]
        for old, values in figures["student_vs_teacher"]["groups"].items():
            name = "|".join(new.get(part, part) for part in old.split("|"))
            alike(values, found["student_vs_teacher"]["groups"][name], f"{attr}/{old}")
            alike(values["state"], found["student_vs_teacher"]["groups"][name]["state"])
        for part in ("homogeneity", "amplification"):
            drop = {"groups": None, "terms": None}
            alike(strip(figures[part], drop), strip(found[part], drop), f"{attr}/{part}")
        compared = [
            each["student_vs_teacher"]["delta_differs_between_groups"] for each in (figures, found)
        ]
        alike(compared[0] | {"groups": None}, compared[1] | {"groups": None})


def strip(node: Any, keys: dict[str, Any]) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: strip(each, keys) for key, each in node.items() if key not in keys}


@given(arguments(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_names_and_numbers_of_classes_change_no_verdict(rows, random):
    classes = rows["student"].shape[1]
    order = list(range(classes))
    random.shuffle(order)
    place = np.argsort(order)
    names = [f"class {c}" for c in range(classes)]
    moved = rows | {
        "labels": place[rows["labels"]],
        "student": rows["student"][:, order],
        "teacher": rows["teacher"][:, order],
    }
    before = audit(**rows, class_names=names, policy=POLICY).record
    after = audit(**moved, class_names=[names[c] for c in order], policy=POLICY).record
    assert before["summary"] == after["summary"]

    def keyed(gates: list[dict[str, Any]]) -> dict[str, Any]:
        return {f"{g['id']} {g['attr']} {g['group']} {g['class']}": g for g in gates}

    alike(keyed(before["gates"]), keyed(after["gates"]))


def test_a_record_is_read_back_from_json_as_it_was():
    labels = np.tile([0, 1, 2], 50)
    done = audit(labels, probabilities(labels, classes=3), groups={"s": ["A", "B"] * 75})
    assert json.loads(json.dumps(done.record, allow_nan=False)) == done.to_dict()
