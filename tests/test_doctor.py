"""`autokd doctor` on what works and on what is broken: a finding each, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from command_line import Done, autokd
from test_cli import ROOT, place

from autokd.doctor import examine
from autokd.doctor.stores import examine_stores
from autokd.engine.database import ledger_url
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE

__all__ = ["place"]  # a fixture


def found(folder: Path, **stores: str | None) -> dict[str, tuple[str, str]]:
    """State and words of each store, by name."""
    given = {"tracking_uri": None, "ledger": None, **stores}
    return {each.name: (each.state, each.found) for each in examine_stores(folder, **given)}


@pytest.mark.slow
def test_where_all_is_well_each_line_says_so_and_the_status_is_0(place: Path) -> None:
    done = autokd("doctor")
    assert done.status == 0, done.out
    assert not re.search("^(warning|problem)", done.out.replace("warning disk", ""), re.MULTILINE)
    for line in (
        r"ok +python +3\.\d+",
        r"ok +torch +\d+\.\d+",
        r"ok +torch and torchvision +of one build",
        r"ok +CPU +.*of memory",
        r"ok +ONNX Runtime +.*runs a graph",
        r"ok +MLflow store +.*mlflow\.db, its schema is up to date, searches in it: 0",
        r"ok +ledger +.*which the first search makes",
    ):
        assert re.search(f"^{line}", done.out, re.MULTILINE), f"{line}\n{done.out}"
    assert not (place / CACHE).exists()


@pytest.mark.slow
def test_json_says_the_same_and_whether_a_search_would_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_text("no database")
    done = autokd("doctor", "--json")
    assert done.status == 1
    report = json.loads(done.out)
    assert report["works"] is False
    problems = [each["name"] for each in report["checks"] if each["state"] == "problem"]
    assert problems == ["MLflow store"]


def test_a_store_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("no database")
    url = f"sqlite:///{tmp_path / 'x.db'}"
    report = found(tmp_path, tracking_uri=url, ledger=url)
    assert report["MLflow store"][0] == report["ledger"][0] == "problem"
    assert "is not an SQLite database" in report["MLflow store"][1]
    assert "file is not a database" in report["ledger"][1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that somebody holds and on which nobody answers: connections wait."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_servers_that_do_not_answer_are_problems_without_their_passwords(
    tmp_path: Path, silent_port: int
) -> None:
    report = found(
        tmp_path,
        tracking_uri=f"http://me:secret@127.0.0.1:{silent_port}",
        ledger=f"postgresql+psycopg://me:secret@127.0.0.1:{silent_port}/searches",
    )
    assert report["MLflow store"][0] == report["ledger"][0] == "problem"
    assert "does not answer" in report["MLflow store"][1]
    assert "can't be opened" in report["ledger"][1]
    assert "secret" not in str(report)


@pytest.mark.parametrize(
    ("stores", "name", "words"),
    [
        ({"tracking_uri": "file:./mlruns"}, "MLflow store", "is not a store that autokd can use"),
        ({"ledger": "nonsense"}, "ledger", "is no database"),
        ({"ledger": "oracle://host/name"}, "ledger", "is no database"),
        ({"ledger": "postgresql+pg8000://host/name"}, "ledger", "the ledger needs pg8000; pip"),
    ],
)
def test_an_address_that_is_none_is_a_problem(
    tmp_path: Path, stores: dict[str, str], name: str, words: str
) -> None:
    state, said = found(tmp_path, **stores)[name]
    assert state == "problem"
    assert re.search(words, said)


def test_what_is_not_there_yet_is_no_problem_and_is_not_made(tmp_path: Path) -> None:
    report = found(tmp_path)
    assert {state for state, _ in report.values()} <= {"ok", "warning"}  # the disk may be small
    assert report["ledger"][1].endswith("which the first search makes")
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_tells_how_many_searches_it_holds(tmp_path: Path) -> None:
    (tmp_path / CACHE).mkdir()
    for study in ("a-000000", "b-000000"):
        with closing(Ledger(ledger_url(None, tmp_path / CACHE), study)) as ledger:
            ledger.note("identity", {})
    assert found(tmp_path)["ledger"][1].endswith("ledger.db, searches in it: 2")


@pytest.mark.skipif(
    not Path("/sys/kernel").is_dir(), reason="needs Linux's /sys: root may not write there either"
)
def test_a_folder_that_cannot_be_written_is_a_problem() -> None:
    report = found(Path("/sys"))
    assert report["folder"][0] == report["MLflow store"][0] == "problem"
    assert "can't be written" in report["folder"][1]


def broken(folder: Path, package: str, text: str) -> Done:
    """The command where a package raises this when it is imported."""
    (folder / "broken" / package).mkdir(parents=True)
    (folder / "broken" / package / "__init__.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "autokd.cli", "doctor", "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder / 'broken'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("torch", {"torch", "torch and torchvision", "CPU", "GPU", "ONNX Runtime"}),
        ("mlflow", {"mlflow"}),
        ("sqlalchemy", {"ledger"}),
        ("timm", {"timm"}),
        ("onnxruntime", {"onnxruntime", "ONNX Runtime"}),
    ],
)
def test_a_broken_package_is_named_and_everything_else_is_still_examined(
    tmp_path: Path, package: str, names: set[str]
) -> None:
    done = broken(tmp_path, package, "raise OSError('libbroken.so: cannot open shared object')")
    assert done.status == 1, done.err
    assert "Traceback" not in done.err
    checks = json.loads(done.out)["checks"]
    problems = {each["name"] for each in checks if each["state"] == "problem"}
    assert names <= problems
    assert {"python", "folder", "disk"} <= {each["name"] for each in checks} - problems


@pytest.mark.slow
def test_every_check_has_a_name_and_says_something(tmp_path: Path) -> None:
    for each in examine(tmp_path):
        assert each.name
        assert each.found
        assert each.state == "ok" or each.advice or each.state == "problem"
