"""Finished students trained again from further seeds: what is left of an accuracy that was chosen among many."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from autokd.engine.driver import DIED, MOST_DEATHS
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
    busy: set[int] = set()
    while True:
        while executor.has_room and (entry := _next(ledger, numbers, busy, times)):
            busy.add(entry.number)
            executor.submit(_work(entry, seed=seed, folder=folder))
        if not busy:
            return
        number, result = executor.next_result()
        busy.remove(number)
        if result is None:
            entry = ledger.died(number)
            if entry.deaths <= MOST_DEATHS:
                continue
            assert entry.result is not None
            result = replace(
                entry.result,
                seed=_work(entry, seed=seed, folder=folder).seed,
                state="failed",
                reason=DIED.format(entry.deaths),
            )
        entry = ledger.repeat(result)
        log.info("%s", _describe(entry, times))


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
    )


def _describe(entry: Entry, times: int) -> str:
    latest: TrialResult = entry.repeats[-1]
    assert entry.result is not None
    head = f"trial {entry.number} again, {len(entry.repeats)} of {times}"
    if latest.state != "complete":
        return f"{head}: {latest.state}: {latest.reason}"
    return f"{head}: val {latest.val['accuracy']:.2%}, was {entry.result.val['accuracy']:.2%}"
