"""Ray clusters of several nodes, which may die; and what a cluster that is not there says."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from engine_work import here, make_cache, outcome, work
from ray_tests import MARKS, collect
from test_engine_driver import CONFIG

from autokd.config import Config, override_config
from autokd.engine import ray_executor
from autokd.engine.deaths import Died
from autokd.engine.ray_executor import NODE_CACHE, RayExecutor
from autokd.engine.search import run_search
from autokd.errors import ConfigError, StorageError, StoreAwayError
from autokd.shared import Shared
from autokd.task import create_task

pytestmark = MARKS


@pytest.fixture(scope="module", autouse=True)
def leave_nothing_to_others():
    yield
    collect()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("shared") / ".autokd")


@pytest.fixture
def make_executor(cache):
    made = []

    def make(workers=2, *, config=CONFIG, folder=cache, **options):
        made.append(RayExecutor(workers, config, cache=folder, device="cpu", **options))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def test_without_an_address_no_other_cluster_is_joined(make_executor, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # as of one that is no more
    executor = make_executor(workers=1)
    executor.submit(work(0, tmp_path, epochs=1))
    _, result = executor.next_result()
    assert result.state == "complete", result.reason


def test_a_node_that_is_lost_takes_no_trial_with_it(cache, tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
        executor = RayExecutor(2, CONFIG, cache=cache, device="cpu", address=cluster.address)
        works = {n: work(n, tmp_path, epochs=60) for n in range(2)}
        for each in works.values():
            executor.submit(each)
        while not any(tmp_path.glob("*/best.safetensors")):
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)
        lost, results = 0, {}
        while len(results) < 2:
            number, result = executor.next_result()
            if isinstance(result, Died):
                lost += 1
                executor.submit(works[number])
            else:
                results[number] = outcome(result)
        assert lost >= 1
        assert {each[1] for each in results.values()} == {"complete"}
        executor.close()
    finally:
        cluster.shutdown()


@pytest.fixture
def two_nodes(tmp_path):
    """Nodes that have only a store in common: each its own cache, which is not the driver's."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [
        cluster.add_node(num_cpus=1, env_vars={NODE_CACHE: str(tmp_path / f"node{number}")})
        for number in range(2)
    ]
    yield cluster, nodes
    cluster.shutdown()


def shared_by(tmp_path: Path) -> Config:
    (tmp_path / "store").mkdir()
    url = (tmp_path / "store").as_uri()
    return override_config(CONFIG, {"search": {"shared": url}})


def test_nodes_with_caches_of_their_own_go_on_with_each_others_trials(
    two_nodes, make_executor, cache, tmp_path
):
    cluster, nodes = two_nodes
    config, driver_cache = shared_by(tmp_path), tmp_path / "driver"
    shared = Shared(config.search.shared, driver_cache)
    task = create_task(config, cache=driver_cache, shared=shared, device="cpu", threads=1)
    executor = make_executor(
        config=config, folder=driver_cache, address=cluster.address, hashes=task.hashes
    )
    paused = {}
    for number in range(2):
        executor.submit(work(number, driver_cache, until=2))
    for _ in range(2):
        number, result = executor.next_result()
        assert result.state == "stopped", result.reason
        assert result.folder == str(driver_cache / str(number))
        paused[number] = result
    caches = [tmp_path / "node0", tmp_path / "node1"]
    assert [each.exists() for each in caches] == [True, True]
    cluster.remove_node(nodes[0], allow_graceful=False)
    results = {}
    while len(results) < 2:  # one after the other at the node that is left
        for number in {0, 1} - results.keys():
            executor.submit(work(number, driver_cache, before=paused[number]))
            number, result = executor.next_result()
            if not isinstance(result, Died):
                results[number] = result
    assert [outcome(results[n]) for n in range(2)] == here(
        cache, *[work(n, tmp_path / "here") for n in range(2)]
    )
    for number in range(2):
        found, due = (
            folder / str(number) / "best.safetensors"
            for folder in (driver_cache, tmp_path / "here")
        )
        assert found.read_bytes() == due.read_bytes()
    for folder in (driver_cache, *caches):  # one training, at the driver's, for all
        (teacher,) = (folder / "teachers").iterdir()
        assert (teacher / "last.safetensors").exists() == (folder == driver_cache)


def test_a_node_that_can_not_reach_the_store_gives_its_trial_back(
    make_executor, tmp_path, monkeypatch
):
    """As long as the driver reaches it; otherwise the search ends with one line, and goes on later."""

    def away(*arguments):
        raise StoreAwayError("search.shared: does not answer")

    monkeypatch.setattr(ray_executor, "_evaluate", away)
    executor = make_executor(1, config=shared_by(tmp_path), folder=tmp_path / "driver")
    executor.submit(work(0, tmp_path / "driver"))
    assert executor.next_result() == (0, Died("its node could not reach search.shared"))
    (tmp_path / "store").rmdir()
    executor.submit(work(0, tmp_path / "driver"))
    with pytest.raises(StorageError, match="store: is not there"):
        executor.next_result()


def test_a_store_that_is_another_one_on_each_machine_is_one_line(
    make_executor, tmp_path, monkeypatch
):
    monkeypatch.setenv(NODE_CACHE, str(tmp_path / "node"))
    config = override_config(CONFIG, {"search": {"shared": "memory://each-has-its-own"}})
    (tmp_path / "driver").mkdir()
    executor = make_executor(1, config=config, folder=tmp_path / "driver")
    executor.submit(work(0, tmp_path / "driver", epochs=1))
    with pytest.raises(StorageError, match=r"what trial 0 left is not there .*; is it the same"):
        executor.next_result()


def test_a_whole_search_runs_on_nodes_that_share_a_store_alone(
    two_nodes, tmp_path, store_directory
):
    cluster, _ = two_nodes
    length = {"trials": 6, "workers": 2, "executor": "ray", "ray_address": cluster.address}
    config = override_config(shared_by(tmp_path), {"search": length})
    result = run_search(config, directory=store_directory, device="cpu")
    assert result.stopped_because == "6 trials"
    assert {r.state for r in result.results} <= {"complete", "rejected"}
    assert result.front["test_accuracy"].notna().all()


def test_without_ray_there_is_one_line(monkeypatch, cache):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'autokd\[ray\]'"):
        RayExecutor(1, CONFIG, cache=cache, device=None)


def test_a_cluster_that_does_not_answer_is_one_line(cache):
    with pytest.raises(StorageError, match=r"can't be reached: .*RAY_AUTH_MODE=token") as refused:
        RayExecutor(1, CONFIG, cache=cache, device=None, address="127.0.0.1:1")
    assert "\n" not in str(refused.value)
