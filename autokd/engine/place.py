"""Where a search keeps its own things: a folder in the working directory that one driver a study writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from autokd.errors import ConfigError, StorageError

CACHE = ".autokd"  # ledger, teachers, assistants, views, logits, checkpoints
TEACHER_AUDIT = "teacher_audit"  # a folder of a study: the report on its teacher alone


def make_writable(folder: Path) -> None:
    """Raises StorageError at once where a search would fail later."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"{folder}: can't be written: {error.strerror}; run autokd where you may write"
        ) from None


def refuse_output(folder: Path) -> None:
    """Before minutes are spent: raises where no new folder can be made, or one is there with something in it."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise ConfigError(f"--output {folder}: {there} is not a folder; name a new folder")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        raise StorageError(f"--output {folder}: {there} may not be written; name another place")
    if there == folder and (held := sorted(path.name for path in folder.iterdir())):
        more = f" and {len(held) - 3} more" if len(held) > 3 else ""
        raise ConfigError(
            f"--output {folder}: holds {', '.join(held[:3])}{more} already; name a new folder"
        )


def brought_here(path: str, cache: Path) -> str:
    """A path in a search's record, below this cache: the folder may have been moved since, or be another machine's."""
    _, mark, rest = Path(path).as_posix().rpartition(f"/{CACHE}/")
    return str(cache / rest) if mark else path


@contextmanager
def only_driver(cache: Path, claim: str, *, search: str | None = None) -> Iterator[None]:
    """Hold a claim, such as a study's name: two drivers of one search would both write its ledger.

    `search`: what it is called where the claim is not its name. Raises StorageError where another driver holds it.
    """
    lock = FileLock(cache / f"{claim}.lock")
    try:
        with lock.acquire(timeout=0):
            yield
    except Timeout:
        raise StorageError(
            f"search {search or claim} is already running here; wait for it or stop it"
        ) from None
