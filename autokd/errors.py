"""The errors that autokd raises on purpose. Each is one line for a person; a bug keeps its own type and traceback."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autokd.masking import without_secrets


class AutoKDError(Exception):
    """Base of every error caused by what a user gave. The CLI prints it as one line and exits with its status."""

    exit_status = 2

    def __str__(self) -> str:
        return without_secrets(super().__str__())


class ConfigError(AutoKDError):
    """A search file, a command-line option or an argument is wrong."""


class DataError(AutoKDError):
    """Images, labels or metadata are missing, unreadable or of no use."""


class CheckpointError(AutoKDError):
    """A weights file is missing, does not fit its model, or wants to run code."""


class TrainingDivergedError(AutoKDError):
    """A loss became NaN or infinite. Ends its trial, not the search."""


class CostError(AutoKDError):
    """A model's cost can't be measured, or two counts of it disagree."""


class ExportError(CostError):
    """A model can't be written, quantised or run in the form in which it would ship."""


class ParityError(ExportError):
    """An exported file says something else than its student. Not bad input: a verdict."""

    exit_status = 1


class TrackingError(AutoKDError):
    """The MLflow store can't be reached, read or written."""


class AuditError(AutoKDError):
    """A teacher fails its own audit. Not bad input: a verdict, as of `autokd audit`."""

    exit_status = 1


class StorageError(AutoKDError):
    """A folder or the search's own ledger can't be written or belongs to something else."""


class StoreAwayError(StorageError):
    """The store that workers share did not answer for a while. It may do so elsewhere, or later."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'kd'?"``, or an empty string when nothing is near, or the name itself is known."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{matches[0]}'?" if matches and matches[0] != name else ""


def first_line(error: BaseException, *, length: int = 300) -> str:
    """The start of someone else's error in one line. A line that ends with a colon goes on with what it announces."""
    said = ""
    for line in filter(None, map(str.strip, without_secrets(str(error)).splitlines())):
        said = f"{said} {line}".strip()
        if not said.endswith(":"):
            break
    said = said or type(error).__name__
    return said if len(said) <= length else f"{said[: length - 1]}…"


def one_line(error: BaseException, *, length: int = 160) -> str:
    """An error of someone else's in one line: its type and what it says."""
    text = without_secrets(" ".join(str(error).split()))
    text = text if len(text) <= length else text[: length - 3] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_NO_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)


@contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """A full disk, one that may not be written, or a path that leads through a file is a StorageError: everything after it
    would fail too."""
    try:
        yield
    except OSError as error:
        if error.errno not in (*_NOT_WRITABLE, *_NO_PLACE):
            raise
        where = error.filename or place
        raise StorageError(f"{where}: can't be written: {error.strerror}") from error
