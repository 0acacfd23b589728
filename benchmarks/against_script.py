"""autokd against `plain_script.py`: seconds until its front is worth as much as the script's final one.

    python benchmarks/against_script.py digits --trials 100 --seeds 0 1 2 3 4
    python benchmarks/against_script.py fashion --root /usr/share/datasets/fashion-mnist --trials 60 --seeds 0 1 2
    python benchmarks/against_script.py large-teacher --root /usr/share/datasets/fashion-mnist --trials 30 --seeds 0 1 2 --count first

search_spaces/quickstart.yaml without assistants, on one of the sets of `DATA`: same images, teacher weights, space, budget
and cores on both sides.
Each seed runs the script to its end and then a search in a new folder, one after the other. Seconds count from the start
of a process, imports included; the teacher is trained before. Hypervolumes of both are those of autokd's scale. The script has one thread for each core, or one if its first students are faster with that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from autokd.config import load_config, override_config
from autokd.engine.place import CACHE
from autokd.engine.scale import Scale
from autokd.pareto import hypervolume
from autokd.task import create_task

HERE = Path(__file__).parent
QUICKSTART = HERE.parent / "search_spaces" / "quickstart.yaml"
DATA: dict[str, dict[str, Any]] = {
    "digits": {},
    # 1,000 images to train on, 3,000 to choose on: hardly any chance in the goal. The teacher is as cheap as its students.
    "fashion": {
        "data": {
            "source": "fashion_mnist", "image_size": 14, "limit": 4000, "val_fraction": 0.75, "flip": False,
        },
        "budget": {"max_macs": 3e6},
    },
    # The usual case: a teacher of ten times its students' cost (11.6 M MACs at 14 pixels, where a student may have 1 M), and
    # a third of the labelled images to choose on: 2,000 to train on, 1,000 to choose on.
    "large-teacher": {
        "data": {
            "source": "fashion_mnist", "image_size": 14, "limit": 3000, "val_fraction": 1 / 3, "flip": False,
        },
    },
}  # fmt: skip
SEARCH = """
import json, sys, autokd
def show(progress):
    print(json.dumps({"hypervolume": progress.hypervolume, "begun": progress.trained}), flush=True)
config, seed, workers = sys.argv[1:]
autokd.search(config, seed=int(seed), workers=int(workers), observe=show)
"""


@dataclass(frozen=True)
class Setting:
    """What both sides are given."""

    folder: Path
    data: Path
    teacher: Path
    search: Path
    scale: Scale
    budget: list[str]  # arguments of the script


@dataclass(frozen=True)
class Outcome:
    """Of one seed; seconds since a process was started."""

    script_seconds: float  # until its last student
    script_reached: float  # until it had its final hypervolume
    script_hypervolume: float
    autokd_seconds: float | None  # until that hypervolume; None: not in the script's time
    autokd_begun: int
    script_cpu: float  # processor seconds of the machine
    autokd_cpu: float  # likewise, ending the search included


def prepare(folder: Path, name: str, root: Path | None, *, most: int) -> Setting:
    own = DATA[name]
    if root:
        own = {**own, "data": {**own.get("data", {}), "root": str(root)}}
    config = override_config(
        load_config(QUICKSTART), {"schedule": {"assistants": 0}, "search": {"trials": most}, **own}
    )
    task = create_task(config, cache=folder / CACHE, device="cpu")
    data, search = folder / "data.npz", folder / "search.yaml"
    arrays = {}
    for name in ("train", "val"):
        split = task.split(name)
        arrays[f"{name}_images"] = split.images.pixels.numpy()
        arrays[f"{name}_labels"] = split.labels.numpy()
    np.savez(data, **arrays)
    search.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    (teacher,) = (folder / CACHE / "teachers").glob("*/best.safetensors")
    scale = Scale(
        objectives=config.search.objectives, teacher=task.teacher_info, classes=task.classes
    )
    limits = config.budget.to_budget()
    return Setting(
        folder=folder,
        data=data,
        teacher=teacher,
        search=search,
        scale=scale,
        budget=["--max-macs", str(limits.macs), "--max-params", str(limits.params)],
    )


def lines(
    command: list[str], folder: Path, *, threads: int, limit: float = float("inf")
) -> Generator[tuple[float, dict[str, Any]]]:
    """(seconds since the start, record) of each JSON line. Whoever stops reading ends the process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            seconds = time.perf_counter() - start
            if seconds > limit:
                break
            if line.startswith("{"):
                yield seconds, json.loads(line)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # a search ends its workers
        process.stdout.close()
        process.wait()


def cpu_seconds() -> float:
    """Of the whole machine: workers are not this process's children."""
    used = psutil.cpu_times()
    return float(used.user + used.nice + used.system)


