"""autokd against `plain_script.py`: seconds until its front is worth as much as the script's final one.

    python benchmarks/against_script.py digits --trials 100 --seeds 0 1 2 3 4
    python benchmarks/against_script.py fashion --root /usr/share/datasets/fashion-mnist --trials 60 --seeds 0 1 2
    python benchmarks/against_script.py large-teacher --root /usr/share/datasets/fashion-mnist --trials 30 60 --seeds 0 1 2

search_spaces/quickstart.yaml without assistants, on one of the sets of `DATA`: same images, teacher weights, space, budget
and cores on both sides. A seed has a split and a teacher of its own, trained before.
Each seed runs the script to its end and then a search in a new folder, one after the other. Seconds count from the start
of a process, imports included. Hypervolumes of both are those of autokd's scale. The script has one thread for each core, or one if its first students are faster with that.
Each side is begun once before, untimed: what its imports read from disk is in memory then, also after ten minutes of the other.
Several numbers of `--trials` are marks of one run of each side: a script of 60 students has been one of 30.
With `--start` autokd's students start so (heirs of the teacher; several: the search chooses); with `--script-inherits` the script's
ResNets inherit from the teacher as well.
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
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import yaml

from autokd.config import load_config, override_config
from autokd.engine.place import CACHE
from autokd.engine.scale import Scale
from autokd.pareto import hypervolume
from autokd.task import create_task

HERE = Path(__file__).parent
ANY = 1e-9  # a hypervolume that the first finished student has
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
    options: list[str]  # of the script: the budget, and whether its students inherit


class Seen(NamedTuple):
    """What one side had come to."""

    seconds: float  # since its process was started
    hypervolume: float
    begun: int  # students, or trials
    cpu: float  # processor seconds of the whole machine


def prepare(
    folder: Path,
    name: str,
    root: Path | None,
    *,
    seed: int,
    most: int,
    start: list[str],
    inherits: bool,
) -> Setting:
    folder.mkdir()
    own = {"students": {"start": start}, **DATA[name]}
    if root:
        own = {**own, "data": {**own.get("data", {}), "root": str(root)}}
    config = override_config(
        load_config(QUICKSTART),
        {"schedule": {"assistants": 0}, "search": {"trials": most}, "": {"seed": seed}, **own},
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
        options=[
            "--max-macs",
            str(limits.macs),
            "--max-params",
            str(limits.params),
            *(["--inherit"] if inherits else []),
        ],
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


def run_script(setting: Setting, *, trials: int, seed: int, threads: int, count: str) -> list[Seen]:
    """After each student."""
    script = [str(HERE / "plain_script.py"), str(setting.data), str(setting.teacher)]
    script += ["--trials", str(trials), "--seed", str(seed), "--threads", str(threads)]
    script += ["--count", count, *setting.options]
    before = cpu_seconds()
    points: list[list[float]] = []
    seen = []
    for seconds, record in lines(script, setting.folder, threads=threads):
        if record["within"]:
            points.append(point(setting.scale, record))
        volume = hypervolume(np.array(points), setting.scale.reference)
        seen.append(Seen(seconds, volume, len(seen) + 1, cpu_seconds() - before))
    return seen


def point(scale: Scale, record: dict[str, Any]) -> list[float]:
    """A student of the script where autokd's scale has it."""

    class Student:
        def objective(self, name: str) -> float:
            return float(record[name])

    (row,) = scale.points([Student()]).tolist()  # type: ignore[list-item]
    return row


def run_search(setting: Setting, *, goal: float, seed: int, cores: int, limit: float) -> list[Seen]:
    """Until the goal, or the limit's seconds have gone."""
    before = cpu_seconds()
    seen: list[Seen] = []
    with tempfile.TemporaryDirectory(dir=setting.folder) as place:
        teachers = Path(place) / CACHE / "teachers"
        shutil.copytree(setting.folder / CACHE / "teachers", teachers)
        command = ["-c", SEARCH, str(setting.search), str(seed), str(cores)]
        with contextlib.closing(lines(command, Path(place), threads=1, limit=limit)) as shown:
            for seconds, record in shown:
                used = cpu_seconds() - before
                seen.append(Seen(seconds, record["hypervolume"], record["begun"], used))
                if record["hypervolume"] >= goal:
                    break
        assert len([*teachers.iterdir()]) == 1, (
            "the search trained another teacher, in its own time"
        )
    return seen


