"""A search on the new images that begins where the old one ended, as a file that may be read, changed and run again."""

from __future__ import annotations

from pathlib import Path

import yaml

from autokd.config import Config
from autokd.errors import storage_errors
from autokd.monitoring.monitor import Monitored, refuse_unlabelled

SEARCH_FILE = "redistil.yaml"
_SUFFIX = "-redistil"
_OF_THE_SOURCE = (
    *("source", "root", "name", "subset", "image_column", "label_column", "metadata"),
    *("limit", "classes", "image_size", "channels"),
)


def write_search_file(found: Monitored, path: Path) -> Path:
    """The old search file with the new images in place of the old, and a warm start from the old front."""
    refuse_unlabelled(found.arrived, found.data)
    old, reference = found.watched.recorded.config, found.reference
    kept = {
        key: value
        for key, value in old.data.model_dump(mode="json", exclude_defaults=True).items()
        if key not in _OF_THE_SOURCE
    }
    data = {
        "source": found.arrived.source,
        "root": str(found.data.resolve()),
        "classes": list(reference.class_names),  # as its teacher has them
        "image_size": reference.image_size,
        "channels": reference.channels,
        **kept,
        "flip": reference.flip,  # digits know it of themselves, an .npz of digits does not
    }
    if found.metadata is not None:
        table = found.metadata.model_dump(mode="json", exclude_defaults=True)
        if found.metadata.path is not None:
            table["path"] = str(found.metadata.path.resolve())
        data["metadata"] = table
    record = old.model_dump(mode="json", exclude_defaults=True)
    search = {**record.get("search", {}), "warm_start": [found.watched.study]}
    record |= {"name": _next(old.name), "data": data, "search": search}
    Config.model_validate(record)  # ours to get right
    head = (
        f"# {found.watched.study} again, on the images of {found.data}, from its front on.\n"
        f"# autokd search {path}\n"
    )
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    return path


def _next(name: str) -> str:
    """The same name however often a search is distilled again."""
    return f"{name.removesuffix(_SUFFIX)}{_SUFFIX}"
