"""A store whose folder was moved or copied: MLflow keeps absolute paths of artifacts, which are written anew."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock, Timeout

from autokd.tracking.database import connect

ARTIFACTS = "mlartifacts"  # a folder beside the database
DRIVEN = ".autokd/*.lock"  # beside it too: each held by who drives a search
PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Move:
    """From one folder into another. MLflow writes of both with and without ``file://``."""

    old: Path
    new: Path

    def follow(self, location: str, *, always: bool) -> str | None:
        """Where it is now; None: it was elsewhere, or its files have stayed behind, which counts unless `always`."""
        for old, new in ((self.old.as_uri(), self.new.as_uri()), (str(self.old), str(self.new))):
            if location.startswith(f"{old}/"):
                rest = unquote(location.removeprefix(f"{old}/"))
                stays = (self.old / rest).exists() and not (self.new / rest).exists()
                return None if stays and not always else new + location.removeprefix(old)
        return None


def follow_folder(path: Path, *, driven_too: bool) -> None:
    """Let a store that has its artifacts beside it find them there, and write nowhere else.

    Not while a search is driven there, unless `driven_too`: a container may see the same folder by another name.
    """
    new = path.parent
    with connect(path) as database:
        moves = [_Move(old, new) for old in _folders(database) if old != new]
        if not moves or (not driven_too and _is_driven(new)):
            return
        database.isolation_level = None  # what follows is one transaction
        database.execute("begin immediate")
        count = sum(_rewrite(database, move) for move in moves)
        database.execute("commit")
    _log.warning(
        "%s was written in %s and is in %s now: %d paths of artifacts follow",
        *(path.name, " and ".join(str(move.old) for move in moves), new, count),
    )


def _folders(database: sqlite3.Connection) -> set[Path]:
    """In which searches of this store have been begun."""
    rows = database.execute("select artifact_location from experiments where name like 'autokd/%'")
    parts = [location.rpartition(f"/{ARTIFACTS}/") for (location,) in rows]
    return {
        Path(unquote(folder.removeprefix("file://")))
        for folder, mark, _ in parts
        if mark and folder.startswith("file://")
    }


def _rewrite(database: sqlite3.Connection, move: _Move) -> int:
    count = 0
    for table, column in PATHS:
        rows = database.execute(f"select rowid, {column} from {table} where {column} is not null")
        always = table == "experiments"  # where new runs write
        changes = [(new, row) for row, old in rows if (new := move.follow(old, always=always))]
        database.executemany(f"update {table} set {column} = ? where rowid = ?", changes)
        count += len(changes)
    return count


def _is_driven(folder: Path) -> bool:
    for lock in folder.glob(DRIVEN):
        try:
            FileLock(lock).acquire(timeout=0).lock.release()
        except Timeout:
            return True
    return False
