"""Small text files that others may read while they are written."""

from __future__ import annotations

import os
from pathlib import Path

from autokd.errors import storage_errors


def write_whole(path: Path, text: str) -> None:
    """Write all of a file or nothing, and its folder where there is none. Raises StorageError where that can't be."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
