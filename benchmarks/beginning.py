"""How soon a search begins: seconds from its process's start to its first work given out, and to the first result.

    python benchmarks/beginning.py --times 5

search_spaces/quickstart.yaml with two workers, each time in a new folder where the teacher is at hand and MLflow's
database is not.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import tempfile
from pathlib import Path

from against_script import QUICKSTART, SEARCH, lines

from autokd.config import load_config
from autokd.engine.place import CACHE
from autokd.task import create_task


def begin(first: Path) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="autokd-beginning-") as place:
        shutil.copytree(first / CACHE / "teachers", Path(place) / CACHE / "teachers")
        command = ["-c", SEARCH, str(QUICKSTART), "0", "2"]
        with contextlib.closing(lines(command, Path(place), threads=1)) as shown:
            (given_out, _), (result, _) = next(shown), next(shown)
    return given_out, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autokd-beginning-") as place:
        create_task(load_config(QUICKSTART), cache=Path(place) / CACHE, device="cpu")
        found = [begin(Path(place)) for _ in range(options.times)]
    for name, seconds in zip(("first work", "first result"), zip(*found, strict=True), strict=True):
        print(
            f"{name}: {statistics.median(seconds):.1f} s, from {min(seconds):.1f} to {max(seconds):.1f} ({len(seconds)} times)"
        )


if __name__ == "__main__":
    main()
