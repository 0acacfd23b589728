"""What searches keep to use again: decoded images, views, teachers' logits, trained teachers, assistants and donors.

All of it can be made again. Results are not among it: those are the ledger's and the trials' folders.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from autokd.errors import ConfigError, StorageError, nearest_name, storage_errors

log = logging.getLogger(__name__)

KINDS = {  # kind -> what of a cache folder is of it
    "images": "decoded-*.npy",
    "views": "views-*.npy",
    "logits": "logits/*.npy",  # features too
    "teachers": "teachers/*/",
    "assistants": "assistants/*/",
    "donors": "donors/*/",
    "latencies": "latencies/*.json",
}
EVICTED = ("images", "views", "logits")  # by a limit; the others cost a training


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One array, or the folder of one trained model."""

    kind: str
    path: Path
    size_bytes: int
    used: float  # seconds since the epoch, when it was last opened


def list_kept(cache: Path, kinds: Collection[str] = tuple(KINDS)) -> list[Kept]:
    """Kind by kind; what was used last comes last."""
    found = []
    for kind in kinds:
        each = [_measure(kind, path) for path in cache.glob(KINDS[kind])]
        found += sorted((kept for kept in each if kept), key=lambda kept: kept.used)
    return found


def clear(cache: Path, kinds: Collection[str]) -> int:
    """Remove all of these kinds; how many bytes that were. Raises StorageError while a search runs here."""
    for kind in kinds:
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise ConfigError(
                f"unknown kind '{kind}'; known: {known}, all.{nearest_name(kind, KINDS)}"
            )
    with ExitStack() as stack, storage_errors(cache):
        for lock in cache.glob("*.lock"):  # a driver holds its study's
            try:
                stack.enter_context(FileLock(lock).acquire(timeout=0))
            except Timeout:
                raise StorageError(
                    f"{cache}: {lock.stem} is in use by a search that runs; wait for it or stop it"
                ) from None
        return sum(_remove(kept) for kept in list_kept(cache, {*kinds}))


def evict(cache: Path, limit: float) -> int:
    """Remove arrays, those not used for longest first, until the rest has `limit` bytes at most; bytes removed.

    Who has one of them open keeps it; whoever wants one later makes it again.
    """
    arrays = sorted(list_kept(cache, EVICTED), key=lambda kept: kept.used)
    over = sum(kept.size_bytes for kept in arrays) - limit
    freed = 0
    with storage_errors(cache):
        for kept in arrays:
            if freed >= over:
                break
            log.info("%s is removed: %s holds more than its limit", kept.path, cache)
            freed += _remove(kept)
    return freed


def _measure(kind: str, path: Path) -> Kept | None:
    """None: somebody else removed it meanwhile."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    try:
        stats = [file.stat() for file in files]
    except FileNotFoundError:
        return None
    if not stats:
        return None
    size, used = sum(each.st_size for each in stats), max(each.st_mtime for each in stats)
    return Kept(kind=kind, path=path, size_bytes=size, used=used)


def _remove(kept: Kept) -> int:
    if kept.path.is_dir():
        shutil.rmtree(kept.path)
    else:
        kept.path.unlink(missing_ok=True)
    return kept.size_bytes
