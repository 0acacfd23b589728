"""What a shell completes beside options: names of searches, and the students of the latest front.

From the ledger in the working directory alone: MLflow takes seconds to import, and a server may be away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def complete_studies(incomplete: str) -> list[tuple[str, str]]:
    """Each with how far it is."""
    return [
        (name, f"{record['begun']} of {record['target']} trials")
        for name, record in _statuses()
        if name.startswith(incomplete)
    ]


def complete_front(incomplete: str) -> list[tuple[str, str]]:
    """Numbers of the latest search's trials, each with its student; STUDY/NUMBER once a slash is there."""
    statuses = _statuses()
    study, slash, _ = incomplete.rpartition("/")
    fronts = [record["front"] for name, record in statuses if not slash or name == study]
    found = [
        (f"{study}{slash}{member['number']}", f"{member['val_accuracy']:.1%} {member['student']}")
        for member in (fronts[0] if fronts else [])
    ]
    return [each for each in found if each[0].startswith(incomplete)]


def _statuses() -> list[tuple[str, dict[str, Any]]]:
    """Of every search here, the one that was active last first; none where there is no ledger that can be read."""
    from autokd.engine.place import CACHE

    if not (Path.cwd() / CACHE / "ledger.db").is_file():
        return []
    from autokd.engine.database import ledger_url, read_statuses
    from autokd.errors import StorageError

    try:
        return read_statuses(ledger_url(None, Path.cwd() / CACHE))
    except StorageError:  # a shell has no place for it
        return []
