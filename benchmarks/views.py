"""How many augmented versions of an image are enough: the quickstart's students at the centre of their space.

    python benchmarks/views.py --views 2 4 12 --seeds 36

Val accuracy of the best epoch, mean and standard error over seeds; 12 views are a new one for each epoch.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from autokd.config import load_config, override_config
from autokd.space import Space, centre
from autokd.task import create_task
from autokd.trial import run_trial, trial_seed

QUICKSTART = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"


def accuracies(cache: Path, *, views: int, width: int, seeds: int) -> list[float]:
    config = override_config(
        load_config(QUICKSTART), {"schedule": {"assistants": 0}, "data": {"views": views}}
    )
    task = create_task(config, cache=cache, device="cpu", threads=1)
    candidate = Space(config, image_size=task.data.info.image_size).sample(centre)
    (stage,) = candidate.stages
    spec = replace(stage.student, arguments={**stage.student.arguments, "width": width})
    candidate = replace(candidate, stages=(replace(stage, student=spec),))
    found = []
    for number in range(seeds):
        with tempfile.TemporaryDirectory(prefix="autokd-views-") as folder:
            seed = trial_seed(7, number)
            result = run_trial(candidate, task, number=number, seed=seed, folder=Path(folder))
        found.append(result.val["accuracy"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--views", type=int, nargs="+", default=[2, 4, 12])
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--seeds", type=int, default=36)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}; one thread")
    print("| views | width | seeds | val accuracy | standard error |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="autokd-views-") as cache:
        for views in options.views:
            for width in options.widths:
                found = accuracies(Path(cache), views=views, width=width, seeds=options.seeds)
                error = statistics.stdev(found) / len(found) ** 0.5
                mean = statistics.mean(found)
                print(
                    f"| {views} | {width} | {len(found)} | {mean:.2%} | {error:.2%} |", flush=True
                )


if __name__ == "__main__":
    main()
