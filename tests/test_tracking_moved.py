"""A store whose folder was moved or copied: its files are found there, and nothing is written where it was."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service import utils
from tracking_records import begin, finish, make_folder, make_result

from autokd.engine.ledger import Ledger, Proposal
from autokd.engine.place import CACHE, only_driver
from autokd.tracking.find import fetch_trial
from autokd.tracking.store import open_store, ui_command


@pytest.fixture
def original(tmp_path, make_store_directory):
    """A folder with a finished search; its trial 0 has files."""
    folder = tmp_path / "the original"
    folder.mkdir()
    store = open_store(None, make_store_directory(folder))
    made = make_folder(folder / CACHE / "studies" / "digits" / "0000")
    finish(begin(store), [make_result(0, folder=made), make_result(1)], [0])
    utils._artifact_repos_cache.clear()  # MLflow's, by run id: what follows is another process's
    return folder


def files_below(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.stat().st_mtime for path in folder.rglob("*")}


def artifact_uris(folder: Path) -> list[str]:
    store = open_store(None, folder, create=False)
    return [run.info.artifact_uri for run in store.runs(store.experiment_ids())]


def test_a_copy_finds_its_own_files_and_writes_nothing_into_the_original(
    original, tmp_path, caplog
):
    copy = tmp_path / "a copy"
    shutil.copytree(original, copy)
    before = files_below(original)
    with caplog.at_level(logging.WARNING):
        store = open_store(None, copy)
    assert f"mlflow.db was written in {original} and is in {copy} now: 5 paths" in caplog.text
    fetch_trial(store, "digits/0", tmp_path)
    finish(begin(store), [make_result(n) for n in range(3)], [2])
    assert len(artifact_uris(copy)) == 5
    assert all(uri.startswith(copy.as_uri()) for uri in artifact_uris(copy))
    assert files_below(original) == before
    caplog.clear()
    open_store(None, copy)
    assert not caplog.text, "it is said once"


def test_a_moved_store_is_read_where_it_is(original, tmp_path):
    moved = original.rename(tmp_path / "moved 100")
    fetch_trial(open_store(None, moved, create=False), "digits/0", tmp_path)
    assert all(uri.startswith(moved.as_uri()) for uri in artifact_uris(moved))
    assert not original.exists()


def test_the_interface_shows_a_moved_stores_files(original, tmp_path):
    moved = original.rename(tmp_path / "moved")
    ui_command(None, moved)
    assert all(uri.startswith(moved.as_uri()) for uri in artifact_uris(moved))


def test_a_run_whose_files_stayed_behind_is_read_there(original, tmp_path):
    """A database that several folders' searches are written into, or one that was copied alone."""
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("mlflow.db", "mlflow.db-wal"):
        shutil.copy(original / name, alone)
    store = open_store(None, alone)
    fetch_trial(store, "digits/0", tmp_path)
    experiments = map(store.client.get_experiment, store.experiment_ids())
    assert all(each.artifact_location.startswith(alone.as_uri()) for each in experiments)


def test_nothing_changes_under_a_search_that_is_driven_in_the_same_folder_by_another_name(
    original, tmp_path
):
    other = tmp_path / "as a container sees it"
    shutil.copytree(original, other)
    with only_driver(other / CACHE, "digits"):
        assert all(uri.startswith(original.as_uri()) for uri in artifact_uris(other))
    assert all(uri.startswith(other.as_uri()) for uri in artifact_uris(other))


def test_a_ledger_names_trials_folders_where_it_is_now(tmp_path):
    there, here = tmp_path / "there" / CACHE, tmp_path / "here" / CACHE
    there.mkdir(parents=True)
    book = Ledger(f"sqlite:///{there / 'ledger.db'}", "digits", cache=there)
    result = make_result(0, folder=str(there / "studies" / "digits" / "0000"))
    book.add(Proposal(candidate=result.candidate, params={}))
    book.record(result)
    book.close()
    shutil.copytree(there, here)
    again = Ledger(f"sqlite:///{here / 'ledger.db'}", "digits", cache=here)
    assert again.results == [replace(result, folder=str(here / "studies" / "digits" / "0000"))]
    again.close()
