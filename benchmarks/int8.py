"""What int8 costs in accuracy: students of a search, as they were trained and as they ship.

    python benchmarks/int8.py --trials 40 --seeds 0 1 2
    python benchmarks/int8.py --search search_spaces/fashion_mnist.yaml --root FOLDER --trials 12 --seeds 0

Every student that a search with `students.precision: int8` trains to its end: val accuracy of its best epoch in PyTorch, and of
its int8 graph in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import autokd
from autokd.config import load_config, override_config
from autokd.records import TrialResult

QUICKSTART = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"


def run(path: Path, root: Path | None, *, trials: int, seed: int) -> Iterator[TrialResult]:
    config = override_config(
        load_config(path),
        {
            "data": {"root": str(root) if root else None},
            "students": {"precision": "int8"},
            "search": {"trials": trials},
        },
    )
    with tempfile.TemporaryDirectory(prefix="autokd-int8-") as place:
        found = autokd.search(config, seed=seed, workers=2, directory=place)
    return (result for result in found.results if result.state == "complete")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--search", type=Path, default=QUICKSTART)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    changes: dict[str, list[float]] = {}
    for seed in options.seeds:
        for result in run(options.search, options.root, trials=options.trials, seed=seed):
            trained = max(epoch.val_accuracy for epoch in result.history)
            change = 100 * (result.val["accuracy"] - trained)
            changes.setdefault(result.candidate.student.model, []).append(change)
    print(
        f"{options.search.stem}, seeds {options.seeds}; {os.cpu_count()} cores, {platform.machine()}"
    )
    print("| students | n | int8 minus float, points: mean ± sd | lowest | highest |")
    print("| --- | --- | --- | --- | --- |")
    for model, found in sorted(changes.items()):
        spread = statistics.stdev(found) if len(found) > 1 else float("nan")
        print(
            f"| {model} | {len(found)} | {statistics.mean(found):+.2f} ± {spread:.2f} "
            f"| {min(found):+.2f} | {max(found):+.2f} |"
        )


if __name__ == "__main__":
    main()
