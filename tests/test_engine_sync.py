"""MLflow written again from the ledger alone."""

from __future__ import annotations

import re

import pytest
from test_engine_driver import CONFIG, interrupt_after, search, with_trials

from autokd.api.read import front
from autokd.engine.database import ledger_url
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE, only_driver
from autokd.engine.sync import sync_search
from autokd.errors import ConfigError, StorageError
from autokd.tracking.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_latency")]


def everything(directory) -> dict[str, tuple]:
    """All runs of a store, by name, with what does not depend on when they were written."""
    store = open_store(None, directory, create=False)
    runs = list(store.runs(store.experiment_ids()))
    found = {}
    for run in runs:
        files = {file.path for file in store.client.list_artifacts(run.info.run_id)}
        files |= {file.path for file in store.client.list_artifacts(run.info.run_id, "report")}
        points = {
            key: len(store.client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
        }
        untimed = ("autokd.begun_ms", "mlflow.parentRunId", "mlflow.note.content")
        tags = {key: value for key, value in run.data.tags.items() if key not in untimed}
        values = (run.info.status, run.data.params, run.data.metrics, points, tags, files)
        assert run.info.run_name not in found
        found[run.info.run_name] = values
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory, make_store_directory, quick_latency):
    directory = make_store_directory(tmp_path_factory.mktemp("finished"))
    return directory, search(directory)


def sync(directory, study=None, uri=None):
    return sync_search(study, directory=directory, tracking_uri=uri, ledger=None)


def test_writing_again_changes_nothing(finished):
    directory, _ = finished
    before = everything(directory)
    sync(directory)
    assert everything(directory) == before


def test_another_store_gets_the_search_as_it_is(finished, tmp_path, make_store_directory):
    directory, result = finished
    make_store_directory(tmp_path)
    synced = sync(directory, result.study, f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert str(tmp_path) in synced.address
    assert everything(tmp_path) == everything(directory)
    assert front(directory=tmp_path).equals(front(directory=directory))
    assert (synced.study, synced.trials, synced.front) == (
        result.study, len(result.results), len(result.front),
    )  # fmt: skip


def test_a_search_that_has_not_ended_is_written_as_far_as_it_is(tmp_path, make_store_directory):
    first, other = tmp_path / "first", tmp_path / "other"
    for directory in (first, other):
        directory.mkdir()
        make_store_directory(directory)
    begun = search(first, with_trials(8), observe=interrupt_after(4))
    synced = sync(first, uri=f"sqlite:///{other / 'mlflow.db'}")
    assert synced.front is None
    runs = everything(other)
    assert {r.name for r in begun.results} <= runs.keys()
    assert runs[begun.study][0] == "KILLED"
    store = open_store(None, other)
    (study,) = store.tagged(store.experiment_ids(), {"autokd.kind": "study"})
    assert begun.summary in study.data.tags["mlflow.note.content"]


def test_a_search_that_runs_is_left_to_its_driver(finished):
    directory, result = finished
    with (
        only_driver(directory / CACHE, result.study),
        pytest.raises(StorageError, match=f"search {result.study} is already running here"),
    ):
        sync(directory)


def test_an_unknown_study_is_named_with_those_that_are_known(finished):
    directory, result = finished
    with pytest.raises(ConfigError, match=rf"no search nosuch .*known: {re.escape(result.study)}"):
        sync(directory, "nosuch")


def test_a_ledger_without_the_searchs_record_says_what_to_do(tmp_path):
    (tmp_path / CACHE).mkdir()
    ledger = Ledger(ledger_url(None, tmp_path / CACHE), f"{CONFIG.name}-000000")
    ledger.note("identity", {})
    ledger.show({"running": [], "front": []})
    ledger.close()
    with pytest.raises(ConfigError, match=r"begun by an earlier autokd.*search command again"):
        sync(tmp_path)
