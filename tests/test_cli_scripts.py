"""The command line as a script meets it: JSON alone on standard output, silence, and the exit statuses."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from command_line import Done, autokd
from test_cli import COMMANDS, ROOT, place, search_file

from autokd.cli.statuses import MEANINGS
from autokd.console.output import to_json
from autokd.records import Cost

__all__ = ["place"]  # a fixture

COMMAND = (sys.executable, "-m", "autokd.cli")


def strict(text: str) -> dict[str, object]:
    """JSON as a strict reader takes it, without Python's NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    document = json.loads(text, parse_constant=refuse)
    assert isinstance(document, dict)
    return document


# ---------------------------------------------------------------- the document


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, np.float64("nan"), np.float32("inf"), pd.NA, None],
    ids=str,
)
def test_what_is_no_number_is_null(value: object) -> None:
    assert strict(to_json({"a": [value]})) == {"a": [None]}


def test_records_and_numpys_numbers_become_plain_ones() -> None:
    cost = Cost(macs=3, params=2, size_bytes=1, latency_ms=math.nan)
    read: Mapping[str, object] = MappingProxyType({"n": np.int64(3), "counts": Counter("aab")})
    document = strict(to_json({"cost": cost, "read": read, "path": Path("a/b"), "tuple": (1, "→")}))
    assert document["cost"]["macs"] == 3  # type: ignore[index]
    assert document["cost"]["latency_ms"] is None  # type: ignore[index]
    assert document["read"] == {"n": 3, "counts": {"a": 2, "b": 1}}
    assert (document["path"], document["tuple"]) == ("a/b", [1, "→"])


def test_a_thing_without_a_form_in_json_is_a_bug_that_shows() -> None:
    with pytest.raises(ValueError, match="object has no form in JSON"):
        to_json({"a": object()})


# ---------------------------------------------------------------- commands, each with --json


def test_check_and_space_tell_a_script_what_fits(place: Path) -> None:
    file = search_file(place)
    check = strict(autokd("check", file, "--json").out)
    assert check["data"]["classes"] == 10  # type: ignore[index]
    assert 0 < check["feasible_share"] < 1  # type: ignore[operator]
    assert set(check["models"]) == {"resnet", "convnext"}  # type: ignore[call-overload]
    space = strict(autokd("space", file, "--students", "8", "--json").out)
    assert space["parameters"]["train.learning_rate"]["log"] is True  # type: ignore[index]
    assert space["budget"]["macs"] == 1e6  # type: ignore[index]


@pytest.mark.parametrize("command", ["check", "space"])
def test_quiet_says_nothing_and_the_status_tells(place: Path, command: str) -> None:
    assert autokd(command, search_file(place), "--quiet") == Done(0, "", "")
    refused = autokd(command, search_file(place, budget__max_macs="1k"), "--quiet")
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)


def test_bad_input_leaves_standard_output_empty_also_with_json(place: Path) -> None:
    done = autokd("check", search_file(place, data=...), "--json")
    assert (done.status, done.out) == (2, "")
    assert "mine.yaml: data: is missing" in done.err


def test_what_is_kept_and_what_was_cleared_as_json(place: Path) -> None:
    assert strict(autokd("cache", "--json").out)["kinds"] == {}
    (place / ".autokd" / "logits").mkdir(parents=True)
    (place / ".autokd" / "logits" / "a.npy").write_bytes(b"1234")
    kinds = strict(autokd("cache", "--json").out)["kinds"]
    assert (kinds["logits"]["number"], kinds["logits"]["size_bytes"]) == (1, 4)  # type: ignore[index]
    cleared = strict(autokd("cache", "--clear", "logits", "--json").out)
    assert cleared == {"cleared": ["logits"], "freed_bytes": 4}


