"""A thread that writes a search's trials, so that the search does not wait for the store."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from autokd.records import TrialResult
from autokd.tracking.write import Tracker


class Behind:
    """Has the tracker to itself from `with` on to its end. Of two results of one trial that wait, the later is written."""

    seconds: float  # that went into writing

    def __init__(self, tracker: Tracker) -> None:
        self.seconds = 0.0
        self._tracker = tracker
        self._queue: dict[int, TrialResult] = {}
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
        for result in self._queue.values():
            self._tracker.hold(result)
        if error is None:
            self._raise_bug()

    def log_trial(self, result: TrialResult) -> None:
        """Returns at once."""
        self._raise_bug()
        with self._changed:
            self._queue.pop(result.number, None)
            self._queue[result.number] = result
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ended)
                if self._ended:
                    return
                result = self._queue.pop(next(iter(self._queue)))
            start = time.perf_counter()
            try:
                self._tracker.log_trial(result)
            except BaseException as bug:  # noqa: BLE001 - raised again where the search hears it
                self._bug = bug
                return
            self.seconds += time.perf_counter() - start

    def _raise_bug(self) -> None:
        if self._bug is not None:
            raise self._bug
