"""Where time goes: every second counts once, for the innermost activity."""

from __future__ import annotations

import pytest

from autokd.stopwatch import Stopwatch


class Clock:
    """Is where it is put."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_an_activity_within_another_interrupts_it(clock):
    watch = Stopwatch(clock=clock)
    with watch("train"):
        clock.now += 3
        with watch("evaluate"):
            clock.now += 5
        clock.now += 1
    clock.now += 50  # nobody's
    with watch("train"):
        clock.now += 2
    assert watch.seconds == {"train": 6, "evaluate": 5}


def test_a_watch_goes_on_from_an_earlier_one_and_leaves_that_alone(clock):
    before = {"train": 4.0}
    watch = Stopwatch(before, clock=clock)
    with watch("train"):
        clock.now += 1
    assert watch.seconds == {"train": 5.0}
    assert before == {"train": 4.0}


def test_what_ends_in_an_error_is_counted(clock):
    watch = Stopwatch(clock=clock)

    def diverge():
        with watch("train"):
            clock.now += 7
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        diverge()
    with watch("audit"):
        clock.now += 1
    assert watch.seconds == {"train": 7, "audit": 1}


def test_what_counts_of_each_item_is_the_time_until_it_is_there(clock):
    watch = Stopwatch(clock=clock)

    def slowly():
        for number in range(3):
            clock.now += 2
            yield number
        clock.now += 1  # until it is known that there are no more

    with watch("train"):
        for number in watch.each("load", slowly()):
            clock.now += 10 + number
    assert watch.seconds == {"train": 33, "load": 7}
