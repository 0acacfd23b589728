"""A Ray cluster: results as in this process, and workers and nodes that die."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from test_engine_driver import CONFIG

from autokd.config import override_config
from autokd.engine.executors import InProcess, Work
from autokd.engine.ray_executor import RayExecutor
from autokd.engine.search import run_search
from autokd.errors import ConfigError, StorageError
from autokd.records import TEACHER, Candidate, Stage, StudentSpec, Training
from autokd.task import create_task

pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and log files to its own processes
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ray = pytest.importorskip("ray", reason="needs pip install -e .[ray]")
EPOCHS = 4


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / ".autokd"
    create_task(CONFIG, cache=folder, device="cpu", threads=1)  # trains the teacher
    return folder


def work(number: int, folder: Path, *, epochs: int = EPOCHS, until=None, before=None) -> Work:
    training = Training(
        epochs=epochs, batch_size=32, optimizer="adamw", learning_rate=1e-2, weight_decay=0.01
    )
    spec = StudentSpec(
        model="resnet",
        arguments={"width": 8, "depth": 1, "stages": 3, "stem_stride": 2},
        image_size=8,
    )
    stage = Stage(
        name="student",
        student=spec,
        teachers=(TEACHER,),
        loss_weights={"ce": 0.1, "kd": 0.9},
        temperature=4.0,
        training=training,
    )
    return Work(
        candidate=Candidate(stages=(stage,)),
        number=number,
        seed=number,
        folder=folder / str(number),
        control=None,
        cost=None,
        until=until,
        before=before,
    )


@pytest.fixture
def make_executor(cache):
    made = []

    def make(workers=2, **options):
        made.append(RayExecutor(workers, CONFIG, cache=cache, device="cpu", **options))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def outcome(result):
    return (result.number, result.state, result.reason, dict(result.val), result.seed)


def here(cache, *works):
    executor = InProcess(create_task(CONFIG, cache=cache, device="cpu", threads=1))
    found = []
    for each in works:
        executor.submit(each)
        found.append(outcome(executor.next_result()[1]))
    return found


def test_results_are_those_of_this_process(make_executor, cache, tmp_path):
    executor = make_executor()
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
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::_evaluate"):
            os.kill(int(process.name), signal.SIGKILL)


def test_a_killed_workers_trial_comes_back_and_goes_on_at_another(make_executor, cache, tmp_path):
    executor = make_executor(workers=1)
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
    assert executor.next_result() == (0, None)
    done.set()
    killer.join()
    executor.submit(second)
    number, result = executor.next_result()
    assert (number, result.state) == (0, "complete"), result.reason
    assert [outcome(result)] == here(cache, work(0, tmp_path / "here", epochs=60))


def test_a_node_that_is_lost_takes_no_trial_with_it(cache, tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
        executor = RayExecutor(2, CONFIG, cache=cache, device="cpu", address=cluster.address)
        works = {n: work(n, tmp_path, epochs=150) for n in range(2)}
        for each in works.values():
            executor.submit(each)
        while not any(tmp_path.glob("*/best.safetensors")):
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)
        lost, results = 0, {}
        while len(results) < 2:
            number, result = executor.next_result()
            if result is None:
                lost += 1
                executor.submit(works[number])
            else:
                results[number] = outcome(result)
        assert lost >= 1
        assert {each[1] for each in results.values()} == {"complete"}
        executor.close()
    finally:
        cluster.shutdown()


def test_a_whole_search_runs_on_ray(store_directory):
    config = override_config(CONFIG, {"search": {"trials": 6, "workers": 2, "executor": "ray"}})
    result = run_search(config, directory=store_directory, device="cpu")
    assert result.stopped_because == "6 trials"
    assert {r.state for r in result.results} <= {"complete", "rejected"}
    assert result.front["test_accuracy"].notna().all()


def test_a_full_disk_ends_the_search(make_executor, tmp_path):
    executor = make_executor(workers=1)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "best.safetensors").mkdir()
    executor.submit(work(0, tmp_path))
    with pytest.raises(StorageError, match="can't be written"):
        executor.next_result()


def test_without_ray_there_is_one_line(monkeypatch, cache):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'autokd\[ray\]'"):
        RayExecutor(1, CONFIG, cache=cache, device=None)


def test_a_cluster_that_does_not_answer_is_one_line(cache):
    with pytest.raises(StorageError, match="can't be reached") as refused:
        RayExecutor(1, CONFIG, cache=cache, device=None, address="127.0.0.1:1")
    assert "\n" not in str(refused.value)
