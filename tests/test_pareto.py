"""Fronts and hypervolumes by their laws, against Monte Carlo and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autokd.pareto import hypervolume, hypervolume_gains, is_on_distinct_front, is_on_front

# Few distinct values, so that ties and dominated points come up often.
coordinates = st.integers(0, 6).map(float) | st.floats(0, 6)


@st.composite
def point_sets(draw, most: int = 9) -> np.ndarray:
    objectives = draw(st.integers(1, 3))
    rows = draw(st.lists(st.tuples(*[coordinates] * objectives), min_size=1, max_size=most))
    return np.array(rows, dtype=np.float64)


def beats(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a <= b).all() and (a < b).any())


@given(point_sets(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_the_order_of_points_does_not_matter(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    assert np.array_equal(is_on_front(points[order]), is_on_front(points)[order])
    reference = [7.0] * points.shape[1]
    assert hypervolume(points[order], reference) == pytest.approx(hypervolume(points, reference))


@given(point_sets())
@settings(deadline=None, max_examples=50)
def test_every_point_off_the_front_is_beaten_by_one_on_it(points):
    on_front = is_on_front(points)
    assert on_front.any()
    for point in points[~on_front]:
        assert any(beats(member, point) for member in points[on_front])
    for member in points[on_front]:
        assert not any(beats(point, member) for point in points)


@given(point_sets(), st.data())
@settings(deadline=None, max_examples=50)
def test_a_dominated_point_changes_nothing(points, data):
    row = data.draw(st.integers(0, len(points) - 1))
    more = data.draw(st.lists(st.floats(0, 3), min_size=points.shape[1], max_size=points.shape[1]))
    worse = points[row] + more
    assume(beats(points[row], worse))
    longer = np.vstack([points, worse])
    reference = [7.0] * points.shape[1]
    assert np.array_equal(is_on_front(longer), [*is_on_front(points), False])
    assert hypervolume(longer, reference) == pytest.approx(hypervolume(points, reference))


@given(point_sets(), st.data())
@settings(deadline=None, max_examples=50)
def test_a_further_point_never_makes_the_hypervolume_smaller(points, data):
    reference = [7.0] * points.shape[1]
    extra = data.draw(st.tuples(*[st.floats(0, 9)] * points.shape[1]))
    grown = hypervolume(np.vstack([points, extra]), reference)
    assert grown >= hypervolume(points, reference) - 1e-9
    assert grown <= 7.0 ** points.shape[1] + 1e-9


@given(point_sets(), st.data())
@settings(deadline=None, max_examples=100)
def test_what_points_add_is_what_the_hypervolume_grows_by_with_each(front, data):
    reference = [5.0] * front.shape[1]  # some lie beyond it
    rows = st.tuples(*[coordinates] * front.shape[1])
    points = np.array(data.draw(st.lists(rows, min_size=1, max_size=5)))
    for known in (front, front[:0]):
        base = hypervolume(known, reference)
        grown = [hypervolume(np.vstack([known, point]), reference) - base for point in points]
        assert hypervolume_gains(points, known, reference) == pytest.approx(grown, abs=1e-9)


@given(point_sets(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_the_hypervolume_matches_a_monte_carlo_estimate(points, seed):
    draws = 7 * np.random.default_rng(seed).random((4000, points.shape[1]))
    share = (points[None] <= draws[:, None]).all(axis=2).any(axis=1).mean()
    estimate = share * 7 ** points.shape[1]
    error = 7 ** points.shape[1] * np.sqrt(max(share * (1 - share), 1e-4) / 4000)
    assert hypervolume(points, [7.0] * points.shape[1]) == pytest.approx(estimate, abs=6 * error)


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([[0.25], [0.5]], [1], 0.75),
        ([[1, 2], [2, 1]], [3, 3], 3),
        ([[1, 2], [2, 1], [1, 2], [2, 2]], [3, 3], 3),
        ([[0, 0, 0]], [1, 2, 3], 6),
        ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [2, 2, 2], 4),
        ([[1, 1]], [1, 5], 0),  # on the border: nothing lies below it
        ([[4, 0]], [3, 3], 0),  # worse than the reference in one objective
    ],
)
def test_the_hypervolume_of_a_few_points_is_what_it_is_by_hand(points, reference, volume):
    assert hypervolume(np.array(points, dtype=float), reference) == pytest.approx(volume)


def test_no_points_have_no_front_and_no_volume():
    empty = np.empty((0, 2))
    assert is_on_front(empty).tolist() == []
    assert hypervolume(empty, [1.0, 1.0]) == 0


def test_equal_points_share_the_front():
    points = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])
    assert is_on_front(points).tolist() == [True, True, True]


def test_a_point_with_nan_is_on_no_front_and_beats_nothing():
    points = np.array([[np.nan, 0.0], [1.0, 1.0], [0.0, np.nan]])
    assert is_on_front(points).tolist() == [False, True, False]
    assert hypervolume(points, [2.0, 2.0]) == 1


def test_of_equal_points_the_distinct_front_keeps_the_first():
    points = np.array([[0.5, 0.5], [0.2, 0.8], [0.5, 0.5], [0.9, 0.9]])
    assert is_on_distinct_front(points).tolist() == [True, True, False, False]
    assert is_on_front(points).tolist() == [True, True, True, False]
