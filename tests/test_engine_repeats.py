"""Finished trials trained again from further seeds: each as often as asked, once each, whoever dies meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest
from fake_training import AtOnce, make_driver

from autokd.engine.deaths import MOST_DEATHS
from autokd.engine.ledger import Ledger
from autokd.engine.repeats import remeasure, train_again

FOLDER = Path("nowhere")


@pytest.fixture
def ledger(tmp_path):
    book = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "made-up")
    make_driver(book, trials=6, strategy="full").run(AtOnce())
    return book


def again(ledger, executor, numbers=(0, 2, 5), times=3):
    train_again(ledger, executor, numbers, times=times, seed=0, folder=FOLDER)
    return {n: ledger.entries[n].repeats for n in numbers}


@pytest.mark.parametrize("room", [1, 4])
def test_each_is_trained_as_often_as_asked_from_seeds_of_its_own(ledger, room):
    executor = AtOnce(room)
    repeats = again(ledger, executor)
    assert {n: len(each) for n, each in repeats.items()} == {0: 3, 2: 3, 5: 3}
    first = {entry.result.seed for entry in ledger.entries}
    seeds = [r.seed for each in repeats.values() for r in each]
    assert len({*seeds, *first}) == len(seeds) + len(first)
    assert len({work.folder for work in executor.done}) == 9
    for number, each in repeats.items():
        candidate = ledger.entries[number].proposal.candidate
        assert all(r.candidate == candidate for r in each)
        assert {r.state for r in each} == {"complete"}
        assert all(len(r.history) == candidate.epochs for r in each)


def test_repeats_change_nothing_of_the_search(ledger):
    before = [(e.number, e.results) for e in ledger.entries], ledger.epochs, list(ledger.ended)
    again(ledger, AtOnce())
    assert ([(e.number, e.results) for e in ledger.entries], ledger.epochs, ledger.ended) == before
    executor = AtOnce()
    assert make_driver(ledger, trials=6, strategy="full").run(executor) == "6 trials"
    assert executor.done == []


class Killed(BaseException):
    """What no handler of the product catches."""


def test_killed_in_the_middle_they_go_on_with_the_same_seeds(ledger, tmp_path):
    path = tmp_path / "other.db"
    whole = again(ledger, AtOnce())
    other = Ledger(f"sqlite:///{path}", "made-up")
    make_driver(other, trials=6, strategy="full").run(AtOnce())
    for _ in range(20):
        executor = AtOnce()
        train, left = executor.next_result, [2]

        def one_less(train=train, left=left):
            left[0] -= 1
            if not left[0]:
                raise Killed
            return train()

        executor.next_result = one_less
        try:
            again(Ledger(f"sqlite:///{path}", "made-up"), executor)
        except Killed:
            continue
        break
    found = Ledger(f"sqlite:///{path}", "made-up")
    assert {n: found.entries[n].repeats for n in whole} == whole


def test_more_seeds_come_on_top_of_those_that_are_there(ledger):
    few = again(ledger, AtOnce(), times=2)
    executor = AtOnce()
    more = again(ledger, executor, times=3)
    assert len(executor.done) == 3
    assert {n: each[:2] for n, each in more.items()} == few


def test_a_worker_that_dies_is_replaced_and_at_last_given_up(ledger):
    executor = AtOnce(dies=lambda work: work.number == 2)
    repeats = again(ledger, executor, times=1)
    assert len([work for work in executor.done if work.number == 2]) == MOST_DEATHS + 1
    (failed,) = repeats[2]
    assert (failed.state, failed.reason) == (
        "failed",
        f"its process died {MOST_DEATHS + 1} times: killed, or out of memory",
    )
    assert [len(each) for each in repeats.values()] == [1, 1, 1]
    assert remeasure(ledger.entries[2], {}) is None


def test_means_and_spreads_leave_the_chosen_training_out(ledger):
    again(ledger, AtOnce())
    entry = ledger.entries[2]
    tests = {repeat.seed: 0.5 + 0.1 * i for i, repeat in enumerate(entry.repeats)}
    found = remeasure(entry, tests)
    accuracies = [repeat.val["accuracy"] for repeat in entry.repeats]
    assert (found.seeds, found.val_mean, found.val_std) == (3, mean(accuracies), stdev(accuracies))
    assert found.shrink == entry.result.val["accuracy"] - mean(accuracies)
    assert (found.test_mean, found.test_std) == (pytest.approx(0.6), pytest.approx(0.1))


def test_one_further_seed_has_no_spread_and_a_failed_one_no_part(ledger):
    again(ledger, AtOnce(), times=1)
    entry = ledger.entries[0]
    failed = replace(entry.repeats[0], state="failed", val={})
    found = remeasure(replace(entry, repeats=(*entry.repeats, failed)), {})
    assert (found.seeds, found.val_std, found.test_mean, found.test_std) == (1, None, None, None)
