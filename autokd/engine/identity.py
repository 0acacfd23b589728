"""What makes a search this one and no other: its name's hash, and what is said when that has changed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autokd.config import Config
from autokd.data import ImageData
from autokd.engine.database import OpenStudy
from autokd.errors import ConfigError
from autokd.records import content_hash

# What may differ when a search goes on.
UNIMPORTANT = {
    "search": (
        *("trials", "time", "epochs", "patience", "workers", "final_seeds", "shared"),
        *("executor", "ray_address", "gpus_per_trial", "cpus_per_trial"),
    ),
    "data": ("root", "loader_processes"),  # the images themselves have a hash
    "teacher": ("checkpoint",),  # and so has the teacher
    "audit": ("accept_teacher_bias", "thumbnails", "robustness_images"),
}
HASHES = {  # beside what stands in the file
    "images": "the images are not the same",
    "people": "who is on the images is not the same",
    "teacher_weights": "the teacher's weights are not the same",
}
FREE = {"seed"}  # to search with another one is no mistake

Identity = Mapping[str, Any]  # what JSON holds


def identify(config: Config, data: ImageData) -> dict[str, Any]:
    """All that is known before there is a teacher."""
    record = config.model_dump(mode="json")
    for section, keys in UNIMPORTANT.items():
        for key in keys:
            record[section].pop(key, None)
    if record["data"]["metadata"]:
        record["data"]["metadata"].pop("path")  # what it says of the images has a hash, too
    del record["name"]
    return record | {"images": data.info.hash, "people": data.people_hash()}


def fingerprint(identity: Identity) -> str:
    """16 hex digits."""
    return content_hash(identity)


def refuse_changed(identity: Identity, open_studies: Sequence[OpenStudy]) -> None:
    """Raises ConfigError if there is a search of this name that has not ended, and this is not that one any more.

    `open_studies`: those of this name, the latest last. What `identity` does not know yet is not compared.
    """
    different = [
        (study, found)
        for study in open_studies
        if set(found := dict(_differences(study.identity, identity))) - FREE
    ]
    if not different or len(different) < len(open_studies):
        return
    study, found = different[-1]
    first, *more = (text for name, text in found.items() if name not in FREE)
    also = f" (and {len(more)} more differences)" if more else ""
    raise ConfigError(
        f"search {study.name} has not ended, and this is not the same: {first}{also}; "
        "put that back to go on with it, or begin another search with --new"
    )


def _differences(old: Identity, new: Identity) -> Iterator[tuple[str, str]]:
    """Path and sentence of everything that both know and that is not equal."""
    before, now = dict(_flatten(old)), dict(_flatten(new))
    for name in sorted(before.keys() | now.keys()):
        section = name.split(".")[0]
        if section not in old or section not in new or before.get(name) == now.get(name):
            continue
        told = f"{name} was {_shown(before, name)} and is {_shown(now, name)}"
        yield name, HASHES.get(name, told)


def _flatten(record: Identity, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _shown(values: Mapping[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else "not there"
