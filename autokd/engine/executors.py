"""Where trials run: in this process, or in a pool of processes of this machine. Workers only evaluate."""

from __future__ import annotations

import functools
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from autokd.config import Config
from autokd.engine.deaths import Died, describe_exit
from autokd.engine.processes import end, new_pool, undisturbed_start
from autokd.errors import DataError
from autokd.records import Candidate, Cost, TrialResult
from autokd.shared import Shared
from autokd.task import Task, choose_device, create_task
from autokd.trial import run_trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One part of one trial."""

    candidate: Candidate
    number: int
    seed: int
    folder: Path  # relative to the worker's cache where that is not the driver's
    control: str | None
    cost: Cost | None  # what follows from the student's shapes
    until: int | None  # epochs of the trial's own after which it pauses; None: its end
    before: TrialResult | None  # what its last pause came to
    apart: bool = False  # a process has died with it: it may not end the driver's


class Executor(Protocol):
    """Takes work while it has room, and gives results in the order in which they come."""

    in_process: bool  # a part that ends its process ends the driver, unless it is apart

    @property
    def has_room(self) -> bool: ...

    def submit(self, work: Work) -> None: ...

    def next_result(self) -> tuple[int, TrialResult | Died]:
        """Waits for one piece of the submitted work: the trial's number, and its result or how its worker died."""

    def close(self) -> None:
        """Drops what is not done."""


class InProcess:
    """One trial at a time, here; work that is to be apart, in a process of its own."""

    in_process = True

    def __init__(self, task: Task, new_pool: Callable[[], ProcessPool]) -> None:
        """`new_pool`: of one worker with as many threads as here, for the same bits."""
        self._task = task
        self._new_pool = new_pool
        self._work: Work | None = None

    @property
    def has_room(self) -> bool:
        return self._work is None

    def submit(self, work: Work) -> None:
        self._work = work

    def next_result(self) -> tuple[int, TrialResult | Died]:
        assert self._work is not None
        work, self._work = self._work, None
        if work.apart:
            with closing(self._new_pool()) as pool:
                pool.submit(work)
                return pool.next_result()
        return work.number, evaluate(work, self._task)

    def close(self) -> None:
        self._work = None


class ProcessPool:
    """Several trials at a time, each in a process of its own with its share of the threads.

    A pool of one process for each: one that dies takes no other's work with it.
    """

    in_process = False

    def __init__(
        self,
        workers: int,
        config: Config,
        *,
        cache: Path,
        device: str | None,
        hashes: tuple[str, str] | None = None,
        threads: int | None = None,
    ) -> None:
        """`hashes` are those of the driver's task: a worker that finds others ends the search.

        `threads` of each; None: its share of this machine's.
        """
        threads = threads or share_threads(workers)
        self._gpu = choose_device(device).type != "cpu"
        self._task_arguments = (config, cache, device, threads, hashes)
        self._idle = [self._new_pool() for _ in range(workers)]
        self._running: dict[Future[TrialResult], tuple[Work, ProcessPoolExecutor, BaseProcess]] = {}

    @property
    def has_room(self) -> bool:
        return bool(self._idle)

    def submit(self, work: Work) -> None:
        pool = self._idle.pop()
        with undisturbed_start():
            try:
                future = pool.submit(_evaluate_here, work)
            except BrokenProcessPool:  # it died while it had nothing to do
                end(pool)
                pool = self._new_pool()
                future = pool.submit(_evaluate_here, work)
        (process,) = pool._processes.values()  # the pool forgets it when it has died
        self._running[future] = (work, pool, process)

    def next_result(self) -> tuple[int, TrialResult | Died]:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        future = done.pop()
        work, pool, process = self._running.pop(future)
        try:
            result = future.result()
        except BrokenProcessPool:
            end(pool)
            self._idle.append(self._new_pool())
            return work.number, Died(describe_exit(process.exitcode))
        self._idle.append(pool)
        return work.number, result

    def close(self) -> None:
        for pool in [*self._idle, *(pool for _, pool, _ in self._running.values())]:
            end(pool)

    def _new_pool(self) -> ProcessPoolExecutor:
        return new_pool(_start_worker, *self._task_arguments, gpu=self._gpu)


_worker_task: Callable[[], Task] | None = None  # a worker process serves one search


def _start_worker(
    config: Config,
    cache: Path,
    device: str | None,
    threads: int,
    hashes: tuple[str, str] | None,
) -> None:
    global _worker_task
    # torch.export's progress bar would make a semaphore, which a process that is ended leaves behind
    tqdm.set_lock(threading.RLock())

    @functools.cache
    def task_with_first_work() -> Task:  # what is wrong now has no message, and breaks the pool
        task = load_task(config, cache=cache, device=device, threads=threads)
        refuse_another(task, hashes)
        return task

    _worker_task = task_with_first_work


def share_threads(workers: int) -> int:
    """How many each of so many workers on this machine trains with."""
    return max(1, (os.cpu_count() or 1) // workers)


def load_task(config: Config, *, cache: Path, device: str | None, threads: int) -> Task:
    """A worker's own: it finds the teacher that the driver has loaded or trained."""
    shared = Shared(config.search.shared, cache)
    return create_task(config, cache=cache, shared=shared, device=device, threads=threads)


def refuse_another(task: Task, hashes: tuple[str, str] | None) -> None:
    """Raises DataError where a worker's images and teacher are not the driver's, whose `hashes` these are."""
    if hashes and task.hashes != hashes:
        raise DataError(
            f"node {socket.gethostname()}: a worker's images and teacher are not the driver's "
            f"({', '.join(task.hashes)}, there {', '.join(hashes)}); give all nodes the same, and edit neither "
            "the images nor a teacher's code while a search runs"
        )


def _evaluate_here(work: Work) -> TrialResult:
    assert _worker_task is not None
    return evaluate(work, _worker_task())


def evaluate(work: Work, task: Task) -> TrialResult:
    """What every worker does, wherever it is."""
    folder = task.cache / work.folder
    if work.before:
        task.shared.fetch_folder(folder, state=folder_state(work.before))
    result = run_trial(
        work.candidate,
        task,
        number=work.number,
        seed=work.seed,
        folder=folder,
        control=work.control,
        cost=work.cost,
        until=work.until,
        before=work.before,
    )
    task.shared.publish_folder(folder, state=folder_state(result))
    return replace(result, folder=str(folder))


def at_hand(result: TrialResult, task: Task) -> TrialResult:
    """A finished trial with its folder on this machine, also where another one has driven the search until now."""
    assert result.folder is not None
    if not Path(result.folder).is_dir():
        task.shared.fetch_folder(Path(result.folder), state=folder_state(result))
    return result


def folder_state(result: TrialResult) -> str:
    """What a trial's folder is kept under where workers share it: one name for each pause, and for its end."""
    return f"{len(result.history)}-{result.state}"
