"""Trials that are written behind the search's back: all of them, in the end, and never twice at a time."""

from __future__ import annotations

import threading
import time

import pytest
from tracking_records import begin, make_result, trial_runs

from autokd.errors import TrackingError
from autokd.tracking.behind import Behind


class Slow:
    """A tracker whose store answers when it is let."""

    def __init__(self) -> None:
        self.let, self.busy = threading.Event(), threading.Event()
        self.written, self.held = [], []

    def log_trial(self, result):
        self.busy.set()
        assert self.let.wait(20)
        self.written.append((result.number, result.state))

    def hold(self, result):
        self.held.append(result.number)


def test_the_search_does_not_wait_and_nothing_is_lost():
    tracker = Slow()
    with Behind(tracker) as behind:
        for number in range(5):
            behind.log_trial(make_result(number))  # returns while the store does not answer
        assert tracker.busy.wait(20)
        assert tracker.written == []
        tracker.let.set()
    assert sorted([*dict(tracker.written), *tracker.held]) == [0, 1, 2, 3, 4]


def test_of_two_results_of_a_trial_that_wait_the_later_is_written():
    tracker = Slow()
    with Behind(tracker, settled=0.0) as behind:
        behind.log_trial(make_result(0))
        assert tracker.busy.wait(20)
        behind.log_trial(make_result(1, state="stopped"))
        behind.log_trial(make_result(2))
        behind.log_trial(make_result(1, state="complete"))
        tracker.let.set()
        while len(tracker.written) < 3:
            tracker.busy.wait(0.01)
    assert tracker.written == [(0, "complete"), (2, "complete"), (1, "complete")]


def test_a_paused_trial_is_written_when_it_has_not_gone_on_for_a_while():
    tracker = Slow()
    tracker.let.set()
    with Behind(tracker, settled=0.2) as behind:
        behind.log_trial(make_result(0, state="stopped"))
        behind.log_trial(make_result(1, state="stopped"))
        behind.log_trial(make_result(0, state="complete"))
        while len(tracker.written) < 2:
            time.sleep(0.01)
    assert tracker.written == [(0, "complete"), (1, "stopped")]


def test_a_paused_trial_that_has_not_settled_by_the_end_is_left_to_the_tracker():
    tracker = Slow()
    tracker.let.set()
    with Behind(tracker, settled=3600.0) as behind:
        behind.log_trial(make_result(0, state="stopped"))
        behind.log_trial(make_result(1))
        assert tracker.busy.wait(20)
    assert (dict(tracker.written), tracker.held) == ({1: "complete"}, [0])


def test_what_was_not_written_by_the_end_is_written_by_the_next_flush(store):
    tracker = begin(store)
    with Behind(tracker) as behind:
        for number in range(3):
            behind.log_trial(make_result(number))
    tracker.flush()
    assert sorted(trial_runs(store)) == [0, 1, 2]
    assert tracker.pending == 0


def test_a_bug_in_writing_is_heard_by_the_search():
    class Broken(Slow):
        def log_trial(self, result):
            raise ZeroDivisionError("a bug")

    def search():
        with Behind(Broken()) as behind:
            while True:
                behind.log_trial(make_result())

    with pytest.raises(ZeroDivisionError, match="a bug"):
        search()


def test_the_beginning_is_written_before_all_trials_however_soon_the_search_ends():
    tracker = Slow()
    tracker.let.set()
    with Behind(tracker, lambda: tracker.written.append("begun")) as behind:
        behind.log_trial(make_result(0))
    assert tracker.written[0] == "begun"
    with Behind(tracker, lambda: tracker.written.append("begun again")):
        pass
    assert tracker.written[-1] == "begun again"


def test_a_store_that_can_not_be_made_ends_the_search():
    def refuse():
        raise TrackingError("mlflow.db: no space left")

    with pytest.raises(TrackingError, match="no space left"), Behind(Slow(), refuse):
        pass


def test_an_interrupted_search_ends_after_the_trial_at_hand():
    tracker = Slow()

    def search():
        with Behind(tracker) as behind:
            for number in range(3):
                behind.log_trial(make_result(number))
            assert tracker.busy.wait(20)
            tracker.let.set()
            raise KeyboardInterrupt("Ctrl-C")

    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        search()
    assert sorted([*dict(tracker.written), *tracker.held]) == [0, 1, 2]
