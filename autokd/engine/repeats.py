"""Finished students trained again from further seeds: what is left of an accuracy that was chosen among many."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev

from autokd.engine.deaths import MOST_DEATHS, OWN, Died, given_up
from autokd.engine.executors import Executor, Work
from autokd.engine.ledger import Entry, Ledger
from autokd.records import Remeasured, TrialResult
from autokd.trial import trial_seed

log = logging.getLogger(__name__)


def train_again(
    ledger: Ledger,
    executor: Executor,
    numbers: Sequence[int],
    *,
    times: int,
    seed: int,
    folder: Path,
) -> None:
    """Until each of these trials has so many repeats, those of an earlier run counted. `seed` is the search's."""
    work = partial(_work, seed=seed, folder=folder)
    for number in numbers:
        if ledger.entries[number].under_way:  # an earlier run ended with it
            _bury(ledger, number, OWN, work)
    busy: set[int] = set()
    try:
        while True:
            while executor.has_room and (entry := _next(ledger, numbers, busy, times)):
                busy.add(entry.number)
                if executor.in_process and not entry.deaths:
                    ledger.begin(entry.number)
                executor.submit(work(entry))
            if not busy:
                return
            number, result = executor.next_result()
            busy.remove(number)
            if isinstance(result, Died):
                _bury(ledger, number, result.how, work)
            else:
                log.info("%s", _describe(ledger.repeat(result), times))
    finally:
        ledger.leave(busy)


def _bury(ledger: Ledger, number: int, how: str, work: Callable[[Entry], Work]) -> None:
    """A process died with this training, which is tried again unless that has happened too often."""
    entry = ledger.died(number, how)
    log.warning("trial %d again: its process died: %s", number, how)
    if entry.deaths > MOST_DEATHS:
        assert entry.result is not None
        ledger.repeat(given_up(replace(entry.result, seed=work(entry).seed), entry.died))


def remeasure(entry: Entry, test_accuracy: Mapping[int, float]) -> Remeasured | None:
    """Over all repeats that were trained to their end; `test_accuracy` by seed, where there is one. None: there are none."""
    assert entry.result is not None
    done = entry.finished_repeats
    if not done:
        return None
    val = [repeat.val["accuracy"] for repeat in done]
    test = [test_accuracy[repeat.seed] for repeat in done if repeat.seed in test_accuracy]
    return Remeasured(
        seeds=len(done),
        val_mean=mean(val),
        val_std=stdev(val) if len(val) > 1 else None,
        test_mean=mean(test) if test else None,
        test_std=stdev(test) if len(test) > 1 else None,
        shrink=entry.result.val["accuracy"] - mean(val),
    )


def _next(ledger: Ledger, numbers: Sequence[int], busy: set[int], times: int) -> Entry | None:
    """Whoever has the fewest; one training of a trial at a time."""
    free = [ledger.entries[number] for number in numbers if number not in busy]
    short = [entry for entry in free if len(entry.repeats) < times]
    return min(short, key=lambda entry: len(entry.repeats), default=None)


def _work(entry: Entry, *, seed: int, folder: Path) -> Work:
    assert entry.result is not None
    repeat = len(entry.repeats) + 1
    return Work(
        candidate=entry.proposal.candidate,
        number=entry.number,
        seed=trial_seed(seed, entry.number, repeat=repeat),
        folder=folder / f"{entry.number:04d}" / f"repeat_{repeat}",
        control=entry.proposal.control,
        cost=entry.result.cost,
        until=None,
        before=None,
        apart=entry.deaths > 0,
    )


def _describe(entry: Entry, times: int) -> str:
    latest: TrialResult = entry.repeats[-1]
    assert entry.result is not None
    head = f"trial {entry.number} again, {len(entry.repeats)} of {times}"
    if latest.state != "complete":
        return f"{head}: {latest.state}: {latest.reason}"
    return f"{head}: val {latest.val['accuracy']:.2%}, was {entry.result.val['accuracy']:.2%}"
