"""What share of the quickstart's training its driver takes.

    python benchmarks/quickstart.py --seeds 0 1 2

`autokd search search_spaces/quickstart.yaml` in new folders, with the seconds that the search itself keeps by activity. What
the search waits for: proposals, the ledger, the status. Beside it, in a thread of its own: MLflow.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autokd.engine.database import begun_studies, ledger_url
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE

QUICKSTART = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
BLOCKING = ("ask", "record", "show")


def search(folder: Path, *, workers: int, seed: int) -> tuple[Ledger, float]:
    """Its ledger, and the seconds from the command's start to its end."""
    command = [str(Path(sys.executable).parent / "autokd"), "search", str(QUICKSTART)]
    command += ["--workers", str(workers), "--seed", str(seed)]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    url = ledger_url(None, folder / CACHE)
    (study,) = begun_studies(url, "quickstart")
    return Ledger(url, study.name), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    print(f"{options.workers} workers; {os.cpu_count()} cores, {platform.machine()}")
    print(
        "| seed | trials | seconds in all | training, s | waited for, s | share | beside it, s | share |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for seed in options.seeds:
        with tempfile.TemporaryDirectory(prefix="autokd-quickstart-") as place:
            ledger, seconds = search(Path(place), workers=options.workers, seed=seed)
        spent = ledger.notes["spent"]
        training = sum(entry.result.seconds for entry in ledger.entries if entry.result)
        waited, beside = sum(spent.get(name, 0.0) for name in BLOCKING), spent.get("log", 0.0)
        print(
            f"| {seed} | {len(ledger.entries)} | {seconds:.0f} | {training:.0f} | {waited:.2f} "
            f"| {waited / training:.1%} | {beside:.2f} | {beside / training:.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
