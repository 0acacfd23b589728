"""What a shell completes, asked as a shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from test_cli import ROOT

from autokd.engine.database import ledger_url
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE

pytestmark = pytest.mark.slow

RUN = (
    "import sys; sys.argv = ['autokd', *sys.argv[1:]]\n"
    "from autokd.cli import main\n"
    "try: main()\n"
    "finally: print('loaded', [m for m in ('torch', 'mlflow', 'timm', 'optuna', 'pandas') if m in sys.modules])"
)


def ask(folder: Path, line: str) -> list[str]:
    """What bash would offer after this line."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_AUTOKD_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    *offered, loaded = done.stdout.splitlines()
    assert loaded == "loaded []"
    return [each for each in offered if each]  # nothing to offer is an empty line


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two searches' ledgers; mine-aaaaaa was active last."""
    folder = tmp_path_factory.mktemp("completed")
    (folder / CACHE).mkdir()
    for study, numbers in (("other-bbbbbb", [7]), ("mine-aaaaaa", [3, 31, 4])):
        members = [
            {"number": n, "student": "resnet width=8", "val_accuracy": 0.9, "macs": 1e5}
            for n in numbers
        ]
        with closing(Ledger(ledger_url(None, folder / CACHE), study)) as ledger:
            ledger.show({"front": members, "begun": 2, "target": 9})
    return folder


def test_commands_and_options_are_completed(tmp_path: Path) -> None:
    assert {"search", "status", "space"} <= {*ask(tmp_path, "autokd s")}
    assert "--warm-start" in ask(tmp_path, "autokd search --w")


@pytest.mark.parametrize("command", ["status", "front", "insight", "search --warm-start"])
def test_names_of_searches_are_completed(searched: Path, command: str) -> None:
    assert ask(searched, f"autokd {command} ") == ["mine-aaaaaa", "other-bbbbbb"]
    assert ask(searched, f"autokd {command} o") == ["other-bbbbbb"]


@pytest.mark.parametrize("command", ["run", "export"])
def test_students_of_the_front_are_completed_by_their_numbers(searched: Path, command: str) -> None:
    assert ask(searched, f"autokd {command} ") == ["3", "31", "4"]
    assert ask(searched, f"autokd {command} 3") == ["3", "31"]
    assert ask(searched, f"autokd {command} other-bbbbbb/") == ["other-bbbbbb/7"]


def test_without_a_search_nothing_is_offered_and_nothing_is_made(tmp_path: Path) -> None:
    assert ask(tmp_path, "autokd status ") == []
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_is_none_offers_nothing(tmp_path: Path) -> None:
    (tmp_path / CACHE).mkdir()
    (tmp_path / CACHE / "ledger.db").write_text("no database at all")
    assert ask(tmp_path, "autokd status ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_given_its_script(tmp_path: Path, shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "_AUTOKD_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "_AUTOKD_COMPLETE" in done.stdout
    assert "autokd" in done.stdout