def fastest_threads(setting: Setting, cores: int) -> int:
    """That the script trains its first students with in the least time."""
    seconds = {
        threads: run_script(setting, trials=3, seed=0, threads=threads, count="first")[-1].seconds
        for threads in (1, cores)
    }
    print(", ".join(f"3 students with {t} threads: {s:.1f} s" for t, s in seconds.items()))
    return min(seconds, key=lambda threads: seconds[threads])


def reached(seen: list[Seen], volume: float) -> Seen | None:
    return next((each for each in seen if each.hypervolume >= volume), None)


def report(
    settings: Mapping[int, Setting], *, marks: list[int], cores: int, threads: int, count: str
) -> None:
    print(
        "| seed | students | script, s | it had that front after, s | hypervolume | autokd, s | trials begun | share "
        "| processor: script, s | autokd, s | share |"
    )
    print(f"|{' --- |' * 11}")
    shares: dict[int, list[float]] = {mark: [] for mark in marks}
    for seed, setting in settings.items():
        run_script(setting, trials=1, seed=seed, threads=threads, count=count)
        script = run_script(setting, trials=max(marks), seed=seed, threads=threads, count=count)
        end = script[-1]
        run_search(setting, goal=ANY, seed=seed, cores=cores, limit=end.seconds)
        search = run_search(
            setting, goal=end.hypervolume, seed=seed, cores=cores, limit=end.seconds
        )
        for mark in marks:
            then = script[mark - 1]
            own, first = reached(search, then.hypervolume), reached(script, then.hypervolume)
            assert first is not None
            shares[mark].append(own.seconds / then.seconds if own else float("inf"))
            found = (
                f"{own.seconds:.1f} | {own.begun} | {own.seconds / then.seconds:.3f} | {then.cpu:.0f} "
                f"| {own.cpu:.0f} | {own.cpu / then.cpu:.3f}"
                if own
                else f"never | | | {then.cpu:.0f} | |"
            )
            print(
                f"| {seed} | {mark} | {then.seconds:.1f} | {first.seconds:.1f} | {then.hypervolume:.4f} "
                f"| {found} |",
                flush=True,
            )
    for mark, each in shares.items():
        low, middle, high = min(each), statistics.median(each), max(each)
        print(f"{mark} students: median share {middle:.3f}, from {low:.3f} to {high:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--root", type=Path, help="where Fashion-MNIST's files are")
    parser.add_argument(
        "--trials", type=int, nargs="+", default=[100], help="students that the script trains; several: marks"
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--count", choices=["last", "first"], default="last", help="when the script counts a student's MACs; "
        "first: it does not train what is over budget"
    )  # fmt: skip
    parser.add_argument(
        "--start", nargs="+", choices=["random", "heir"], default=["random", "heir"], help="of autokd's students"
    )  # fmt: skip
    parser.add_argument(
        "--script-inherits", action="store_true", help="the script's ResNets start from the teacher"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autokd-script-") as place:
        settings = {
            seed: prepare(
                Path(place) / str(seed), options.data, options.root, seed=seed, most=1000,
                start=options.start, inherits=options.script_inherits,
            )
            for seed in options.seeds
        }  # fmt: skip
        threads = fastest_threads(settings[options.seeds[0]], options.cores)
        print(
            f"{max(options.trials)} students of the script with {threads} threads, MACs {options.count}, autokd with "
            f"{options.cores} workers, starts {' or '.join(options.start)}"
            f"{', the script inherits' if options.script_inherits else ''}; {os.cpu_count()} cores, {platform.machine()}"
        )
        report(
            settings,
            marks=sorted(options.trials),
            cores=options.cores,
            threads=threads,
            count=options.count,
        )


if __name__ == "__main__":
    main()
