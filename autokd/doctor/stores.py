"""Where a search writes: its folder, its ledger, MLflow. Nothing is made that is not there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from autokd.doctor.finding import Finding, check, ok, problem, warning
from autokd.quantities import format_bytes

SHARED = 1e9  # bytes that the processes of one loader may need
LITTLE, TOO_LITTLE = 10e9, 500e6  # bytes free; a search's cache has a limit of 50 GB by default


def examine_stores(
    directory: Path, *, tracking_uri: str | None, ledger: str | None
) -> list[Finding]:
    return [
        check("folder", lambda: _folder(directory), "run autokd where you may write"),
        check("disk", lambda: _disk(directory), "run autokd on another disk"),
        check("shared memory", _shared_memory, "docker run --shm-size=2g"),
        check("MLflow store", lambda: _tracking(tracking_uri, directory), "see --tracking-uri"),
        check("ledger", lambda: _ledger(ledger, directory), "see --ledger"),
    ]


def _folder(directory: Path) -> Finding:
    from autokd.engine.place import CACHE

    folder = directory / CACHE
    there = folder if folder.exists() else directory
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return problem(
            f"{there}: can't be written: {error.strerror}",
            "run autokd where you may write",
        )
    return ok(f"{folder}" if there == folder else f"{folder}, which the first search makes")


def _disk(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    found = f"{format_bytes(free)} free in {directory}"
    if free < TOO_LITTLE:
        return problem(found, "make room: autokd cache --clear all")
    if free < LITTLE:
        return warning(found, "bound the cache (search.cache_limit), or clear it: autokd cache")
    return ok(found)


def _shared_memory() -> Finding:
    """Where processes that load images hand batches over: a container has 64 MB of it unless it is given more."""
    from autokd.data.batches import MORE, SHARED_MEMORY

    if not SHARED_MEMORY.is_dir():
        return ok(f"no {SHARED_MEMORY} here")
    free = shutil.disk_usage(SHARED_MEMORY).free
    found = f"{format_bytes(free)} free in {SHARED_MEMORY}"
    return ok(found) if free >= SHARED else warning(f"{found}, for images larger than memory", MORE)


def _tracking(uri: str | None, directory: Path) -> Finding:
    from autokd.tracking.health import store_health

    return ok(store_health(uri, directory))


def _ledger(given: str | None, directory: Path) -> Finding:
    from autokd.engine.database import ledger_health, ledger_url
    from autokd.engine.place import CACHE

    return ok(ledger_health(ledger_url(given, directory / CACHE)))
