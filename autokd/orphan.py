"""Processes that end with the one that began them, however that one ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

EVERY = 1.0  # seconds between two looks at who the parent is


def end_with_parent() -> None:
    """From now on this process, begun by multiprocessing, ends as soon as the one that asked for it has."""
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def end_when_orphaned() -> None:
    """Likewise without a thread, which what is forked from this process would miss: a timer, which forks do not inherit."""
    parent = os.getppid()

    def look(_signal: int, _frame: object) -> None:
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
