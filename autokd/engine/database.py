"""The ledger's database: its tables, its address, and what is read of searches that somebody else drives."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    func,
    inspect,
    select,
)
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.event import listen
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from autokd.errors import ConfigError, StorageError, first_line
from autokd.locked import is_locked, locked_by
from autokd.masking import without_secrets

CONNECT_SECONDS = 10  # after which a database server is taken to be away
BACKENDS = ("sqlite", "postgresql")  # of a ledger
BEGIN_ANEW = (  # of a ledger that can't be mended
    "put back a copy of the ledger, or move it away and the same command begins anew; "
    "what MLflow has stays there until then (`autokd front`, `autokd export`)"
)
STUDY_DIGITS = 6  # of a study's name, after the search's and a hyphen

EVENTS = Table(
    "autokd_events",
    MetaData(),
    Column("study", String(255), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),  # a second driver runs into it
    Column(
        "kind", String(16), nullable=False
    ),  # proposal, begin, leave, result, repeat, cost, death, note or lost
    Column("trial", Integer),  # its number; a note has none
    Column("clock", Float, nullable=False),  # seconds that the search had been driven for
    Column("record", Text, nullable=False),  # JSON, with a checksum
)
STATUS = Table(  # of a search that runs, for who looks on; nothing is decided by it
    "autokd_status",
    EVENTS.metadata,
    Column("study", String(255), primary_key=True),
    Column("at", Float, nullable=False),  # seconds since 1970
    Column("record", Text, nullable=False),  # JSON
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunStudy:
    """A search that has got somewhere."""

    name: str
    identity: Mapping[str, Any]
    has_ended: bool


def ledger_url(given: str | None, folder: Path) -> str:
    """The given database, or else a SQLite file in the folder."""
    return given or f"sqlite:///{folder / 'ledger.db'}"


def begun_studies(url: str, name: str) -> list[BegunStudy]:
    """Searches of this name that have results. None where there is no ledger yet."""
    own = EVENTS.c.study.startswith(f"{name}-", autoescape=True)
    notes: dict[str, dict[str, Any]] = {}
    started = set()
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            for study, record in connection.execute(
                select(EVENTS.c.study, EVENTS.c.record)
                .where(own & (EVENTS.c.kind == "note"))
                .order_by(EVENTS.c.place)
            ):
                with suppress(ValueError, KeyError):  # damaged: named where the ledger is opened
                    known = json.loads(record)
                    notes.setdefault(study, {})[known["name"]] = known["value"]
            done = select(EVENTS.c.study).where(own & (EVENTS.c.kind == "result"))
            started = set(connection.execute(done.distinct()).scalars())
    except SQLAlchemyError as error:
        _refuse_unreadable(url, error)
        return []
    finally:
        engine.dispose()
    return [
        BegunStudy(name=study, identity=known["identity"], has_ended="ended" in known)
        for study, known in notes.items()
        if len(study) == len(name) + 1 + STUDY_DIGITS  # not "mine-too" when "mine" is asked for
        if study in started and "identity" in known
    ]


def known_studies(url: str) -> list[str]:
    """Names of all searches that the ledger holds."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return sorted(connection.execute(select(EVENTS.c.study).distinct()).scalars())
    finally:
        engine.dispose()


def read_status(url: str, study: str | None) -> tuple[str, float, dict[str, Any]]:
    """Name, time in seconds since 1970 and status of a study, or of the one that was active last."""
    shown = shown_url(url)
    rows = _statuses(url)
    found = [row for row in rows if study in (None, row.study)]
    if not found:
        known = f"; known: {', '.join(row.study for row in rows)}" if rows else ""
        raise ConfigError(
            f"{shown}: no search {study or ''} has run here{known}".replace("  ", " ")
        )
    try:
        return found[0].study, found[0].at, json.loads(found[0].record)
    except ValueError:
        raise StorageError(
            f"{shown}: the status of search {found[0].study} is damaged; its search command writes it again"
        ) from None


def read_statuses(url: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and status of every study, the one that was active last first. None where there is no ledger to read."""
    return [(row.study, json.loads(row.record)) for row in _statuses(url)]


def _statuses(url: str) -> Sequence[Any]:
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return connection.execute(select(STATUS).order_by(STATUS.c.at.desc())).all()
    except SQLAlchemyError as error:
        _refuse_unreadable(url, error)
        return []
    finally:
        engine.dispose()


def ledger_health(url: str) -> str:
    """What there is, in words; a lock is taken as a writer does. Raises StorageError where a search would fail."""
    shown, made = shown_url(url), make_url(url)
    if made.get_backend_name() == "sqlite" and not Path(made.database or "").exists():
        return f"{shown}, which the first search makes"
    seconds = {"connect_timeout": CONNECT_SECONDS} if "postgresql" in url else {}
    engine = open_engine(url, connect_args=seconds)
    try:
        with engine.begin() as connection:
            if not inspect(connection).has_table(EVENTS.name):
                return f"{shown}, which the first search fills"
            connection.execute(delete(STATUS).where(STATUS.c.study == ""))  # there is none
            count = connection.execute(select(func.count(EVENTS.c.study.distinct()))).scalar()
        return f"{shown}, searches in it: {count}"
    except SQLAlchemyError as error:
        raise cannot_open(shown, error) from None
    finally:
        engine.dispose()


def open_engine(url: str, **options: Any) -> Engine:
    """Return what connects to a ledger. Raises ConfigError where none can be there, StorageError without a driver."""
    shown = shown_url(url)
    try:
        engine = create_engine(url, **options)
    except ImportError as error:
        raise StorageError(
            f"{shown}: the ledger needs {error.name}; pip install 'autokd[postgres]'"
        ) from None
    if engine.dialect.name == "sqlite":
        listen(engine, "connect", _read_any_bytes)
    return engine


def _read_any_bytes(connection: Any, _record: object) -> None:
    """So that a text of which a byte was damaged is found by its event's checksum, and not refused by SQLite, which names none."""
    connection.text_factory = lambda text: text.decode(errors="surrogateescape")


def _refuse_unreadable(url: str, error: Exception) -> None:
    """Unless all that is the matter is that there is no ledger yet."""
    made = make_url(url)
    missing = made.get_backend_name() == "sqlite" and not Path(made.database or "").exists()
    if not missing and not re.search(r"no such table|relation .* does not exist", str(error)):
        raise cannot_open(shown_url(url), error) from None


def cannot_open(shown: str, error: Exception) -> StorageError:
    if is_locked(error):
        return StorageError(
            f"{shown}: the ledger {locked_by(Path(make_url(shown).database or ''))}"
        )
    cure = f"; {BEGIN_ANEW}" if re.search(r"malformed|not a database", str(error)) else ""
    return StorageError(f"{shown}: the ledger can't be opened: {first_line(error)}{cure}")


def shown_url(url: str) -> str:
    """Without its password."""
    try:
        parsed = make_url(url)
        parsed.get_dialect()
        if parsed.get_backend_name() not in BACKENDS:
            raise ArgumentError
        return without_secrets(parsed.render_as_string(hide_password=True))
    except ArgumentError:
        raise ConfigError(
            f"ledger '{url}' is no database; give sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
        ) from None
