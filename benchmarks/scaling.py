"""How busy workers are kept: 64 that only wait, and two on two cores against one with two threads.

    python benchmarks/scaling.py waiting
    python benchmarks/scaling.py cores

`waiting`: the search's own driver, proposer, strategy, ledger and mirror; each part of a trial is a sleep, in which
trials differ by half as much again. What the workers are short of is the driver's doing. `cores`: the quickstart in new folders, once
with `--workers 2` and once with one worker of two threads, for the same time; teacher and MLflow's tables are there.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
from made_up_search import STUDY, MadeUpTraining, Search, begin

from autokd.engine.database import begun_studies, ledger_url
from autokd.engine.executors import Work
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE
from autokd.records import TrialResult
from autokd.tracking.behind import Behind
from autokd.tracking.store import open_store
from autokd.tracking.write import Tracker

QUICKSTART = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
SPREAD = 0.5  # of the logarithm of an epoch's seconds


class Waiting:
    """Threads that sleep for as long as training would take, and then tell what MadeUpTraining tells."""

    in_process = False

    def __init__(self, workers: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(workers)
        self._free, self._seconds = workers, seconds
        self._running: set[Future[tuple[int, TrialResult]]] = set()
        self.slept: list[tuple[float, float]] = []  # from and until
        self.last_begun = 0.0  # when a worker got a new trial last

    @property
    def has_room(self) -> bool:
        return self._free > 0

    def submit(self, work: Work) -> None:
        self._free -= 1
        if work.before is None:
            self.last_begun = time.perf_counter()
        self._running.add(self._pool.submit(self._train, work))

    def next_result(self) -> tuple[int, TrialResult]:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        future = done.pop()
        self._running.remove(future)
        self._free += 1
        return future.result()

    def _train(self, work: Work) -> tuple[int, TrialResult]:
        training = MadeUpTraining()
        training.submit(work)
        number, result = training.next_result()
        before = len(work.before.history) if work.before else 0
        chance = np.random.default_rng(work.seed).lognormal(0, SPREAD)
        seconds = self._seconds * chance * (len(result.history) - before)
        start = time.perf_counter()
        time.sleep(seconds)
        self.slept.append((start, time.perf_counter()))
        return number, result

    def busy(self, start: float, end: float) -> float:
        """Seconds slept in that time, by all workers."""
        return sum(max(0.0, min(until, end) - max(since, start)) for since, until in self.slept)

    def close(self) -> None:
        self._pool.shutdown()


def waiting(workers: int, trials: int, seconds: float) -> None:
    """Measured until the last trial has begun: afterwards there is not enough to do for all."""
    with tempfile.TemporaryDirectory(prefix="autokd-scaling-") as place:
        folder = Path(place)
        search = Search(folder)
        ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}", STUDY)
        tracker = Tracker(open_store(None, folder))
        begin(tracker, search, 0)
        executor = Waiting(workers, seconds)
        with Behind(tracker) as behind:
            driver = search.driver(ledger, behind, new=trials, folder=folder)
            start = time.perf_counter()
            driver.run(executor)
            executor.close()
    elapsed = executor.last_begun - start
    share = executor.busy(start, executor.last_begun) / (workers * elapsed)
    print(
        f"{workers} workers, {trials} trials, {seconds:g} s an epoch on average or so: busy {share:.1%} of the "
        f"{elapsed:.0f} s until the last had begun"
    )
    spent = ", ".join(f"{name} {value:.1f}" for name, value in driver.watch.seconds.items())
    print(f"seconds of the driver: {spent}; of the thread that writes MLflow: {behind.seconds:.1f}")


def cores(minutes: float) -> None:
    """Epochs and trials that each has done in the same time, one after the other, twice in turn."""
    with tempfile.TemporaryDirectory(prefix="autokd-scaling-") as place:
        folder = Path(place)
        _search(folder / "first", workers=1, threads=1, limit="1s")  # trains the teacher
        done: dict[str, list[int]] = {"2 workers": [], "1 worker, 2 threads": []}
        for turn in range(2):
            for name, workers, threads in (("2 workers", 2, 1), ("1 worker, 2 threads", 1, 2)):
                own = folder / f"{turn}-{workers}"
                shutil.copytree(folder / "first" / CACHE / "teachers", own / CACHE / "teachers")
                ledger = _search(own, workers=workers, threads=threads, limit=f"{minutes:g}min")
                done[name].append(ledger.epochs)
    for name, epochs in done.items():
        print(f"{name}: {epochs} epochs in {minutes:g} min each")


def _search(folder: Path, *, workers: int, threads: int, limit: str) -> Ledger:
    folder.mkdir(exist_ok=True)
    command = [Path(sys.executable).parent / "autokd", "search", QUICKSTART]
    command += ["--workers", str(workers), "--trials", "1000", "--time", limit]
    subprocess.run(
        [*map(str, command)],
        cwd=folder,
        check=True,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    url = ledger_url(None, folder / CACHE)
    (study,) = begun_studies(url, "quickstart")
    return Ledger(url, study.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["waiting", "cores"])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10.0, help="of an epoch")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each search on the cores")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}")
    if options.what == "waiting":
        waiting(options.workers, options.trials, options.seconds)
    else:
        cores(options.minutes)


if __name__ == "__main__":
    main()
