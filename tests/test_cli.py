"""The command line as a user meets it: help, examples, and one clear line for what is wrong."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from audit_files import write_even
from command_line import autokd
from PIL import Image

from autokd import __version__
from autokd.config import load_config
from autokd.data import load_data
from autokd.tracking.read import read_study
from autokd.tracking.store import open_store

ROOT = Path(__file__).parent.parent
COMMANDS = (
    "init", "search", "status", "front", "insight", "sync", "audit", "check", "space",
    "run", "export", "register", "latency-serve", "monitor", "measure", "cache", "schema", "doctor", "ui",
)  # fmt: skip
ENDLESS = ("ui", "latency-serve")  # they run until they are stopped


def help_example(command: str) -> str:
    text = " ".join(autokd(command, "--help").out.split())
    match = re.search(r"Example: (autokd .*?)(?: ╰| ╭|$)", text)
    assert match, text
    return match[1]


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example_that_names_it(command: str) -> None:
    assert help_example(command).startswith(f"autokd {command}")


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy_and_so_answers_at_once(command: str) -> None:
    """Importing torch or mlflow takes seconds; without them help needs a third of one."""
    code = (
        f"import sys; sys.argv = ['autokd', '{command}', '--help']\n"
        "from autokd import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'timm', 'mlflow', 'optuna', 'pandas', 'numpy') if m in sys.modules])"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["search", "check", "space", "run"])
def test_a_wrong_file_is_answered_before_anything_heavy_is_imported(
    command: str, tmp_path: Path
) -> None:
    code = (
        f"import sys; sys.argv = ['autokd', '{command}', 'none.yaml']\n"
        "from autokd import cli\n"
        "try: cli.main()\n"
        "except SystemExit as ended: print(ended.code)\n"
        "print([m for m in ('torch', 'timm', 'mlflow', 'optuna', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split("\n")[:2] == ["2", "[]"]
    assert done.stderr == "autokd: none.yaml: can't be read: No such file or directory\n"


def test_it_says_its_version() -> None:
    assert autokd("--version").out == f"autokd {__version__}\n"


def test_the_schema_is_json_that_knows_every_section() -> None:
    assert set(json.loads(autokd("schema").out)["properties"]) >= {
        "data",
        "teacher",
        "budget",
        "students",
    }


# ---------------------------------------------------------------- bad input


@pytest.fixture
def place(store_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an empty store: making one takes seconds."""
    monkeypatch.chdir(store_directory)
    return store_directory


def search_file(place: Path, **changes: Any) -> str:
    """A tiny search; `changes` replace values by path, `students__model=…`; `...` removes one."""
    record = yaml.safe_load((ROOT / "search_spaces/quickstart.yaml").read_text())
    record["teacher"]["train"]["epochs"] = record["train"]["epochs"] = 1
    record["search"] = {"trials": 2}
    record["budget"]["runtime"] = "pytorch"  # an export to ONNX takes seconds
    for path, value in changes.items():
        *parents, key = path.split("__")
        section = record
        for parent in parents:
            section = section.setdefault(parent, {})
        if value is ...:
            del section[key]
        else:
            section[key] = value
    (place / "mine.yaml").write_text(yaml.safe_dump(record))
    return "mine.yaml"


def make_images(folder: Path, classes: str = "ab") -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def broken_images(place: Path) -> dict[str, Any]:
    (make_images(place / "images") / "a/3.png").write_bytes(b"no image")
    return {"data": {"source": "folder", "root": "images"}}


def one_class(place: Path) -> dict[str, Any]:
    make_images(place / "images", "a")
    return {"data": {"source": "folder", "root": "images"}}


def no_images(place: Path) -> dict[str, Any]:
    (place / "images").mkdir()
    return {"data": {"source": "folder", "root": "images"}}


def checkpoint_that_runs_code(place: Path) -> dict[str, Any]:
    torch.save({"w": _RunsCode()}, place / "teacher.pt")
    return {"teacher": {"model": "resnet18", "checkpoint": "teacher.pt"}}


def checkpoint_of_another_model(place: Path) -> dict[str, Any]:
    torch.save({"w": torch.zeros(3)}, place / "teacher.pt")
    return {"teacher": {"model": "resnet18", "checkpoint": "teacher.pt"}}


def metadata_of_other_images(place: Path) -> dict[str, Any]:
    (place / "meta.csv").write_text("index,site\n90000,a\n90001,b\n")
    return {"data__metadata": {"path": "meta.csv"}}


def metadata_without_the_key(place: Path) -> dict[str, Any]:
    (place / "meta.csv").write_text("file,site\na.png,a\n")
    return {"data__metadata": {"path": "meta.csv"}}


