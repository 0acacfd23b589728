"""Where runs are kept: an SQLite file beside the search, or an MLflow server. Opened and checked here, written elsewhere."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.errors import TrackingError, first_line
from autokd.masking import without_secrets
from autokd.tracking.database import ALLOWED, check_writable, holds_nothing, open_database
from autokd.tracking.environment import (
    ENVIRONMENT,
    mlflow_failures,
    prepare_environment,
)
from autokd.tracking.moved import ARTIFACTS, follow_folder
from autokd.tracking.rows import Rows, open_rows

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_log = logging.getLogger(__name__)

PING_SECONDS = 5.0
UI_PORT = 5000  # of `autokd ui`


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store of which all is checked that can be at once."""

    uri: str
    directory: Path  # absolute; artifacts of an SQLite store are below it
    connect: Callable[[], MlflowClient]
    is_new: bool = False  # a database that has no tables before `client` is asked for

    @cached_property
    def client(self) -> MlflowClient:
        """It is told the address, so MLFLOW_TRACKING_URI is neither read nor set. Raises TrackingError."""
        return self.connect()

    @property
    def is_server(self) -> bool:
        return self.uri.startswith("http")

    @property
    def address(self) -> str:
        """The uri without a password, for messages."""
        return without_secrets(self.uri)

    @property
    def interface(self) -> str:
        """Where a browser finds it, with a slash at the end: the server, or what `autokd ui` starts by default."""
        return f"{self.address}/" if self.is_server else f"http://127.0.0.1:{UI_PORT}/"

    def answers(self, *, patience: float = 0.0) -> bool:
        """Whether a request is worth a try, now or within so many seconds; a dead server would cost seconds each."""
        end = time.monotonic() + patience
        while self.is_server and _ping(self.uri) is not None:
            if time.monotonic() >= end:
                return False
            time.sleep(1.0)
        return True

    def runs(self, experiment_ids: list[str], *conditions: str, order: str = "") -> Iterator[Run]:
        """Every active run that meets all conditions, page after page."""
        token = None
        while experiment_ids:
            page = self.client.search_runs(
                experiment_ids,
                filter_string=" and ".join(conditions),
                order_by=[order] if order else None,
                max_results=1000,
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def tagged(
        self, experiments: Sequence[str], tags: Mapping[str, str | None], *, status: str = ""
    ) -> Iterator[Run]:
        """Every active run with these tags; None: with any value."""
        conditions = [
            f"tags.\"{name}\" LIKE '%'" if value is None else tag_is(name, value)
            for name, value in tags.items()
        ]
        conditions += [f"attributes.status = '{status}'"] if status else []
        return self.runs(list(experiments), *conditions)

    def experiment_ids(self) -> list[str]:
        return list(self.experiments())

    def experiments(self) -> dict[str, str]:
        """Names by id, of every experiment that autokd made and nobody deleted."""
        names: dict[str, str] = {}
        token = None
        while True:
            page = self.client.search_experiments(
                filter_string="name LIKE 'autokd/%'", max_results=1000, page_token=token
            )
            names |= {experiment.experiment_id: experiment.name for experiment in page}
            token = page.token
            if not token:
                return names


def open_store(
    uri: str | None, directory: Path, *, create: bool = True, later: bool = False
) -> Store:
    """Open the store at `uri`, or ``mlflow.db`` in `directory`; raises TrackingError within seconds.

    With create=False a store that does not exist is an error, and nothing is written. With later=True it need not be there
    before it is used: a server that does not answer is no error, and a new database gets its tables then.
    """
    directory = directory.absolute()
    uri = resolve_uri(uri, directory)
    if uri.startswith("http"):
        return _open_server(uri, directory, later=later)
    path = database_path(uri)
    is_new = holds_nothing(path)
    if not create and is_new:
        raise _no_store(path)
    check_writable(path)
    connect = partial(open_database, uri, path)
    store = Store(uri=uri, directory=directory, connect=connect, is_new=is_new and later)
    if not store.is_new:
        _ = store.client  # refuses what it can't use
        if path.parent == directory:
            follow_folder(path, driven_too=create)
    return store


def open_to_read(uri: str | None, directory: Path) -> Store | Rows:
    """The store at `uri`, or ``mlflow.db`` in `directory`, for `read_study` alone; without MLflow where that is possible."""
    uri = resolve_uri(uri, directory)
    rows = None if uri.startswith("http") else open_rows(database_path(uri))
    return rows or open_store(uri, directory, create=False)


def resolve_uri(uri: str | None, directory: Path) -> str:
    """The address in full; refuses kinds of store that autokd can't keep a search in."""
    if uri is None:
        return _check_characters(f"sqlite:///{directory.absolute() / 'mlflow.db'}")
    if uri.startswith(("http://", "https://")):
        return uri.rstrip("/")
    path = uri.removeprefix("sqlite:///")
    if path == uri or path in ("", ":memory:"):
        raise TrackingError(f"'{uri}' is not a store that autokd can use; {ALLOWED}")
    return _check_characters(f"sqlite:///{Path(path).absolute()}")


def database_path(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///"))


def ui_command(
    uri: str | None, directory: Path, *, port: int = UI_PORT
) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of MLflow's own interface over the store, for this machine only.

    One worker without background jobs: it starts in a third of the time, with a sixth of the memory.
    """
    uri = resolve_uri(uri, directory)
    if uri.startswith("http"):
        raise TrackingError(f"{uri} is a server with an interface of its own; open it in a browser")
    open_store(uri, directory, create=False)
    argv = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    argv += ["--artifacts-destination", str(directory.absolute() / ARTIFACTS)]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    env = dict(ENVIRONMENT) | dict(os.environ)
    return argv, env | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


@contextlib.contextmanager
def one_line_errors(store: Store | Rows) -> Iterator[None]:
    """Turn what mlflow raises into a TrackingError that names the store."""
    try:
        yield
    except TrackingError:  # before the next line asks for mlflow
        raise
    except mlflow_failures() as error:
        raise TrackingError(f"MLflow store {store.address}: {first_line(error)}") from error


def tag_is(name: str, value: str) -> str:
    """A condition for `Store.runs`."""
    quote = '"' if "'" in value else "'"
    return f'tags."{name}" = {quote}{value}{quote}'


def _check_characters(uri: str) -> str:
    if bad := re.search(r"[%?]", uri):
        raise TrackingError(
            f"{uri}: MLflow can't open a database whose path holds '{bad[0]}'; use another folder"
        )
    return uri


def _no_store(path: Path) -> TrackingError:
    return TrackingError(f"there is no MLflow store at {path} yet; run `autokd search` first")


def _open_server(uri: str, directory: Path, *, later: bool) -> Store:
    reason = _ping(uri)
    if reason and not later:
        raise TrackingError(
            f"MLflow server {without_secrets(uri)} does not answer ({reason}); "
            "start it, or leave --tracking-uri out to use mlflow.db here"
        )
    if reason:
        _log.warning(
            "MLflow server %s does not answer (%s); the search goes on, and is written there when it does",
            *(without_secrets(uri), reason),
        )
    store = Store(uri=uri, directory=directory, connect=partial(_connect, uri))
    if reason is None:
        with one_line_errors(store):
            store.client.search_experiments(max_results=1)
    return store


def _connect(uri: str) -> MlflowClient:
    prepare_environment()
    from mlflow import MlflowClient

    return MlflowClient(uri, registry_uri=uri)


def _ping(uri: str) -> str | None:
    """Why the server does not answer; None if it does, even with a refusal."""
    address = without_secrets(uri)
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=PING_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return None if error.code < 500 else f"status {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error))
