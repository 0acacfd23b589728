"""What all tests share: one CPU thread for torch, and an MLflow store without the cost of its migrations."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from command_line import STRICT, autokd
from filelock import FileLock
from tiny_task import QUICK

from autokd.tracking.store import Store, open_store

SEARCH_SPACES = Path(__file__).parent.parent / "search_spaces"

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for what tests start: two of them share two cores
os.environ["PYTHONWARNINGS"] = STRICT
os.environ.pop("COLUMNS", None)  # xdist says 80 where there is no terminal


@pytest.fixture(autouse=True)
def quiet_log() -> None:
    """Commands make the program's log talk, in the process of the test that ran them too: the next one's is as it was."""
    logging.getLogger("autokd").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("migrated")
    open_store(None, directory)
    return directory / "mlflow.db"


@pytest.fixture(scope="session")
def make_store_directory(migrated_database: Path) -> Callable[[Path], Path]:
    """Makes an empty store in an existing folder."""

    def make(directory: Path) -> Path:
        with (
            closing(sqlite3.connect(migrated_database)) as source,
            closing(sqlite3.connect(directory / "mlflow.db")) as copy,
        ):
            source.backup(copy)
        return directory

    return make


@pytest.fixture
def store_directory(tmp_path: Path, make_store_directory: Callable[[Path], Path]) -> Path:
    return make_store_directory(tmp_path)


@pytest.fixture
def store(store_directory: Path) -> Store:
    return open_store(None, store_directory)


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quickstart was run, and ``out.txt``, what it said: once for all of pytest's processes, so to be copied."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    place = root / "quickstart"
    with FileLock(root / "quickstart.lock"):
        if not (place / "out.txt").exists():
            shutil.copytree(SEARCH_SPACES, place / "search_spaces", dirs_exist_ok=True)
            with contextlib.chdir(place):
                done = autokd("search", "search_spaces/quickstart.yaml")
            assert done.status == 0, done.err
            (place / "out.txt").write_text(done.out)
    return place


@pytest.fixture(scope="module")
def quick_latency() -> Iterator[None]:
    """Latencies from a few calls in PyTorch instead of an export to ONNX, where they are not the point."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autokd.task.choose_probe", lambda **_: QUICK)
        yield


@pytest.fixture(scope="session")
def published_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as timm publishes them, of its ``test_efficientnet.r160_in1k``: random ones, 1000 classes, three channels."""
    import timm
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = timm.create_model("test_efficientnet.r160_in1k", pretrained=False)
    path = tmp_path_factory.mktemp("published") / "model.safetensors"
    save_file(model.state_dict(), path)
    return path


@pytest.fixture
def printed(capsys, monkeypatch):
    """What is printed at a width."""

    def lines(width: int, print_it) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        print_it()
        return capsys.readouterr().out.splitlines()

    return lines
