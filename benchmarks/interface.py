"""A search of 1,000 trials in MLflow's own interface: seconds until a page shows what it is opened for.

    python benchmarks/interface.py --recorded 1000 --times 5

The store is filled as for `overhead.py`, and the search is finished. Needs a Chromium; each page is opened in a new window.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from made_up_search import STUDY, Search, begin
from overhead import fill_ledger, fill_store
from playwright.sync_api import sync_playwright

from autokd.engine.conclusion import conclude, tell
from autokd.engine.insight import describe_space
from autokd.engine.ledger import Ledger
from autokd.tracking.store import open_store, ui_command
from autokd.tracking.write import Tracker

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


def make_store(folder: Path, count: int) -> dict[str, tuple[str, str]]:
    """A finished search; what is opened: name -> (address, what has to be there)."""
    search = Search(folder)
    path = folder / ".autokd" / "ledger.db"
    fill_ledger(search, path, count)
    ledger = Ledger(f"sqlite:///{path}", STUDY)
    ledger.note("scale", search.scale.to_record())
    ledger.note("space", describe_space(search.space.distributions, search.pauses))
    tracker = Tracker(open_store(None, folder))
    begin(tracker, search, 0)
    fill_store(tracker, folder, ledger.entries)
    start = time.perf_counter()
    found = conclude(search.info, ledger, tested=True)
    tell(found, search.info, tracker, scale=search.scale, reason="made up")
    print(f"finish, {count} trials: {time.perf_counter() - start:.1f} s")
    links = tracker.links()
    picture = links.run.replace("?", "/artifacts/report/pareto.html?")
    return {
        "chart page": (links.view, ".scatterlayer path.point"),
        "the search's page": (links.run, "text=The most accurate"),
        "pareto.html": (picture, "iframe >> .scatterlayer path.point"),
    }


@contextmanager
def interface(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments, environment = ui_command(None, folder, port=port)
    process = subprocess.Popen(
        arguments, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def seconds_until(address: str, wanted: str) -> float:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*FLAGS]
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        start = time.perf_counter()
        page.goto(address)
        found = page.frame_locator("iframe") if wanted.startswith("iframe") else page
        found.locator(wanted.removeprefix("iframe >> ")).last.wait_for(timeout=120_000)
        seconds = time.perf_counter() - start
        browser.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recorded", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autokd-interface-") as place:
        pages = make_store(Path(place), options.recorded)
        with interface(Path(place)) as address:
            for name, (link, wanted) in pages.items():
                seconds = [seconds_until(address + link, wanted) for _ in range(options.times)]
                print(
                    f"{name}: median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
