"""Opening a store, and refusing one."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, contextmanager

import pytest
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
from tracking_records import begin, finish, make_result, trial_runs

from autokd.errors import TrackingError
from autokd.tracking.database import holds_nothing
from autokd.tracking.store import ENVIRONMENT, open_store, ui_command

# Names under which mlflow takes itself for tested, and keeps quiet.
TEST_MARKS = ("CI", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "GITHUB_ACTIONS")


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def _run_python(code: str, *arguments: str, **options) -> subprocess.Popen:
    env = {k: v for k, v in os.environ.items() if k not in (*TEST_MARKS, *ENVIRONMENT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def _output(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


@contextmanager
def _server(directory, port):
    argv, env = ui_command(None, directory, port=port)
    process = subprocess.Popen(
        argv, env=env, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(60)


def test_importing_the_package_does_not_import_mlflow_or_pandas():
    code = (
        "import sys, autokd.tracking.write, autokd.tracking.read, autokd.tracking.find\n"
        "print(sorted({'mlflow', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert _output(_run_python(code)) == "[]\n"


def test_opening_leaves_no_tracking_address_behind_for_others(store):
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert store.client.tracking_uri == store.uri


def test_artifacts_stay_with_the_store_when_the_working_directory_is_elsewhere(
    store, tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    finish(begin(store), [make_result(0)], [0])
    assert not list((tmp_path / "elsewhere").iterdir())
    assert list((tmp_path / "mlartifacts" / "digits-from-resnet18").glob("*/artifacts/report"))


def test_a_path_with_a_space_is_fine(make_store_directory, tmp_path):
    directory = tmp_path / "two words"
    directory.mkdir()
    store = open_store(None, make_store_directory(directory))
    begin(store).log_trial(make_result(0))
    assert list(trial_runs(store)) == [0]
    assert (directory / "mlartifacts").is_dir()


def test_the_database_is_in_wal_mode(store_directory):
    open_store(None, store_directory)
    with closing(sqlite3.connect(store_directory / "mlflow.db")) as database:
        assert database.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_new_store_that_may_come_later_is_made_when_it_is_used(make_store_directory, tmp_path):
    store = open_store(None, tmp_path, later=True)
    assert store.is_new
    assert not (tmp_path / "mlflow.db").exists()
    make_store_directory(tmp_path)
    begin(store).log_trial(make_result(0))
    assert list(trial_runs(store)) == [0]
    (tmp_path / "other.db").write_text("not a database")
    with pytest.raises(TrackingError, match="not an SQLite database"):
        open_store(f"sqlite:///{tmp_path / 'other.db'}", tmp_path, later=True)


def test_a_server_that_does_not_run_is_an_error_within_seconds(tmp_path):
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:\d+ does not answer \(.*refused"):
        open_store(f"http://127.0.0.1:{_free_port()}/", tmp_path)
    assert time.monotonic() - start < 5


def test_a_password_is_not_repeated_in_messages(tmp_path):
    with pytest.raises(TrackingError, match="server http://127") as caught:
        open_store(f"http://me:secret@127.0.0.1:{_free_port()}", tmp_path)
    assert "secret" not in str(caught.value)


def test_a_folder_that_can_not_be_written_is_an_error_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    start = time.monotonic()
    with pytest.raises(TrackingError, match="can't be written: Not a directory"):
        open_store(None, tmp_path / "file" / "below")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "uri", ["mlruns", "file:///tmp/mlruns", "sqlite:///:memory:", "databricks"]
)
def test_other_kinds_of_store_are_refused_with_what_is_allowed(uri, tmp_path):
    with pytest.raises(TrackingError, match=r"not a store .*; give sqlite:////.* or the http"):
        open_store(uri, tmp_path)


def test_a_percent_sign_in_the_path_is_refused_since_mlflow_would_hang(tmp_path):
    with pytest.raises(TrackingError, match="path holds '%'"):
        open_store(None, tmp_path / "50%")


def test_reading_a_store_that_does_not_exist_makes_none(tmp_path):
    with pytest.raises(TrackingError, match=r"no MLflow store .*run `autokd search` first"):
        open_store(None, tmp_path / "new", create=False)
    with pytest.raises(TrackingError, match="run `autokd search` first"):
        ui_command(None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_database_of_an_older_mlflow_is_not_migrated_unasked(store_directory):
    path = store_directory / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("update alembic_version set version_num = '451aebb31d03'")
        database.commit()
    with pytest.raises(TrackingError, match=r"copy the file, then run `mlflow db upgrade sqlite:"):
        open_store(None, store_directory)


def test_a_database_of_a_newer_mlflow_is_not_told_to_be_upgraded(store_directory):
    with closing(sqlite3.connect(store_directory / "mlflow.db")) as database, database:
        database.execute("update alembic_version set version_num = '0123456789ab'")
    with pytest.raises(TrackingError, match=r"made by a newer MLflow .*pip install --upgrade mlfl"):
        open_store(None, store_directory)


def test_an_older_database_that_lacks_a_table_is_not_migrated_unasked(store_directory):
    path = store_directory / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("update alembic_version set version_num = '451aebb31d03'")
        database.execute("drop table webhooks")
        database.commit()
    with pytest.raises(TrackingError, match=r"copy the file, then run `mlflow db upgrade sqlite:"):
        open_store(None, store_directory)
    with closing(sqlite3.connect(path)) as database:
        assert ("webhooks",) not in database.execute("select name from sqlite_master").fetchall()


def test_another_programs_database_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("create table studies (study_id integer)")
        database.commit()
    with pytest.raises(TrackingError, match="holds another program's tables"):
        open_store(None, tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "mlflow.db").write_text("hello " * 1000)
    with pytest.raises(TrackingError, match="is not an SQLite database"):
        open_store(None, tmp_path)


def test_a_store_of_ours_whose_making_was_cut_off_is_made_again(tmp_path, migrated_database):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table experiments (experiment_id integer)")
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('451aebb31d03')")
    with pytest.raises(TrackingError, match="run `autokd search` first"):
        open_store(None, tmp_path, create=False)
    assert open_store(None, tmp_path, later=True).is_new
    assert holds_nothing(path)
    assert not holds_nothing(migrated_database)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("insert into experiments values (0)")
    assert not holds_nothing(path)


def test_a_store_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mlflow.store.db.utils._initialize_tables",
        lambda engine: InitialBase.metadata.create_all(engine),
    )
    with pytest.raises(TrackingError, match=r"MLflow can't open it: .*"):
        open_store(None, tmp_path)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_transaction_that_a_kill_cut_off_is_rolled_back_by_whoever_reads_next(store_directory):
    path = store_directory / "mlflow.db"
    killed = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for order in ('pragma journal_mode=delete', 'pragma cache_size=1', 'begin'):\n"
        "    database.execute(order)\n"
        "for number in range(2000):\n"
        "    database.execute('insert into tags values (?, ?, ?)', ('k' * 99, 'v' * 99, str(number)))\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", killed, str(path)], check=True)
    assert (store_directory / "mlflow.db-journal").stat().st_size
    assert open_store(None, store_directory, create=False).experiments() == {}


def test_a_folder_in_the_stores_place_is_said_to_be_one(tmp_path):
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(TrackingError, match=r"mlflow\.db: is a folder, not an MLflow store; give"):
        open_store(None, tmp_path)


def test_an_empty_file_in_the_stores_place_is_a_store_that_is_yet_to_be_made(tmp_path):
    (tmp_path / "mlflow.db").touch()
    assert open_store(None, tmp_path, later=True).is_new


def test_the_interface_listens_on_this_machine_alone_and_sends_nothing_home(store_directory):
    argv, env = ui_command(None, store_directory, port=5123)
    assert argv[1:4] == ["-m", "mlflow", "ui"]
    assert argv[argv.index("--host") + 1] == "127.0.0.1"
    assert argv[argv.index("--port") + 1] == "5123"
    assert env["MLFLOW_DISABLE_TELEMETRY"] == "true"
    with pytest.raises(TrackingError, match="open it in a browser"):
        ui_command("http://localhost:5000", store_directory)


@pytest.mark.slow
def test_processes_that_open_a_new_store_at_once_all_succeed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from autokd.tracking.store import open_store\n"
        "open_store(None, Path(sys.argv[1])).client.create_experiment(sys.argv[2])"
    )
    processes = [_run_python(code, str(tmp_path), f"autokd/{n}") for n in range(3)]
    outputs = [_output(process) for process in processes]
    assert outputs == ["", "", ""]  # nor does MLflow chatter
    assert len(open_store(None, tmp_path).experiment_ids()) == 3


@pytest.mark.slow
def test_no_address_is_looked_up_for_telemetry(store_directory):
    code = (
        "import socket, sys, time; from pathlib import Path\n"
        "asked = []\n"
        "def refuse(host, *rest, **more):\n"
        "    asked.append(host); raise socket.gaierror('no names here')\n"
        "socket.getaddrinfo = refuse\n"
        "from autokd.tracking.store import open_store\n"
        "store = open_store(None, Path(sys.argv[1]))\n"
        "store.client.create_run(store.client.create_experiment('autokd/x'))\n"
        "time.sleep(3); print(asked)"
    )
    assert _output(_run_python(code, str(store_directory), cwd=store_directory)) == "[]\n"


@pytest.mark.slow
def test_a_server_that_dies_in_a_search_gets_its_trials_when_it_is_back(
    store_directory, monkeypatch
):
    monkeypatch.setattr("autokd.tracking.write.PATIENCE", 0.0)
    port = _free_port()
    with _server(store_directory, port):
        store = open_store(f"http://127.0.0.1:{port}", store_directory)
        tracker = begin(store)
        tracker.log_trial(make_result(0))
    start = time.monotonic()
    tracker.log_trial(make_result(1))
    tracker.log_trial(make_result(2))
    assert time.monotonic() - start < 10
    assert tracker.pending == 2
    with pytest.raises(TrackingError, match="lacks the front and 2 trials"):
        finish(tracker, [make_result(n) for n in range(3)], [2])
    with _server(store_directory, port):
        tracker.flush()
        assert tracker.pending == 0
        assert sorted(trial_runs(store)) == [0, 1, 2]
        finish(tracker, [make_result(n) for n in range(3)], [2])
        assert trial_runs(store)[2].data.tags["autokd.pareto"] == "true"


@pytest.mark.slow
def test_a_server_that_is_away_when_a_search_begins_gets_it_when_it_is_back(
    store_directory, caplog, monkeypatch
):
    monkeypatch.setattr("autokd.tracking.write.PATIENCE", 0.0)
    port = _free_port()
    with caplog.at_level(logging.WARNING):
        store = open_store(f"http://127.0.0.1:{port}", store_directory, later=True)
    assert "the search goes on" in caplog.text
    tracker = begin(store)
    tracker.log_trial(make_result(0))
    assert (tracker.pending, tracker.run_id) == (1, None)
    with pytest.raises(TrackingError, match="lacks the front and 1 trial;"):
        finish(tracker, [make_result(0)], [0])
    with _server(store_directory, port):
        tracker.log_trial(make_result(1))
        assert tracker.pending == 0
        assert sorted(trial_runs(store)) == [0, 1]
        assert store.client.get_run(tracker.run_id).info.status == "RUNNING"
