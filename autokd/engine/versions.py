"""What code made a search: package versions and the working directory's commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "autokd",
    "torch",
    "torchvision",
    "timm",
    "optuna",
    "mlflow",
    "fvcore",
    "pandas",
    "numpy",
)


def versions() -> dict[str, str]:
    """Python's and each package's; those not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit(directory: Path) -> str | None:
    """The commit that is checked out where the search runs; None outside a repository."""
    command = ["git", "-C", str(directory), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
