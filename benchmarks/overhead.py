"""What a driver costs beside the training: seconds a trial with 0, 1,000 and 10,000 trials recorded, and its memory.

    python benchmarks/overhead.py

Proposer, strategy, ledger (SQLite) and mirror (MLflow on SQLite) are the search's own, and so are the exact costs of
students; only training is made up and takes no time. The mirror is waited for here; a search writes it in a thread of its
own. `--profile` shows where the time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import multiprocessing
import pstats
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from made_up_search import OBJECTIVES, STUDY, MadeUpTraining, Search, begin, recorded

from autokd.engine.driver import Driver
from autokd.engine.ledger import Entry, Ledger
from autokd.engine.progress import find_front
from autokd.engine.proposer import Proposer
from autokd.engine.status import Board
from autokd.records import TrialResult
from autokd.tracking import trial_run
from autokd.tracking.store import Store, open_store
from autokd.tracking.write import Tracker


def fill_ledger(search: Search, path: Path, count: int) -> None:
    """On a file system in memory where there is one: 10,000 trials are 25,000 commits."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        ledger = Ledger(f"sqlite:///{place}/ledger.db", STUDY)
        for proposal, results in recorded(search, count):
            ledger.add(proposal)
            for result in results:
                ledger.record(result)
        ledger.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"{place}/ledger.db", path)


def fill_store(tracker: Tracker, folder: Path, entries: Sequence[Entry]) -> None:
    """The rows that the tracker would write, but for the first one in one transaction."""
    latest = [entry.result for entry in entries if entry.result]
    if not latest:
        return
    tracker.log_trial(latest[0])
    with sqlite3.connect(folder / "mlflow.db") as database:
        runs = database.execute("SELECT * FROM runs WHERE name = 'trial-0000'")
        columns = [column[0] for column in runs.description]
        (first,) = runs.fetchall()
        row = dict(zip(columns, first, strict=True))
        common = database.execute(
            "SELECT key, value FROM tags WHERE run_uuid = ? AND key IN"
            " ('mlflow.parentRunId', 'autokd.study', 'mlflow.user')",
            (row["run_uuid"],),
        ).fetchall()
        front = {each.number for each in find_front(latest, OBJECTIVES)}
        for result in latest[1:]:
            _insert_run(database, row, dict(common), result, on_front=result.number in front)


def _insert_run(
    database: sqlite3.Connection,
    row: dict[str, Any],
    common: dict[str, str],
    result: TrialResult,
    *,
    on_front: bool,
) -> None:
    run, name, now = uuid4().hex, result.name, row["start_time"]
    own = row | {
        "run_uuid": run,
        "name": name,
        "status": trial_run.STATUS[result.state],
        "artifact_uri": row["artifact_uri"].replace(row["run_uuid"], run),
    }
    tags = common | trial_run.trial_tags(result, on_front=on_front) | {"mlflow.runName": name}
    tags[trial_run.RECORD_TAG] = trial_run.record_hash(result)
    points = trial_run.trial_points(result)
    latest = {point.key: point for point in points}

    def insert(table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * (columns.count(",") + 1))
        database.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

    insert("runs", ", ".join(own), [tuple(own.values())])
    insert("tags", "key, value, run_uuid", [(*pair, run) for pair in tags.items()])
    params = trial_run.trial_params(result).items()
    insert("params", "key, value, run_uuid", [(*pair, run) for pair in params])
    columns = "key, value, timestamp, step, is_nan, run_uuid"
    for table, some in (("metrics", points), ("latest_metrics", list(latest.values()))):
        rows = [(p.key, p.value, now + int(1000 * p.seconds), p.step, 0, run) for p in some]
        insert(table, columns, rows)


class Watch:
    """Seconds spent in functions of the search, call by call."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def on(self, owner: type, method: str, activity: str) -> None:
        function = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[activity].append(time.perf_counter() - start)

        setattr(owner, method, timed)


def measure(recorded_trials: int, new: int, profile: bool) -> dict[str, Any]:
    """Of one driver, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="autokd-overhead-") as place:
        folder = Path(place)
        search = Search(folder)
        path = folder / ".autokd" / "ledger.db"
        fill_ledger(search, path, recorded_trials)
        start = time.perf_counter()
        ledger = Ledger(f"sqlite:///{path}", STUDY)
        found = {"open": time.perf_counter() - start}
        store: Store = open_store(None, folder)
        filling = Tracker(store)
        begin(filling, search, 0)
        fill_store(filling, folder, ledger.entries)
        tracker = Tracker(store)
        start = time.perf_counter()
        begin(tracker, search, len(ledger.entries))
        found["begin"] = time.perf_counter() - start
        found |= drive(search, ledger, tracker, new=new, folder=folder, profile=profile)
        if recorded_trials:
            for name in ("front", "status"):
                found[name] = command_seconds(name, folder)
        return found


def drive(
    search: Search, ledger: Ledger, tracker: Tracker, *, new: int, folder: Path, profile: bool
) -> dict[str, Any]:
    """Seconds a trial begun, by activity; they overlap no more than said."""
    driver = search.driver(ledger, tracker, new=0, folder=folder)
    driver.run(MadeUpTraining())  # what the recorded trials left to be done
    before = len(ledger.entries)
    watch = Watch()
    watch.on(Proposer, "propose", "ask")
    watch.on(type(search.strategy), "next_to_advance", "who goes on")
    watch.on(Ledger, "_write", "record")
    watch.on(Tracker, "log_trial", "mirror")
    watch.on(Driver, "progress", "progress")
    watch.on(Board, "write", "board")
    watch.on(MadeUpTraining, "next_result", "training")
    driver = search.driver(ledger, tracker, new=new, folder=folder)
    profiler = cProfile.Profile()
    start = time.perf_counter()
    if profile:
        profiler.enable()
    driver.run(MadeUpTraining())
    profiler.disable()
    total = time.perf_counter() - start - sum(watch.seconds.pop("training"))
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(45)
    return {
        "asked": len(ledger.entries) - before,
        "trial": total / new,
        **{name: sum(seconds) / new for name, seconds in watch.seconds.items()},
        "longest ask": max(watch.seconds["ask"]),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def command_seconds(name: str, folder: Path, *, times: int = 5) -> tuple[float, float, float]:
    """Median and longest of `autokd NAME` from start to exit; median of its processor seconds, which other work hardly changes."""
    seconds, processor = [], []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        command = [Path(sys.executable).parent / "autokd", name]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds), max(seconds), statistics.median(processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recorded", type=int, nargs="+", default=[0, 1_000, 10_000])
    parser.add_argument("--new", type=int, default=60, help="trials begun while it is measured")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    for count in options.recorded:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (count, options.new, options.profile))
        print(f"{count} trials recorded, {options.new} begun, {found.pop('asked')} asked")
        for name in ("front", "status"):
            if name in found:
                median, longest, processor = found.pop(name)
                print(
                    f"  autokd {name}: median {median:.2f} s, longest {longest:.2f} s of 5, "
                    f"{processor:.2f} s of processor time"
                )
        print(f"  memory: {found.pop('memory'):.0f} MiB at most")
        for name, seconds in found.items():
            print(f"  {name}: {1000 * seconds:.0f} ms")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
