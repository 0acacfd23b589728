"""Successive halving: ranks by definition, who goes on, and that nobody on a front is left behind."""

from __future__ import annotations

import numpy as np
import pytest
from engine_records import OBJECTIVES, TEACHER_INFO, entry_of, result_of
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.config import SearchConfig
from autokd.engine.halving import (
    at_rung,
    count_rungs,
    first_ranked,
    next_to_advance,
    rank,
    rung_epochs,
)
from autokd.engine.ledger import Proposal
from autokd.engine.scale import Scale
from autokd.engine.strategies import least_share
from autokd.pareto import is_on_front

SCALE = Scale(objectives=OBJECTIVES, teacher=TEACHER_INFO, classes=10)


def beats(a, b) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def brute_force_rank(points, feasible):
    """All places: fronts peeled off by definition, each in the order of a greedy farthest-point walk.

    Distances are rounded as by `rank`, so that ties are ties.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - low) / np.where(high > low, high - low, 1)
    order = []
    for wanted in (True, False):
        left = [i for i in range(len(points)) if feasible[i] == wanted]
        while left:
            front = [i for i in left if not any(beats(points[j], points[i]) for j in left)]
            walk = [min(front, key=lambda i: (*scaled[i], i))]
            while len(walk) < len(front):
                rest = [i for i in front if i not in walk]
                walk.append(
                    max(
                        rest,
                        key=lambda i: (
                            np.linalg.norm(scaled[walk] - scaled[i], axis=1).min(),
                            -i,
                        ),
                    )
                )
            order += walk
            left = [i for i in left if i not in front]
    return order


coordinate = st.integers(0, 6).map(lambda n: n / 6)
cloud = st.integers(2, 3).flatmap(
    lambda m: st.lists(
        st.tuples(st.tuples(*[coordinate] * m), st.booleans()), min_size=1, max_size=14
    )
)


@given(cloud)
@settings(deadline=None, max_examples=200)
def test_ranks_are_those_of_the_definition(cloud):
    points = np.array([point for point, _ in cloud])
    feasible = np.array([fits for _, fits in cloud])
    assert rank(points, feasible, len(points)) == brute_force_rank(points, feasible)


@given(cloud, st.integers(0, 14))
@settings(deadline=None, max_examples=100)
def test_the_best_few_are_the_beginning_of_all_and_hold_the_feasible_front(cloud, most):
    points = np.array([point for point, _ in cloud])
    feasible = np.array([fits for _, fits in cloud])
    whole, best = rank(points, feasible, len(points)), rank(points, feasible, most)
    assert best == whole[: len(best)]
    assert len(best) >= min(most, len(points))
    front = np.flatnonzero(feasible)[is_on_front(points[feasible])] if feasible.any() else []
    assert {*map(int, front)} <= {*best}


@given(cloud, st.integers(0, 14), st.data())
@settings(deadline=None, max_examples=100)
def test_the_first_of_those_wanted_is_the_first_in_the_whole_order(cloud, most, data):
    points = np.array([point for point, _ in cloud])
    feasible = np.array([fits for _, fits in cloud])
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=len(cloud), max_size=len(cloud))))
    best = rank(points, feasible, most)
    first = next((place for place in best if wanted[place]), None)
    assert first_ranked(points, feasible, most, wanted) == first


@pytest.mark.parametrize(
    ("epochs", "most", "reduction", "expected"),
    [
        (12, 3, 3, (1, 4, 12)),
        (6, 3, 3, (2, 6)),
        (3, 3, 3, (1, 3)),
        (2, 3, 3, (2,)),
        (1, 3, 3, (1,)),
        (27, 4, 3, (1, 3, 9, 27)),
        (100, 3, 3, (11, 33, 100)),
        (16, 3, 4, (1, 4, 16)),
    ],
)
def test_rungs_are_shares_of_the_epochs_and_the_last_is_the_end(epochs, most, reduction, expected):
    rungs = count_rungs(epochs, most=most, reduction=reduction)
    assert rung_epochs(epochs, rungs=rungs, reduction=reduction) == expected


def paused(number: int, *accuracies: float, width: int = 8, ends: str = "stopped", **changes):
    """A trial with a result at each rung."""
    results = [
        result_of(number, width=width, accuracy=a, state="stopped", **changes) for a in accuracies
    ]
    results[-1] = result_of(number, width=width, accuracy=accuracies[-1], state=ends, **changes)
    candidate = results[0].candidate
    return entry_of(Proposal(candidate=candidate, params={}), number, *results)


def advance(entries, busy=(), *, rungs=3, reduction=3.0):
    return next_to_advance(entries, busy, rungs=rungs, reduction=reduction, scale=SCALE)


def test_a_trial_is_on_the_rungs_that_it_reached_and_after_an_early_end_on_all():
    two = paused(0, 0.5, 0.6)
    assert at_rung(two, 0).val["accuracy"] == 0.5
    assert at_rung(two, 1).val["accuracy"] == 0.6
    assert at_rung(two, 2) is None
    early = paused(0, 0.5, 0.6, ends="complete")
    assert at_rung(early, 2) == early.results[1]
    failed = paused(0, 0.5, 0.6, ends="failed")
    assert at_rung(failed, 0).val["accuracy"] == 0.5
    assert at_rung(failed, 1) is None
    assert at_rung(entry_of(two.proposal, 0), 0) is None


def test_the_best_third_goes_on_and_no_more():
    same_cost = [paused(n, 0.3 + n / 100) for n in range(9)]
    gone = []
    entries = list(same_cost)
    while entry := advance(entries):
        gone.append(entry.number)
        accuracy = entry.results[0].val["accuracy"]
        entries[entry.number] = paused(entry.number, accuracy, accuracy, ends="complete")
    assert gone == [8, 7, 6]


def test_who_is_trained_already_is_not_chosen():
    entries = [paused(n, 0.3 + n / 100) for n in range(9)]
    assert advance(entries).number == 8
    assert advance(entries, busy={8}).number == 7
    assert advance(entries, busy={6, 7, 8}) is None


def test_the_highest_rung_is_served_first():
    entries = [paused(0, 0.5), paused(1, 0.4, 0.5), paused(2, 0.3)]
    assert advance(entries).number == 1


def test_an_infeasible_trial_goes_on_only_within_the_quota():
    over = {"excess": {"gap_growth": 0.1}}
    assert advance([paused(0, 0.9, **over)]) is None
    entries = [paused(0, 0.9, **over), *[paused(n, 0.3, width=8 * n) for n in (1, 2)]]
    assert advance(entries).number == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_newcomer_on_its_rungs_front_always_goes_on(seed):
    rng = np.random.default_rng(seed)
    entries = []
    fronts = 0
    for number in range(60):
        width = int(rng.integers(1, 13)) * 8
        entries.append(paused(number, float(rng.uniform(0.2, 0.9)), width=width))
        at_first = [at_rung(entry, 0) for entry in entries]
        on_front = bool(is_on_front(SCALE.points(at_first))[number])
        moved = set()
        while entry := advance(entries, rungs=2):
            moved.add(entry.number)
            accuracy = entry.results[0].val["accuracy"]
            entries[entry.number] = paused(
                entry.number,
                accuracy,
                accuracy,
                width=entry.proposal.candidate.student.arguments["width"],
                ends="complete",
            )
        fronts += on_front
        if on_front:
            assert number in moved
        far = [
            each
            for each in moved
            if sum(
                beats(p, SCALE.points([at_first[each]])[0]) for p in SCALE.points(at_first)
            ) > len(entries) / 3
        ]  # fmt: skip
        assert far == [], "beaten by more than a third of its rung"
    assert fronts > 5


@pytest.mark.parametrize(
    ("strategy", "share"),
    [
        ("halving", (1 + 2 / 3 + 6 / 9) / 9),  # pauses at 1, 3 and 9; a third goes on at each
        ("one-epoch", (1 + 8 / 9) / 9),  # one of nine is trained to its end
        ("full", 1.0),
        ("random", 1.0),
    ],
)
def test_the_share_of_epochs_that_is_trained_at_least(strategy, share):
    assert least_share(SearchConfig(strategy=strategy), epochs=9) == pytest.approx(share)
