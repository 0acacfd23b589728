"""What a driver costs beside the training: seconds a trial with 0, 1,000 and 10,000 trials recorded, and its memory.

    python benchmarks/overhead.py

Proposer, strategy, ledger (SQLite) and mirror (MLflow on SQLite) are the search's own, and so are the exact costs of
students; only training is made up and takes no time. The recorded trials are what synchronous halving of random
candidates would leave. `--profile` shows where the time goes.
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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np

from autokd.config import load_config, override_config
from autokd.data import load_data
from autokd.engine.controls import control_proposals
from autokd.engine.driver import Driver
from autokd.engine.executors import Work
from autokd.engine.halving import rank
from autokd.engine.ledger import Entry, Ledger, Proposal
from autokd.engine.progress import Progress, find_front
from autokd.engine.proposer import Proposer, suggest_by
from autokd.engine.scale import Scale
from autokd.engine.status import Board
from autokd.engine.strategies import make_strategy
from autokd.engine.survey import survey
from autokd.records import AuditFigures, Cost, Epoch, SearchInfo, TeacherInfo, TrialResult
from autokd.space import Space
from autokd.task import StudentCosts
from autokd.tracking import trial_run
from autokd.tracking.store import Store, open_store
from autokd.tracking.write import Tracker
from autokd.trial import trial_seed

QUICKSTART = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
RESNETS = {"width": {"low": 8, "high": 48, "step": 2}, "depth": [1, 2], "stem_stride": [1, 2]}
CONVNEXTS = {"width": {"low": 8, "high": 24, "step": 2}, "depth": 1, "patch_size": 1}
WIDER = {"resnet": RESNETS | {"stages": 3}, "convnext": CONVNEXTS}  # 93 architectures
STUDY = "overhead"
OBJECTIVES = ("val_accuracy", "macs")
REJECTED = 0.2  # of recorded trials: over budget

TEACHER = TeacherInfo(
    name="resnet",
    hash="made up",
    cost=Cost(macs=3_467_520, params=314_906, size_bytes=1_271_184),
    val_accuracy=0.99,
    source="made up",
)
AUDIT = AuditFigures(
    status="pass",
    sentence="No class lost more than 5 points.",
    worst_group="class=8",
    worst_group_accuracy=0.8,
    worst_label_group_accuracy=0.8,
    accuracy_gap=0.1,
    gap_growth=0.02,
    worst_change_group="class=8",
    worst_change=-0.03,
    undecided=7,
)


class Mirror(Protocol):
    """Where results are kept beside the ledger."""

    def log_trial(self, result: TrialResult) -> None: ...


class Search:
    """The parts of a search as `autokd search` puts them together, without images or a teacher."""

    def __init__(self, folder: Path) -> None:
        self.config = override_config(load_config(QUICKSTART), {"students": {"families": WIDER}})
        data = load_data(self.config.data, seed=0, cache=folder)
        self.info = SearchInfo(
            study=STUDY,
            config="name: overhead\n",
            fingerprint=STUDY,
            seed=0,
            objectives=OBJECTIVES,
            budget=self.config.budget.to_budget(),
            data=data.info,
            teacher=TEACHER,
        )
        self.space = Space(self.config, image_size=data.info.image_size)
        self.costs = StudentCosts(data, weight_dtype="fp32", rates=self.space.drop_rates)
        self.scale = Scale(objectives=self.info.objectives, teacher=TEACHER, classes=10)
        self.strategy = make_strategy(self.config.search, self.scale, epochs=self.space.most_epochs)
        self.pauses = self.strategy.pauses(self.space.most_epochs)

    def driver(self, ledger: Ledger, mirror: Mirror, *, new: int, folder: Path) -> Driver:
        begun = sum(entry.result.state != "rejected" for entry in ledger.entries if entry.result)
        board = Board(ledger)

        def show(progress: Progress) -> None:
            board.write(progress)

        sample = survey(self.space, self.costs, budget=self.info.budget, seed=0)
        sample = replace(sample, teacher_macs=TEACHER.cost.macs)
        proposer = Proposer(
            sample=lambda suggest: self.space.sample(
                suggest,
                lambda student, count: sample.choose_assistants(self.costs(student).macs, count),
            ),
            exact_cost=self.costs,
            distributions=self.space.distributions,
            budget=self.info.budget,
            scale=self.scale,
            rungs=self.strategy.rungs,
            sampler=self.strategy.sampler,
            random_share=self.strategy.random_share,
            resamples=self.config.search.resamples,
        )
        return Driver(
            ledger=ledger,
            proposer=proposer,
            strategy=self.strategy,
            controls=[] if begun else control_proposals(self.space, sample),
            limits=self.config.search.model_copy(update={"trials": begun + new}),
            seed=0,
            folder=folder,
            mirror=mirror.log_trial,
            observe=show,
        )


class MadeUpTraining:
    """An executor whose training takes no time."""

    def __init__(self) -> None:
        self._work: Work | None = None

    @property
    def has_room(self) -> bool:
        return self._work is None

    def submit(self, work: Work) -> None:
        self._work = work

    def next_result(self) -> tuple[int, TrialResult]:
        work, self._work = self._work, None
        assert work is not None
        assert work.cost is not None
        until = work.until or work.candidate.epochs
        blank = made_up(work.number, Proposal(candidate=work.candidate, params={}), work.cost)
        return work.number, trained(replace(blank, control=work.control), until)

    def close(self) -> None: ...


def made_up(number: int, proposal: Proposal, cost: Cost) -> TrialResult:
    return TrialResult(
        number=number,
        seed=trial_seed(0, number),
        candidate=proposal.candidate,
        state="rejected",
        cost=cost,
        excess={"macs": 0.0, "params": 0.0},
        reason="over budget: macs 1.20M > 1.00M",
    )


def trained(blank: TrialResult, until: int) -> TrialResult:
    """Larger students get further, a learning rate near 0.01 is best, everyone needs time, chance does the rest."""
    stage, cost = blank.candidate.stages[-1], blank.cost
    assert cost is not None
    best = 0.35 + 0.1 * np.log10(cost.macs) - 0.3 * abs(np.log10(stage.training.learning_rate) + 2)
    best += np.random.default_rng(blank.seed).normal(0, 0.02)
    history = tuple(
        Epoch(
            stage="student",
            epoch=epoch,
            train_loss=1.0 / epoch,
            val_loss=1.1 / epoch,
            val_accuracy=round(float(np.clip(best * (1 - 0.6**epoch), 0.1, 0.99)), 4),
            learning_rate=stage.training.learning_rate,
            seconds=0.15,
        )
        for epoch in range(1, until + 1)
    )
    ended = until == blank.candidate.epochs
    return replace(
        blank,
        state="complete" if ended else "stopped",
        reason=None,
        cost=replace(cost, latency_ms=0.3, latency_p90_ms=0.4, device="made up") if ended else cost,
        val={"accuracy": history[-1].val_accuracy, "loss": 0.5},
        history=history,
        audit=AUDIT if ended else None,
        seconds=0.15 * until,
    )


def recorded(search: Search, count: int) -> Iterator[tuple[Proposal, list[TrialResult]]]:
    """Random candidates with what synchronous halving would have made of them."""
    rng = np.random.default_rng(0)
    proposals: list[Proposal] = []
    blanks: list[TrialResult] = []
    rejected = 0
    while len(proposals) < count:
        params: dict[str, Any] = {}
        candidate = search.space.sample(suggest_by(rng, {}, params))
        cost, proposal = (
            search.costs(candidate.student),
            Proposal(candidate=candidate, params=params),
        )
        fits = search.info.budget.admits(cost)
        if not fits and rejected >= REJECTED * count:
            continue
        rejected += not fits
        blanks.append(
            replace(made_up(len(proposals), proposal, cost), excess=search.info.budget.excess(cost))
        )
        proposals.append(proposal)
    results: list[list[TrialResult]] = [[blank] if not blank.feasible else [] for blank in blanks]
    there = [blank.number for blank in blanks if blank.feasible]
    for until in search.pauses:
        for number in there:
            results[number].append(trained(blanks[number], until))
        points = search.scale.points([results[number][-1] for number in there])
        best = rank(points, np.ones(len(there), dtype=bool), int(len(there) / 3)) if there else []
        there = [there[place] for place in best]
    yield from zip(proposals, results, strict=True)


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
    run, name, now = uuid4().hex, trial_run.run_name(result), row["start_time"]
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


def begin(tracker: Tracker, search: Search, begun: int) -> None:
    tracker.begin(search.info, versions={}, git_commit=None, command=None, begun=begun)


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


def command_seconds(name: str, folder: Path, *, times: int = 5) -> tuple[float, float]:
    """Median and longest of `autokd NAME` from start to exit."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        command = [Path(sys.executable).parent / "autokd", name]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), max(seconds)


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
                median, longest = found.pop(name)
                print(f"  autokd {name}: median {median:.2f} s, longest {longest:.2f} s of 5")
        print(f"  memory: {found.pop('memory'):.0f} MiB at most")
        for name, seconds in found.items():
            print(f"  {name}: {1000 * seconds:.0f} ms")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