TALKATIVE = """
import sys, timm
def make(**_):
    print("from the teacher's own code")
    sys.__stdout__.write("written to the stream that Python began with\\n")
    return timm.create_model("resnet10t", num_classes=10, in_chans=1)
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, make_store_directory) -> tuple[Path, Done]:  # type: ignore[no-untyped-def]
    """A folder with a search of two students by a process of its own, and what that said with --json."""
    folder = make_store_directory(tmp_path_factory.mktemp("scripted"))
    file = search_file(folder)
    return folder, run("search", file, "--json", folder=folder)


def run(*arguments: str, folder: Path, **environment: str) -> Done:
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_a_search_answers_a_script_with_one_document(searched: tuple[Path, Done]) -> None:
    _, done = searched
    assert done.status == 0, done.err
    document = strict(done.out)
    assert document["stopped_because"] == "2 trials"
    assert document["interrupted"] is False
    assert document["pending"] == 0
    assert document["front"][0]["rank"] == 1  # type: ignore[index]
    assert {"study", "run_id", "summary", "links"} <= document.keys()
    assert re.search(r"^\d\d:\d\d:\d\d trial 0 ", done.err, re.MULTILINE)  # progress goes on there


@pytest.mark.slow
def test_every_look_at_a_search_has_a_document_of_the_same_study(
    searched: tuple[Path, Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, done = searched
    monkeypatch.chdir(folder)
    study = strict(done.out)["study"]
    looks = {command: autokd(command, "--json") for command in ("status", "front", "insight")}
    assert {strict(each.out)["study"] for each in looks.values()} == {study}
    front = strict(looks["front"].out)["front"]
    assert front[0]["val_accuracy"] == strict(done.out)["front"][0]["val_accuracy"]  # type: ignore[index]
    assert sum(strict(looks["insight"].out)["states"].values()) >= 2  # type: ignore[attr-defined]
    number = str(front[0]["trial"])  # type: ignore[index]
    again = strict(autokd("run", number, "--json").out)
    assert again["val_accuracy"] == again["recorded_val_accuracy"]
    exported = strict(autokd("export", number, "--output", "out", "--json").out)
    assert exported["holds"] is True
    assert Path(str(exported["path"])).is_file()
    synced = strict(autokd("sync", "--json").out)
    assert (synced["study"], synced["front"]) == (study, len(strict(looks["front"].out)["front"]))  # type: ignore[arg-type]
    registered = strict(autokd("register", number, "--name", "mine", "--json").out)
    assert registered["uri"] == "models:/mine/1"
    assert "tracking_uri" not in registered, "it may hold a password"
    assert autokd("front", "--csv", "front.csv", "--quiet") == Done(0, "", "")
    assert (folder / "front.csv").is_file()


@pytest.mark.slow
def test_a_quiet_search_that_is_done_says_nothing_at_all(searched: tuple[Path, Done]) -> None:
    folder, _ = searched
    assert run("search", "mine.yaml", "--quiet", folder=folder) == Done(0, "", "")


@pytest.mark.slow
def test_what_a_teachers_own_code_prints_is_kept_out_of_the_document(place: Path) -> None:
    (place / "own.py").write_text(TALKATIVE)
    file = search_file(place, teacher={"model": "own:make", "train": {"epochs": 1}})
    done = run("check", file, "--json", folder=place)
    assert done.status == 0, done.err
    strict(done.out)
    assert "from the teacher's own code" in done.err
    assert "written to the stream" in done.err


# ---------------------------------------------------------------- exit statuses


def test_help_and_documentation_tell_the_same_statuses_of_every_command() -> None:
    text = (ROOT / "docs" / "exit_statuses.md").read_text()
    assert {int(status) for status in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == {
        *MEANINGS
    }
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == {*COMMANDS}
    shown = " ".join(autokd("--help").out.split())
    for status in MEANINGS:
        assert re.search(rf"[:;] {status} ", shown), status


def test_a_wrong_option_is_bad_input() -> None:
    assert autokd("front", "--colour").status == 2
    assert autokd("frond").status == 2


def hear_ctrl_c() -> None:
    """Whoever runs the tests in the background of a script has it ignored, and so have all that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.slow
def test_a_search_that_is_interrupted_says_so_by_its_status_and_goes_on(place: Path) -> None:
    file = search_file(place, search={"trials": 30})
    command = [*COMMAND, "search", file, "--json"]
    with subprocess.Popen(
        command,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    ) as search:
        assert search.stderr is not None
        seen = []
        for line in search.stderr:
            seen.append(line)
            if " trial 1 " in line:
                search.send_signal(signal.SIGINT)
                break
        out, err = search.communicate(timeout=120)
    assert search.returncode == 130, "".join(seen) + err
    document = strict(out)
    assert document["interrupted"] is True
    assert "the same command goes on" in str(document["stopped_because"])
    again = run("search", file, "--trials", "3", "--json", folder=place)
    assert again.status == 0, again.err
    assert "going on with a search" in again.err


@pytest.mark.slow
@pytest.mark.parametrize("command", [["ui", "--port", "5078"], ["latency-serve", "--port", "5079"]])
def test_a_server_that_is_stopped_with_ctrl_c_is_done(place: Path, command: list[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, *command],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    ) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if re.search(r"times graphs on|startup complete|Listening|running on", line):
                break
        time.sleep(0.5)
        os.killpg(server.pid, signal.SIGINT)  # as a terminal does: to everyone in it
        server.communicate(timeout=60)
    assert server.returncode == 0
