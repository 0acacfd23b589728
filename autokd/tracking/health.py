"""Whether a store would take a search: opened, read and, where that leaves no trace, written."""

from __future__ import annotations

import sqlite3
import urllib.request
from pathlib import Path

from autokd.errors import TrackingError
from autokd.tracking.database import check_writable, connect, holds_nothing
from autokd.tracking.read import count_studies
from autokd.tracking.store import PING_SECONDS, database_path, open_store, resolve_uri


def store_health(uri: str | None, directory: Path) -> str:
    """What there is, in words. Raises TrackingError where a search could write nothing; makes nothing that is not there."""
    uri = resolve_uri(uri, directory)
    if uri.startswith("http"):
        store = open_store(uri, directory)
        return f"{store.address}, MLflow {_server_version(store.address)}, searches in it: {count_studies(store)}"
    path = database_path(uri)
    if holds_nothing(path):
        if path.parent.is_dir():
            check_writable(path)
        return f"{path}, which the first search makes"
    store = open_store(uri, directory, create=False)
    _take_the_lock(path)
    return f"{path}, its schema is up to date, searches in it: {count_studies(store)}"


def _take_the_lock(path: Path) -> None:
    """As a writer does, and writes nothing."""
    try:
        with connect(path) as database:
            database.isolation_level = None
            database.execute("begin immediate")
            database.execute("rollback")
    except sqlite3.OperationalError as error:
        raise TrackingError(f"{path}: the MLflow store can't be written: {error}") from None


def _server_version(address: str) -> str:
    try:
        with urllib.request.urlopen(f"{address}/version", timeout=PING_SECONDS) as answer:
            return str(answer.read(40).decode("ascii", "replace").strip())
    except (OSError, ValueError):
        return "of unknown version"
