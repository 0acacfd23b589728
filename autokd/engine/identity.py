"""What makes a search this one and no other: its name's hash, and what is said when that has changed meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autokd.config import Config
from autokd.data import ImageData
from autokd.engine.database import BegunStudy
from autokd.errors import ConfigError
from autokd.records import content_hash
from autokd.weights import HEAD_STD, hash_file

log = logging.getLogger(__name__)

# What may differ when a search goes on.
UNIMPORTANT = {
    "search": (
        *(
            "trials",
            "time",
            "epochs",
            "patience",
            "workers",
            "final_seeds",
            "shared",
            "cache_limit",
            "log_models",
        ),
        *("executor", "ray_address", "gpus_per_trial", "cpus_per_trial"),
    ),
    # images and labels themselves have a hash, which knows the classes' order
    # and what is also tested on decides nothing
    "data": ("root", "loader_processes", "classes", "image_column", "label_column", "also_test"),
    "teacher": ("checkpoint", "classes"),  # and so has the teacher
    "audit": ("accept_teacher_bias", "thumbnails", "robustness_images"),
}
CLAIM_DIGITS = 6
RULES = 3  # of proposals, promotions and training; another number when they, or a default, change
# of students.pretrained's files; another number when they take other weights out of one
READERS = 1
IN_WORDS = {  # beside what stands in the file
    "images": "the images are not the same",
    "people": "who is on the images is not the same",
    "teacher_weights": "the teacher has other weights, or its code was edited",
    "heads": "it was begun by an autokd whose new classifiers on pretrained weights start otherwise",
    "pixels": "it was begun by an autokd that normalised the pixels of pretrained students otherwise",
    "readers": "it was begun by an autokd that reads files of weights otherwise",
    "starts": "the weights that students start from are not the same",
    "rules": "it was begun by an autokd that searches by other rules",
}
FREE = {"seed"}  # to search with another one is no mistake

Identity = Mapping[str, Any]  # what JSON holds


def claim_of(config: Config) -> str:
    """Return what the driver of a search file claims before anything is loaded; how long it searches does not matter."""
    record = config.model_dump(mode="json", exclude_defaults=True)
    for key in UNIMPORTANT["search"]:
        record.get("search", {}).pop(key, None)
    return f"{config.name}.{content_hash(record)[:CLAIM_DIGITS]}"


def identify(config: Config, data: ImageData) -> dict[str, Any]:
    """All that is known before there is a teacher."""
    record = config.model_dump(mode="json", exclude_defaults=True)
    for section, keys in UNIMPORTANT.items():
        for key in keys:
            record.get(section, {}).pop(key, None)
    if metadata := record["data"].get("metadata"):
        metadata.pop("path", None)  # what it says of the images has a hash, too
    record.pop("name", None)
    for teacher in (record["teacher"], *record["teacher"].get("ensemble", ())):
        if isinstance(teacher.get("pretrained"), str):
            teacher["pretrained"] = "file"  # its weights have a hash, too, wherever it lies
    if config.students.pretrained:
        record["heads"] = HEAD_STD
        record["pixels"] = "as published"
    if isinstance(config.students.pretrained, dict):
        record["readers"] = READERS
        record["starts"] = content_hash(
            {model: hash_file(file) for model, file in config.students.pretrained.items()}
        )
    return record | {"images": data.info.hash, "people": data.people_hash(), "rules": RULES}


def refuse_changed(identity: Identity, begun: Sequence[BegunStudy]) -> None:
    """Raises ConfigError if a search of this name has not ended, and this one is neither that nor another known one.

    `begun`: those of this name. What `identity` does not know yet is not compared.
    """
    changed = _changed(identity, begun)
    opened = [(study, first) for study, first in changed if not study.has_ended]
    if opened:
        study, first = opened[-1]
        raise ConfigError(
            f"search {study.name} has not ended, and this is not the same: {first}; "
            "put that back to go on with it, or begin another search with --new"
        )


def say_changed(identity: Identity, begun: Sequence[BegunStudy]) -> None:
    """Log what differs from the latest search of this name, where it has ended and this is another one."""
    for study, first in _changed(identity, begun)[-1:]:
        log.info("search %s has ended, and this is another one: %s", study.name, first)


def _changed(identity: Identity, begun: Sequence[BegunStudy]) -> list[tuple[BegunStudy, str]]:
    """Each with a difference, and how many there are more; none where this search is one of them, but for its seed."""
    changed = []
    for study in begun:
        differences = dict(_differences(study.identity, identity))
        found = [told for name, told in differences.items() if name not in FREE]
        if not found:
            return []
        also = f" (and {len(found) - 1} more differences)" if found[1:] else ""
        changed.append((study, found[0] + also))
    return changed


def _differences(old: Identity, new: Identity) -> Iterator[tuple[str, str]]:
    """Path and sentence of everything that both know and that is not equal."""
    before, now = dict(_flatten(old)), dict(_flatten(new))
    for name in sorted(before.keys() | now.keys()):
        unknown = name == "teacher_weights" and name not in now
        if unknown or before.get(name) == now.get(name):
            continue
        told = f"{name} was {_shown(before, name)} and is {_shown(now, name)}"
        yield name, IN_WORDS.get(name, told)


def _flatten(record: Identity, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _shown(values: Mapping[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else "not given"
