"""A thread that writes a search's trials, so that the search does not wait for the store."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from types import TracebackType

from autokd.records import TrialResult
from autokd.tracking.write import Tracker

SETTLED = 20.0  # seconds after which a paused trial is written: many go on sooner, and are written once then


class Behind:
    """Has the tracker to itself from `with` on to its end. Of two results of one trial that wait, the later is written."""

    seconds: float  # that went into writing

    def __init__(
        self,
        tracker: Tracker,
        begin: Callable[[], None] = lambda: None,
        *,
        settled: float = SETTLED,
    ) -> None:
        self.seconds = 0.0
        self._settled = settled
        self._begin = begin  # done before any trial is written
        self._tracker = tracker
        self._queue: dict[int, tuple[float, TrialResult]] = {}  # with when each is due
        self._changed = threading.Condition()
        self._ended = False
        self._bug: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="autokd-mlflow", daemon=True)

    def __enter__(self) -> Behind:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finishes the trial at hand; what is left waits in the tracker."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()
        for _, result in self._queue.values():
            self._tracker.hold(result)
        if error is None:
            self._raise_bug()

    def log_trial(self, result: TrialResult) -> None:
        """Returns at once."""
        self._raise_bug()
        due = time.monotonic() + (self._settled if result.state == "stopped" else 0.0)
        with self._changed:
            self._queue[result.number] = due, result
            self._changed.notify()

    def _run(self) -> None:
        try:
            self._begin()
            while (result := self._next()) is not None:
                start = time.perf_counter()
                self._tracker.log_trial(result)
                self.seconds += time.perf_counter() - start
        except BaseException as bug:  # noqa: BLE001 - raised again where the search hears it
            self._bug = bug

    def _next(self) -> TrialResult | None:
        """What has been due longest, as soon as there is something; None: the search has ended."""
        with self._changed:
            while not self._ended:
                due, number = min(
                    ((due, number) for number, (due, _) in self._queue.items()),
                    default=(math.inf, -1),
                )
                left = due - time.monotonic()
                if left <= 0:
                    return self._queue.pop(number)[1]
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            return None

    def _raise_bug(self) -> None:
        if self._bug is not None:
            raise self._bug
