"""A database that somebody else has locked, damaged, or put where nothing can be written."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tracking_records import begin, make_result

from autokd.cli.completion import complete_studies
from autokd.engine.database import begun_studies, read_statuses
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE
from autokd.engine.status import load_status
from autokd.errors import ConfigError, StorageError, TrackingError
from autokd.tracking.health import store_health
from autokd.tracking.store import open_store, open_to_read

HOLDER = r"another process|process \d+ \(\S+.*\)"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr("autokd.tracking.database.BUSY_SECONDS", 0.05)
    monkeypatch.setattr("autokd.engine.ledger.BUSY_SECONDS", 0.05)


@contextmanager
def locked(path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("pragma locking_mode=exclusive")
        database.execute("begin exclusive")
        database.execute("create table more (number integer)")
        yield


@pytest.fixture
def ledger(tmp_path):
    (tmp_path / CACHE).mkdir()
    book = Ledger(f"sqlite:///{tmp_path / CACHE / 'ledger.db'}", "digits-abcdef")
    book.show({"begun": 1, "target": 2})
    yield book
    book.close()


def test_a_locked_store_is_said_to_be_with_who_has_it_and_what_to_do(store_directory):
    with locked(store_directory / "mlflow.db"):
        for use in (open_store, open_to_read, store_health):
            with pytest.raises(
                TrackingError,
                match=rf"mlflow\.db: the MLflow store is locked by ({HOLDER}); end that or wait",
            ):
                use(None, store_directory)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="asks Linux who has a lock")
def test_linux_knows_who_has_the_lock(store_directory):
    with (
        locked(store_directory / "mlflow.db"),
        pytest.raises(TrackingError, match=rf"locked by process {os.getpid()} \("),
    ):
        open_to_read(None, store_directory)


def test_a_locked_ledger_is_no_ledger_without_searches(ledger, tmp_path, monkeypatch):
    path = tmp_path / CACHE / "ledger.db"
    url = f"sqlite:///{path}?timeout=0.05"
    with locked(path):
        for use in (
            lambda: load_status(url, None),
            lambda: begun_studies(url, "digits"),
            lambda: Ledger(f"sqlite:///{path}", "other"),
            lambda: ledger.note("a", 1),
        ):
            with pytest.raises(
                StorageError, match=rf"ledger\.db.*: the ledger is locked by ({HOLDER}); end that"
            ):
                use()
    ledger.note("a", 1)
    assert ledger.notes == {"a": 1}, "nothing is lost"


def test_a_shell_completes_nothing_from_a_ledger_that_can_not_be_read(
    ledger, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert complete_studies("dig") == [("digits-abcdef", "1 of 2 trials")]
    (tmp_path / CACHE / "ledger.db").write_text("hello " * 1000)
    assert complete_studies("dig") == []


def test_only_a_ledger_that_is_not_there_has_no_searches(tmp_path):
    assert read_statuses(f"sqlite:///{tmp_path / 'none.db'}") == []
    (tmp_path / "empty.db").touch()
    assert read_statuses(f"sqlite:///{tmp_path / 'empty.db'}") == []
    with pytest.raises(ConfigError, match="no search has run here"):
        load_status(f"sqlite:///{tmp_path / 'none.db'}", None)
    (tmp_path / "other.db").write_text("hello " * 1000)
    with pytest.raises(StorageError, match=r"the ledger can't be opened: .*not a database"):
        read_statuses(f"sqlite:///{tmp_path / 'other.db'}")


def test_a_full_disk_stops_the_ledger_with_one_line_and_loses_nothing(ledger, tmp_path):
    path = tmp_path / CACHE / "ledger.db"
    ledger.note("small", 1)
    with closing(ledger._engine.raw_connection()) as connection:
        pages = connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count={pages}")  # of this connection: a full disk
    with pytest.raises(StorageError, match=r"disk is full; nothing recorded is lost, and the same"):
        ledger.note("large", "x" * 100_000)
    with closing(Ledger(f"sqlite:///{path}", "digits-abcdef")) as again:
        assert again.notes == {"small": 1}


def test_a_store_on_a_disk_that_is_mounted_to_be_read_is_read(tmp_path, make_store_directory):
    folder = tmp_path / "readable"
    folder.mkdir()
    store = open_store(None, make_store_directory(folder))
    begin(store).log_trial(make_result(0))
    folder.chmod(0o500)
    try:
        assert list(open_to_read(None, folder).experiments().values()) == [
            "autokd/digits-from-resnet18"
        ]
    finally:
        folder.chmod(0o700)
