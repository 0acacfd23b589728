"""Worker processes of this machine: how they start, what they are told, and that none outlives its driver.

On Linux without a GPU they are forked from a server that has imported what they need, once for all of them and while the
driver still imports for itself. It has computed nothing, so that no thread of torch's or of CUDA's is missing in its children.
Elsewhere each starts afresh.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.context import BaseContext
from pathlib import Path

from autokd.orphan import end_with_parent

# A trial and its report. What a latency needs takes seconds more, and most searches measure none while they train.
NEEDED = ("autokd.engine.executors", "autokd.fairness.page", "matplotlib.backends.backend_svg")
OOM_SCORE = Path("/proc/self/oom_score_adj")  # of Linux: a thousand is all memory
SERVER = "autokd.fork_server"  # before them: imports take seconds, in which a driver may be killed


def import_ahead() -> None:
    """Let workers' imports begin, in a process of their own; returns at once."""
    if sys.platform == "linux":
        from multiprocessing import forkserver  # which not every system has

        multiprocessing.get_context("forkserver").set_forkserver_preload([SERVER, *NEEDED])
        with undisturbed_start():
            forkserver.ensure_running()


def new_pool(start: Callable[..., None], *arguments: object, gpu: bool) -> ProcessPoolExecutor:
    """Of one process, which calls `start` before its first work; it begins with its first work."""
    return ProcessPoolExecutor(
        1,
        mp_context=_context(gpu),
        initializer=_start,
        initargs=(dict(os.environ), start, arguments),
    )


def end(pool: ProcessPoolExecutor) -> None:
    """Whatever it does."""
    for process in list((pool._processes or {}).values()):
        process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def undisturbed_start() -> Iterator[None]:
    """Processes that are started meanwhile need nothing of the caller's.

    They don't run its script again, which a script without `if __name__ == "__main__"` would not survive;
    and they never hear Ctrl-C, not even while they import: that is the driver's to handle.
    """
    main = vars(sys.modules["__main__"])
    own: dict[str, object] = {name: main[name] for name in ("__spec__", "__file__") if name in main}
    in_main_thread = threading.current_thread() is threading.main_thread()  # it alone hears Ctrl-C
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    try:
        main.update(__spec__=None, __file__=None)
        yield
    finally:
        del main["__spec__"], main["__file__"]
        main.update(own)  # a notebook has no __file__, and Ray no use for one that is None
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)


def _context(gpu: bool) -> BaseContext:
    if gpu or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    import_ahead()  # nothing where it has begun
    return multiprocessing.get_context("forkserver")


def _start(
    environment: Mapping[str, str], start: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a server that the caller had already
    with suppress(OSError):  # where memory is used up, a worker is to end, and not its driver
        OOM_SCORE.write_text("500")
    os.environ.update(environment)  # as it is now, not as it was when the server began
    end_with_parent()  # a killed driver leaves nobody who trains on in the folders that the next one uses
    start(*arguments)