def run_script(
    setting: Setting, *, trials: int, seed: int, threads: int, count: str
) -> list[tuple[float, float]]:
    """(seconds, hypervolume) after each student."""
    script = [str(HERE / "plain_script.py"), str(setting.data), str(setting.teacher)]
    script += ["--trials", str(trials), "--seed", str(seed), "--threads", str(threads)]
    script += ["--count", count, *setting.budget]
    points: list[list[float]] = []
    grown = []
    for seconds, record in lines(script, setting.folder, threads=threads):
        if record["within"]:
            points.append(point(setting.scale, record))
        grown.append((seconds, hypervolume(np.array(points), setting.scale.reference)))
    return grown


def point(scale: Scale, record: dict[str, Any]) -> list[float]:
    """A student of the script where autokd's scale has it."""

    class Student:
        def objective(self, name: str) -> float:
            return float(record[name])

    (row,) = scale.points([Student()]).tolist()  # type: ignore[list-item]
    return row


def run_search(
    setting: Setting, *, goal: float, seed: int, cores: int, limit: float
) -> tuple[float | None, int]:
    """Seconds until the goal, and the trials that were begun by then."""
    begun = 0
    with tempfile.TemporaryDirectory(dir=setting.folder) as place:
        shutil.copytree(setting.folder / CACHE / "teachers", Path(place) / CACHE / "teachers")
        command = ["-c", SEARCH, str(setting.search), str(seed), str(cores)]
        with contextlib.closing(lines(command, Path(place), threads=1, limit=limit)) as shown:
            for seconds, record in shown:
                begun = record["begun"]
                if record["hypervolume"] >= goal:
                    return seconds, begun
    return None, begun


def fastest_threads(setting: Setting, cores: int) -> int:
    """That the script trains its first students with in the least time."""
    seconds = {
        threads: run_script(setting, trials=3, seed=0, threads=threads, count="first")[-1][0]
        for threads in (1, cores)
    }
    print(", ".join(f"3 students with {t} threads: {s:.1f} s" for t, s in seconds.items()))
    return min(seconds, key=lambda threads: seconds[threads])


def compare(
    setting: Setting, *, trials: int, seed: int, cores: int, threads: int, count: str
) -> Outcome:
    before = cpu_seconds()
    grown = run_script(setting, trials=trials, seed=seed, threads=threads, count=count)
    end, goal = grown[-1]
    between = cpu_seconds()
    seconds, begun = run_search(setting, goal=goal, seed=seed, cores=cores, limit=end)
    return Outcome(
        script_seconds=end,
        script_reached=next(s for s, volume in grown if volume >= goal),
        script_hypervolume=goal,
        autokd_seconds=seconds,
        autokd_begun=begun,
        script_cpu=between - before,
        autokd_cpu=cpu_seconds() - between,
    )


def report(setting: Setting, *, seeds: list[int], **options: Any) -> None:
    print(
        "| seed | script, s | it had that front after, s | hypervolume | autokd, s | trials begun | share "
        "| processor: script, s | autokd, s | share |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    shares = []
    for seed in seeds:
        found = compare(setting, seed=seed, **options)
        share = (found.autokd_seconds or float("inf")) / found.script_seconds
        shares.append(share)
        after = "never" if found.autokd_seconds is None else f"{found.autokd_seconds:.1f}"
        print(
            f"| {seed} | {found.script_seconds:.1f} | {found.script_reached:.1f} "
            f"| {found.script_hypervolume:.4f} | {after} | {found.autokd_begun} | {share:.3f} "
            f"| {found.script_cpu:.0f} | {found.autokd_cpu:.0f} | {found.autokd_cpu / found.script_cpu:.3f} |",
            flush=True,
        )
    low, middle, high = min(shares), statistics.median(shares), max(shares)
    print(f"share of the script's time: median {middle:.3f}, from {low:.3f} to {high:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--root", type=Path, help="where Fashion-MNIST's files are")
    parser.add_argument("--trials", type=int, default=100, help="students that the script trains")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--count", choices=["last", "first"], default="last", help="when the script counts a student's MACs; "
        "first: it does not train what is over budget"
    )  # fmt: skip
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autokd-script-") as place:
        setting = prepare(Path(place), options.data, options.root, most=1000)
        threads = fastest_threads(setting, options.cores)
        print(
            f"{options.trials} students of the script with {threads} threads, MACs {options.count}, autokd with "
            f"{options.cores} workers; {os.cpu_count()} cores, {platform.machine()}"
        )
        report(
            setting,
            trials=options.trials,
            seeds=options.seeds,
            cores=options.cores,
            threads=threads,
            count=options.count,
        )


if __name__ == "__main__":
    main()
