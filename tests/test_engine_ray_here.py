"""Ray on this machine, started once for all tests here: results as in this process, and a worker that dies."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from engine_work import here, make_cache, outcome, work
from ray_tests import MARKS, collect, ray
from test_engine_driver import CONFIG

from autokd.config import override_config
from autokd.engine.deaths import Died
from autokd.engine.ray_executor import RayExecutor
from autokd.engine.search import run_search
from autokd.errors import DataError, StorageError

pytestmark = MARKS


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One Ray, which executors find and leave as it is."""
    ray.init("local", log_to_driver=False, logging_level="warning", include_dashboard=False)
    yield
    ray.shutdown()
    collect()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("shared") / ".autokd")


def make_executor(cache, workers=1, **options):
    """Does not start Ray, and does not end it."""
    return RayExecutor(workers, CONFIG, cache=cache, device="cpu", **options)


def test_results_are_those_of_this_process(cache, tmp_path):
    executor = make_executor(cache, workers=2)
    for number in range(2):
        executor.submit(work(number, tmp_path / "ray"))
    assert not executor.has_room
    found = sorted(outcome(executor.next_result()[1]) for _ in range(2))
    assert executor.has_room
    assert found == here(cache, *[work(n, tmp_path / "here") for n in range(2)])


def kill_worker_of(folder: Path, done: threading.Event) -> None:
    """Once its first weights are there, the process that wrote them is killed."""
    while not done.is_set() and not (folder / "best.safetensors").exists():
        time.sleep(0.02)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # another one may end meanwhile
            if "".join(process.cmdline()).startswith("ray::_evaluate"):
                process.kill()


def test_a_killed_workers_trial_comes_back_and_goes_on_at_another(cache, tmp_path):
    executor = make_executor(cache)
    first = work(0, tmp_path, epochs=60, until=2)
    executor.submit(first)
    _, paused = executor.next_result()
    assert paused.state == "stopped"
    (tmp_path / "0" / "best.safetensors").unlink()  # comes back with the next epoch that is better
    done = threading.Event()
    killer = threading.Thread(target=kill_worker_of, args=(tmp_path / "0", done))
    killer.start()
    second = replace(first, until=None, before=paused)
    executor.submit(second)
    assert executor.next_result() == (0, Died())
    done.set()
    killer.join()
    executor.submit(second)
    number, result = executor.next_result()
    assert (number, result.state) == (0, "complete"), result.reason
    assert [outcome(result)] == here(cache, work(0, tmp_path / "here", epochs=60))


def test_a_node_with_other_images_ends_the_search(cache, tmp_path):
    executor = make_executor(cache, hashes=("other images", "the same teacher"))
    executor.submit(work(0, tmp_path))
    with pytest.raises(DataError, match="images and teacher are not the driver's") as refused:
        executor.next_result()
    assert "\n" not in str(refused.value)


def test_a_whole_search_runs_on_ray(store_directory):
    config = override_config(CONFIG, {"search": {"trials": 6, "workers": 2, "executor": "ray"}})
    result = run_search(config, directory=store_directory, device="cpu")
    assert result.stopped_because == "6 trials"
    assert {r.state for r in result.results} <= {"complete", "rejected"}
    assert result.front["test_accuracy"].notna().all()


def test_a_full_disk_ends_the_search(cache, tmp_path):
    executor = make_executor(cache)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "best.safetensors").mkdir()
    executor.submit(work(0, tmp_path))
    with pytest.raises(StorageError, match="can't be written"):
        executor.next_result()