def changed(**changes: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda place: changes


class _RunsCode:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


BAD_INPUT = {
    "missing key": (changed(data=...), r"mine.yaml: data: is missing"),
    "misspelt key": (
        changed(distill__temprature=3),
        r"distill: unknown key 'temprature'; known keys: .*Did you mean 'temperature'\?",
    ),
    "low above high": (
        changed(distill__temperature={"low": 8, "high": 1}),
        r"distill.temperature: low must be <= high, got low=8.0, high=1.0",
    ),
    "unknown model": (
        changed(students__model=["resnet", "mobilenetv3_smal_100"], students__families={}),
        r"students.model: unknown model .*Did you mean 'mobilenetv3_small_100'\?",
    ),
    "unknown loss": (
        changed(distill__loss="kdd"),
        r"distill.loss: unknown 'kdd'.*Did you mean 'kd'\?",
    ),
    "unknown data set": (changed(data__source="digit"), r"data.source: .*Did you mean 'digits'\?"),
    "wildcard without match": (
        changed(students__model=["resnet", "foonet*"], students__families={}),
        r"students.model: no timm model matches 'foonet\*'",
    ),
    "budget that nothing meets": (
        changed(budget__max_macs="1k"),
        r"budget: none of \d+ sampled students fits it; smallest found: macs .* \(limit 1.00k\)",
    ),
    "no images": (no_images, r"images: holds no class folder"),
    "one class": (one_class, r"images/a: is the only class folder, a classifier needs two"),
    "no such folder": (
        changed(data={"source": "folder", "root": "none"}),
        r"none: is not a folder",
    ),
    "unreadable image": (broken_images, r"images/a/3.png: is not a readable image"),
    "checkpoint of another model": (
        checkpoint_of_another_model,
        r"teacher.pt: does not fit resnet18 .*\d+ missing .*these are weights of another model",
    ),
    "checkpoint that runs code": (checkpoint_that_runs_code, r"teacher.pt: .*would run code"),
    "metadata of other images": (metadata_of_other_images, r"meta.csv: no row of column 'index'"),
    "metadata without the key": (
        metadata_without_the_key,
        r"meta.csv: has no column 'index' .*it has file",
    ),
    "image size that a model can't take": (
        changed(students__image_size=[8, 2]),
        r"2 px: .*choose another image size",
    ),
    "model without stochastic depth": (
        changed(
            students__model="densenet121", students__families={}, train__drop_path_rate=[0.0, 0.1]
        ),
        r"densenet121.*unexpected keyword argument 'drop_path_rate'",
    ),
    "transformer at a wrong size": (
        changed(
            students__model=["swin_tiny_patch4_window7_224"],
            students__families={},
            students__image_size=3,
        ),
        r"swin_tiny_patch4_window7_224.*3 px",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_gets_one_line_and_status_2(place: Path, name: str) -> None:
    make, message = BAD_INPUT[name]
    done = autokd("search", search_file(place, **make(place)))
    assert done.status == 2
    assert re.fullmatch(rf"autokd: .*{message}.*\n", done.err), done.err
    assert not (place / "ran").exists()


@pytest.mark.slow
def test_an_mlflow_server_that_is_not_there_stops_no_search_and_gets_it_later(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autokd.tracking.write.PATIENCE", 0.0)
    away = ["--tracking-uri", "http://127.0.0.1:9"]
    done = autokd("search", search_file(place), *away)
    assert done.status == 0, done.err
    lines = done.err.splitlines()
    (told,) = (n for n, line in enumerate(lines) if "http://127.0.0.1:9 does not answer (" in line)
    assert told < min(n for n, line in enumerate(lines) if "training teacher" in line)
    (study,) = re.findall(
        r"MLflow was away: .* back: autokd sync (\S+) --tracking-uri http", done.out
    )
    assert autokd("sync", study, *away).status == 2
    assert autokd("sync", study).status == 0
    assert study in autokd("front").out


@pytest.mark.parametrize("command", [["front"], ["sync"], ["run", "0"]])
def test_an_mlflow_server_that_is_to_be_read_and_is_not_there_is_bad_input(
    place: Path, command: list[str]
) -> None:
    (place / ".autokd").mkdir()
    done = autokd(*command, "--tracking-uri", "http://127.0.0.1:9")
    assert done.status == 2
    assert done.err.count("\n") == 1, done.err


def test_a_budget_on_the_command_line_is_checked_like_one_in_the_file(place: Path) -> None:
    done = autokd("search", search_file(place), "--max-macs", "3 apples")
    assert done.status == 2
    assert (
        "budget.max_macs: expected 300M, 1.5G, 200k or a plain number, got '3 apples'" in done.err
    )


def test_a_place_that_cannot_be_written_is_refused(place: Path) -> None:
    """A regular file stands where the folder should be: root, who runs CI, may write everywhere else."""
    (place / ".autokd").write_text("")
    done = autokd("search", search_file(place))
    assert done.status == 2
    assert re.fullmatch(r"autokd: .*\.autokd: can't be written: .*\n", done.err), done.err


@pytest.mark.parametrize("command", [["front"], ["run", "3"], ["ui"]])
def test_reading_before_any_search_says_so_and_makes_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = autokd(*command)
    assert done.status == 2
    assert "run `autokd search` first" in done.err
    assert not (tmp_path / "mlflow.db").exists()


def test_a_file_that_is_no_candidate_is_refused_by_name(place: Path) -> None:
    done = autokd("run", search_file(place))
    assert done.status == 2
    assert "mine.yaml: is no candidate file" in done.err


@pytest.mark.slow
def test_a_search_that_is_refused_leaves_earlier_records_whole(place: Path) -> None:
    assert autokd("search", search_file(place)).status == 0
    before = autokd("front").out
    assert autokd("search", search_file(place, budget__max_macs="1k")).status == 2
    assert autokd("front").out == before


# ---------------------------------------------------------------- examples, on a real search


@pytest.fixture(scope="module")
def searched(quickstart: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the quickstart has been run."""
    place = tmp_path_factory.mktemp("searched") / "quickstart"
    shutil.copytree(quickstart, place)
    write_even(place)  # what the example of `autokd audit` reads
    before = Path.cwd()
    os.chdir(place)
    try:
        write_new_images(place / "new.npz")
        yield place
    finally:
        os.chdir(before)


def write_new_images(path: Path) -> None:
    """What the example of `autokd monitor` reads: the quickstart's val, in which nothing can have changed."""
    config = load_config(ROOT / "search_spaces/quickstart.yaml")
    data = load_data(config.data, seed=config.seed, cache=path.parent)
    np.savez(path, images=torch.stack([*data.val.images]).squeeze(1).numpy())


@pytest.mark.slow
def test_the_quickstart_leaves_a_front_beside_teacher_and_control(searched: Path) -> None:
    out = (searched / "out.txt").read_text()
    frame = __import__("autokd").front()
    trials = read_study(open_store(None, searched, create=False), None).trials
    done = trials[trials.state == "complete"]
    beaten = {
        one.number
        for one in done.itertuples()
        for other in done.itertuples()
        if other.val_accuracy >= one.val_accuracy
        and other.macs <= one.macs
        # better on one of the two, or equal and earlier
        and (-other.val_accuracy, other.macs, other.number)
        < (-one.val_accuracy, one.macs, one.number)
    }
    assert set(frame["trial"]) == set(done.number) - beaten
    assert len(frame) >= 2  # which students end on it depends on which of two workers is faster
    assert re.search(r"resnet +T +\d+\.\d %", out)  # the teacher
    assert "(large" in out  # the control without distillation
    assert "labels→S" in out
    assert frame["test_accuracy"].notna().all()
    assert (frame["macs"] <= 1e6).all()
    assert frame["val_accuracy"].is_monotonic_decreasing


@pytest.mark.slow
def test_examples_of_help_run_as_they_stand(searched: Path) -> None:
    make_images(searched / "images")  # what the example of `autokd init` looks at
    runs = [command for command in COMMANDS if command not in ENDLESS]
    for example in [help_example(command) for command in runs]:
        arguments = shlex.split(example.split(">")[0])[1:]
        done = autokd(*arguments)
        assert done.status == 0, f"{example}\n{done.out}\n{done.err}"


@pytest.mark.slow
def test_a_candidate_run_again_gives_the_same_accuracy(searched: Path) -> None:
    trial = int(__import__("autokd").front()["trial"].iloc[0])
    done = autokd("run", str(trial), "--output", "kept")
    assert done.status == 0
    assert "(the same)" in done.out, done.out
    kept = searched / "kept"
    assert {"best.safetensors", "candidate.yaml", "audit"} <= {p.name for p in kept.iterdir()}
    again = autokd("run", str(trial), "--output", "kept")
    assert (again.status, again.err.count("\n")) == (2, 1)
    assert re.search(r"--output kept: holds audit, best.* already; name a new folder", again.err)
    odd = re.sub(r"width: \d+", "width: 3.5", (kept / "candidate.yaml").read_text(), count=1)
    (searched / "odd.yaml").write_text(odd)
    failed = autokd("run", "odd.yaml")
    assert failed.status == 1, failed
    assert "failed: " in failed.out


@pytest.mark.slow
def test_the_ui_serves_the_store_on_the_loopback_address(searched: Path) -> None:
    command = [sys.executable, "-m", "autokd.cli", "ui", "--port", "5077"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as ui:
        try:
            for _ in range(120):
                try:
                    with urllib.request.urlopen(
                        "http://127.0.0.1:5077/health", timeout=2
                    ) as answer:
                        assert answer.status == 200
                    break
                except OSError:
                    time.sleep(1)
            else:
                pytest.fail("the UI did not answer within two minutes")
        finally:
            os.killpg(ui.pid, 15)
