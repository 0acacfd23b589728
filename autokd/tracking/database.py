"""The SQLite file of a store: looked at before mlflow sees it, opened under a lock."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.errors import TrackingError, first_line
from autokd.locked import is_locked, locked_by
from autokd.tracking.environment import mlflow_failures, prepare_environment

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALLOWED = "give sqlite:////absolute/path/mlflow.db or the http(s):// address of an MLflow server"
LOCK_SECONDS = 120.0
BUSY_SECONDS = 5.0  # that a lock of somebody else's is waited for
MADE_WITH_ROWS = {"alembic_version", "workspaces"}  # by the migrations of a store that is new


def check_writable(path: Path) -> None:
    """mlflow would retry for 100 seconds before it says so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise TrackingError(
            f"{path}: the MLflow store can't be written: {error.strerror}; use another folder"
        ) from None


def open_database(uri: str, path: Path) -> MlflowClient:
    """Under a lock: processes that create the tables at the same time break each other."""
    from filelock import FileLock, Timeout

    prepare_environment()
    try:
        with FileLock(f"{path}.lock", timeout=LOCK_SECONDS):
            from mlflow import MlflowClient

            if holds_nothing(path):
                _make(path)
            elif _lacks_tables(path):
                _refuse_other_version(uri, path)
            client = MlflowClient(uri, registry_uri=uri)
            _use_write_ahead_log(path)
    except Timeout:
        raise TrackingError(
            f"{path}: another process has been opening it for {LOCK_SECONDS:.0f} s; "
            f"if there is none, delete {path}.lock"
        ) from None
    except mlflow_failures() as error:
        _refuse_other_version(uri, path)
        if is_locked(error):
            raise TrackingError(f"{path}: the MLflow store {locked_by(path)}") from error
        raise TrackingError(f"{path}: MLflow can't open it: {first_line(error)}") from error
    return client


def holds_nothing(path: Path) -> bool:
    """Whether it is yet to be made: no file, an empty one, or one of MLflow's whose making was cut off."""
    tables, _ = read_schema(path)
    if not tables:
        return True
    if not tables & {"experiments", "alembic_version"}:
        return False  # another program's
    with connect(path) as database:
        found = (
            database.execute(f'select 1 from "{table}" limit 1').fetchone()
            for table in tables - MADE_WITH_ROWS
        )
        return not any(found)


def _make(path: Path) -> None:
    """All of it under another name: MLflow takes seconds for it, and whoever is killed meanwhile leaves no half a store."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new = path.with_name(f"{path.name}.new")
    _remove(new)
    artifacts = (path.parent / "mlruns").as_uri()
    store = SqlAlchemyStore(f"sqlite:///{new}", artifacts)  # type: ignore[no-untyped-call]
    store.engine.dispose()
    _remove(path)  # its journal too, which would be played back into the new one
    new.rename(path)


def _remove(database: Path) -> None:
    """With what SQLite keeps beside it."""
    for end in ("", "-journal", "-wal", "-shm"):
        database.with_name(f"{database.name}{end}").unlink(missing_ok=True)


def _lacks_tables(path: Path) -> bool:
    """Whether mlflow would add some: to an older database of its own, or to another program's, without asking."""
    try:
        from mlflow.store.db.base_sql_model import Base
        from mlflow.store.tracking import sqlalchemy_store  # noqa: F401 - makes all tables known
    except ImportError:
        return True
    return not set(Base.metadata.tables) <= read_schema(path)[0]


def _refuse_other_version(uri: str, path: Path) -> None:
    tables, found = read_schema(path)
    if tables and not {"experiments", "runs", "alembic_version"} <= tables:
        raise TrackingError(
            f"{path}: holds another program's tables, not an MLflow store; {ALLOWED}"
        )
    expected = _newest_schema()  # takes a quarter of a second: asked for when there is a doubt
    if found and expected and found != expected:
        if not _knows_schema(found):
            raise TrackingError(
                f"{path}: was made by a newer MLflow than this one (schema {found}, this one has {expected}); "
                "`pip install --upgrade mlflow`, or use another folder"
            )
        raise TrackingError(
            f"{path}: was made by an older version of MLflow (schema {found}, this one has {expected}); "
            f"copy the file, then run `mlflow db upgrade {uri}`"
        )


def read_schema(path: Path) -> tuple[set[str], str | None]:
    """Names of the tables, and the schema's version; nothing in a file that is not there yet."""
    if path.is_dir():
        raise TrackingError(f"{path}: is a folder, not an MLflow store; {ALLOWED}")
    if not path.exists() or path.stat().st_size == 0:
        return set(), None
    try:
        with connect(path) as database:
            rows = database.execute("select name from sqlite_master where type = 'table'")
            tables = {name for (name,) in rows}
            known = "alembic_version" in tables
            version = database.execute("select version_num from alembic_version") if known else ()
            return tables, next((row[0] for row in version), None)
    except sqlite3.DatabaseError as error:
        raise TrackingError(
            f"{path}: is not an SQLite database that can be read: {error}"
        ) from None


@contextlib.contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """A file that is there. Not to read alone: of a process that was killed there may be something to roll back."""
    uri = f"{path.as_uri()}?mode=rw"
    if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        uri += "&immutable=1"  # such as on a disk that is mounted to be read: SQLite could not make its log
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as database:
            yield database
    except sqlite3.OperationalError as error:
        if is_locked(error):
            raise TrackingError(f"{path}: the MLflow store {locked_by(path)}") from None
        raise


def _newest_schema() -> str | None:
    try:
        from mlflow.store.db.utils import _get_latest_schema_revision
    except ImportError:  # mlflow's own check is left, which misses databases that lack tables
        return None
    return str(_get_latest_schema_revision())  # type: ignore[no-untyped-call]


def _knows_schema(version: str) -> bool:
    """Whether it is one of the installed MLflow's migrations, each of which is a file."""
    import mlflow.store

    migrations = Path(mlflow.store.__path__[0], "db_migrations", "versions")
    return any(migrations.glob(f"{version}_*.py"))


def _use_write_ahead_log(path: Path) -> None:
    """Readers and the writer stop waiting for each other. The mode is kept in the file."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            database.execute("pragma journal_mode=wal")
        except sqlite3.OperationalError:  # in use at the moment: slower, not wrong
            logging.getLogger(__name__).debug("%s keeps its rollback journal", path)
