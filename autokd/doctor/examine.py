"""Every check, in the order in which they are read."""

from __future__ import annotations

from pathlib import Path

from autokd.doctor.devices import examine_devices
from autokd.doctor.finding import Finding, check, ok
from autokd.doctor.packages import examine_packages
from autokd.doctor.stores import examine_stores


def examine(
    directory: Path, *, tracking_uri: str | None = None, ledger: str | None = None
) -> list[Finding]:
    """Of this installation, this machine, and the stores that a search here would use."""
    # before mlflow is imported for its version
    ready = check("environment", _prepare, "see the other lines")
    return [
        *([] if ready.state == "ok" else [ready]),
        *examine_packages(),
        *examine_devices(),
        *examine_stores(directory, tracking_uri=tracking_uri, ledger=ledger),
    ]


def _prepare() -> Finding:
    from autokd.tracking.environment import prepare_environment

    prepare_environment()
    return ok("")
