"""What somebody else sees of a search while it runs: `autokd status`."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from autokd.engine.database import read_status
from autokd.engine.ledger import Ledger
from autokd.engine.progress import Progress, Running

EVERY = 2.0  # seconds between two writings at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Of one search, as it was `age` seconds ago."""

    study: str
    age: float
    ended: str | None  # why; None: it runs, unless its driver was killed
    running: tuple[Running, ...]
    front: tuple[dict[str, Any], ...]  # number, student, val_accuracy, macs; most accurate first
    counts: dict[str, int]  # trials by state
    begun: int
    target: int
    epochs: int
    hypervolume: float
    seconds: float  # of this run of the driver
    seconds_left: float | None


class Board:
    """Where a driver writes its status."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._written = 0.0
        self._has_ended = "ended" in ledger.notes  # and is only looked at again, or goes on longer

    def write(self, progress: Progress, *, ended: str | None = None) -> None:
        if self._has_ended and not self._written and progress.latest is None:
            return  # the latest search is the one worked on last
        if ended is None and time.monotonic() - self._written < EVERY:
            return
        self._written = time.monotonic()
        record = {
            "ended": ended,
            "running": [asdict(each) for each in progress.running],
            "front": [
                {
                    "number": result.number,
                    "student": result.candidate.student.describe(),
                    "val_accuracy": result.val["accuracy"],
                    "macs": result.objective("macs"),
                }
                for result in progress.front
            ],
            "counts": progress.counts,
            "begun": progress.trained,
            "target": progress.target,
            "epochs": progress.epochs,
            "hypervolume": progress.hypervolume,
            "seconds": progress.seconds,
            "seconds_left": progress.seconds_left,
        }
        self._ledger.show(record)


def load_status(url: str, study: str | None) -> Status:
    """Of the named study, or of the one that was active last. Raises ConfigError where there is none."""
    name, at, record = read_status(url, study)
    running = tuple(Running(**each) for each in record.pop("running"))
    front = tuple(record.pop("front"))
    return Status(study=name, age=time.time() - at, running=running, front=front, **record)
