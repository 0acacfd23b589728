"""Cutting a set: disjoint, complete, by class, never through a cluster, the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from autokd.data.cut import Cut, class_counts, cut_rows
from autokd.errors import ConfigError, DataError


def make_cut(labels, *, own=None, clusters=None, seed=0):
    labels = np.asarray(labels)
    return Cut(
        labels=labels,
        class_names=tuple("abcdefghij"[: labels.max() + 1]),
        own_split=None if own is None else np.asarray(own),
        clusters=None if clusters is None else np.asarray(clusters),
        seed=seed,
    )


def cut(labels, *, val=0.2, test=0.2, limit=None, **rest):
    return cut_rows(make_cut(labels, **rest), val_fraction=val, test_fraction=test, limit=limit)


label_lists = st.lists(st.integers(3, 30), min_size=2, max_size=6).map(
    lambda sizes: np.random.default_rng(0).permutation(np.repeat(range(len(sizes)), sizes))
)
fractions = st.floats(0.02, 0.49)


@settings(deadline=None, max_examples=60)
@given(labels=label_lists, val=fractions, test=fractions, seed=st.integers(0, 99))
def test_splits_are_disjoint_and_cover_the_set(labels, val, test, seed):
    splits = cut(labels, val=val, test=test, seed=seed)
    together = np.concatenate(list(splits.values()))
    assert sorted(together) == list(range(len(labels)))


@settings(deadline=None, max_examples=60)
@given(labels=label_lists, val=fractions, test=fractions)
@example(labels=np.repeat([0, 1, 2], [4, 4, 23]), val=0.43, test=0.43)
def test_every_class_is_in_every_split_and_a_split_has_its_share_of_the_set(labels, val, test):
    """Where small classes can't give theirs, the others give more."""
    splits = cut(labels, val=val, test=test)
    for rows in splits.values():
        assert set(labels[rows]) == set(labels)
    images, classes = len(labels), len(set(labels))
    in_test = np.clip(round(test * images), classes, images - 2 * classes)
    left = images - in_test
    in_val = np.clip(round(val / (1 - test) * left), classes, left - classes)
    assert (len(splits["test"]), len(splits["val"])) == (in_test, in_val)


@settings(deadline=None, max_examples=60)
@given(labels=label_lists, val=fractions, test=fractions)
def test_a_class_that_can_give_its_share_gives_it_where_all_can(labels, val, test):
    """To within an image for each of the two roundings."""
    sizes = np.bincount(labels)
    assume(min(val, test) * sizes.min() >= 1)
    assume((1 - val - test) * sizes.min() >= 2)
    splits = cut(labels, val=val, test=test)
    for name, fraction in (("val", val), ("test", test)):
        counts = np.bincount(labels[splits[name]], minlength=len(sizes))
        assert np.abs(counts - fraction * sizes).max() <= 2


def test_a_large_class_makes_up_for_small_ones():
    splits = cut(np.repeat([0, 1, 2], [4, 4, 23]), val=0.43, test=0.43)
    labels = np.repeat([0, 1, 2], [4, 4, 23])
    counts = {name: np.bincount(labels[rows]).tolist() for name, rows in splits.items()}
    assert counts == {"train": [1, 1, 2], "val": [1, 1, 12], "test": [2, 2, 9]}


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_a_seed_always_gives_the_same_splits(seed):
    labels = np.arange(60) % 3
    first, second = cut(labels, seed=seed), cut(labels, seed=seed)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_splits():
    labels = np.arange(60) % 3
    assert not np.array_equal(cut(labels, seed=0)["val"], cut(labels, seed=1)["val"])


def test_the_test_split_depends_on_neither_val_fraction_nor_limit():
    labels = np.arange(200) % 4
    tests = [cut(labels, val=0.1), cut(labels, val=0.3), cut(labels, limit=40)]
    assert all(np.array_equal(tests[0]["test"], other["test"]) for other in tests)


def test_the_sets_own_test_split_is_kept_and_val_cut_from_train():
    labels = np.arange(50) % 2
    own = np.repeat(["train", "test"], [40, 10])
    splits = cut(labels, own=own)
    assert splits["test"].tolist() == list(range(40, 50))
    assert len(splits["val"]) == 8
    assert len(splits["train"]) == 32


def test_the_sets_own_val_split_is_kept():
    labels = np.arange(50) % 2
    splits = cut(labels, own=np.repeat(["train", "val", "test"], [30, 10, 10]))
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 30,
        "val": 10,
        "test": 10,
    }


@settings(deadline=None, max_examples=25)
@given(clusters=st.integers(8, 30), seed=st.integers(0, 99))
def test_no_cluster_is_in_two_splits(clusters, seed):
    rng = np.random.default_rng(seed)
    of_row = np.concatenate([np.arange(clusters), rng.integers(0, clusters, 300)])
    of_row = np.repeat(of_row, 2)
    splits = cut(np.tile([0, 1], len(of_row) // 2), clusters=of_row, seed=seed)
    sets = [set(of_row[rows]) for rows in splits.values()]
    assert sum(map(len, sets)) == len(set.union(*sets)) == clusters


def test_clustered_splits_keep_class_shares_near_the_fraction():
    rng = np.random.default_rng(3)
    clusters, labels = rng.integers(0, 100, 4000), rng.integers(0, 5, 4000)
    splits = cut(labels, clusters=clusters, val=0.15, test=0.15)
    shares = np.bincount(labels[splits["val"]]) / np.bincount(labels)
    assert np.abs(shares - 0.15).max() < 0.04


@settings(deadline=None, max_examples=40)
@given(limit=st.integers(6, 90))
def test_a_limit_counts_train_and_val_together_and_keeps_every_class(limit):
    labels = np.arange(120) % 3
    full, limited = cut(labels), cut(labels, limit=limit)
    assert len(limited["train"]) + len(limited["val"]) == limit
    for name in ("train", "val"):
        assert set(limited[name]) <= set(full[name])
        counts = np.bincount(labels[limited[name]], minlength=3)
        assert counts.min() >= 1
        assert np.ptp(counts) <= 1


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8), data=st.data())
def test_class_counts_add_up_and_stay_in_bounds(sizes, data):
    sizes = np.array(sizes)
    total = data.draw(st.integers(len(sizes), int(sizes.sum())))
    counts = class_counts(sizes, total, sizes)
    assert counts.sum() == total
    assert (counts >= 1).all()
    assert (counts <= sizes).all()


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 0, 0, 1, 1], {}, r"class 'b' has 2 images to make train, val, test of; it needs"),
        ([0, 0, 0], {}, "the set has 1 class; a classifier needs at least two"),
        ([0, 1] * 20, {"limit": 3}, "data.limit 3 is too low: 2 classes need at least 4 images"),
        ([0, 1] * 20, {"clusters": [7] * 40}, "test can't be cut: all images are of one cluster"),
        (
            [0, 1] * 20,
            {"clusters": [0, 1] * 20},
            "would have no image of class '[ab]', which is in too few of the 2 clusters",
        ),
        (
            [0, 1] * 20,
            {"clusters": [5] * 40, "own": ["train"] * 20 + ["test"] * 20},
            "1 clusters are in both the set's own train and test split",
        ),
    ],
)
def test_a_set_that_can_not_be_cut_is_refused_in_one_line(labels, options, message):
    with pytest.raises(DataError, match=message) as caught:
        cut(labels, **options)
    assert "\n" not in str(caught.value)


def test_fractions_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ConfigError, match=r"val_fraction \+ data.test_fraction must be below 1"):
        cut([0, 1] * 20, val=0.6, test=0.4)
