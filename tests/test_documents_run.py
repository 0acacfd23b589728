"""Every console block and every Python block of README and docs/ does what it shows, in a folder with a finished search."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from audit_files import write_even
from command_line import autokd
from documents import PAGES, Block, blocks, programs

from autokd.api.read import front
from autokd.tracking.read import read_study
from autokd.tracking.store import open_store

pytestmark = pytest.mark.slow

SMALL = {"width": 8, "depth": 1, "stages": 3, "stem_stride": 1}
OWN = {  # what stands for a reader's own search file
    "data": {"source": "digits", "limit": 300},
    "teacher": {"model": "resnet", "arguments": SMALL, "train": {"epochs": 1}},
    "students": {"model": "resnet", "families": {"resnet": SMALL | {"width": [8, 16]}}},
    "train": {"epochs": 2, "learning_rate": {"low": 0.003, "high": 0.03, "log": True}},
    "search": {"trials": 5},
}


@pytest.fixture(scope="module")
def finished(quickstart: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart as the tutorial runs it, and the files that a reader has."""
    place = tmp_path_factory.mktemp("finished") / "finished"
    shutil.copytree(quickstart, place)
    write_even(place)
    people = pd.read_csv(place / "people.csv")
    people.assign(patient=people.index // 2).to_csv(place / "people.csv", index=False)
    (place / "search.yaml").write_text(yaml.safe_dump(OWN))
    return place


@pytest.fixture
def reader(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, in which a page is followed from top to bottom."""
    place = tmp_path / "reader"
    shutil.copytree(finished, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}", prepend=":")
    return place


def here(command: str) -> str:
    """With this search's own names: which trial is on the front depends on which of two workers was faster."""
    stored = read_study(open_store(None, Path.cwd(), create=False), None, front_only=True)
    trial = int(front()["trial"].iloc[0])
    command = re.sub(r"autokd (run|export|register|monitor) \d+", rf"autokd \1 {trial}", command)
    return re.sub(r"quickstart-[0-9a-f]{6}", stored.study, command)


def follow(block: Block) -> None:
    *_, last = block.commands()
    for written in block.commands():
        expected = block.exit_status if written is last else 0
        command = here(written)
        words = [*programs(command)]
        if len(words) == 1 and words[0][0] == "autokd" and ">" not in command:
            done = autokd(*words[0][1:])
            assert done.status == expected, f"{block.where}: {command}\n{done.out}\n{done.err}"
        else:
            ran = subprocess.run(
                ["bash", "-c", command], capture_output=True, text=True, check=False
            )
            assert ran.returncode == expected, f"{block.where}: {command}\n{ran.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_can_be_followed_from_top_to_bottom(page: Path, reader: Path) -> None:
    for block in blocks(page, "console", "python"):
        if block.not_run:
            continue
        if block.language == "console":
            follow(block)
        else:
            exec(compile(block.text, block.where, "exec"), {})
