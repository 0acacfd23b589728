"""`autokd monitor`, and autokd.monitor of Python: from names and paths to what was found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from autokd.drift.reference import NAME as REFERENCE
from autokd.engine.place import CACHE
from autokd.errors import ConfigError
from autokd.monitoring.groups import choose_metadata
from autokd.monitoring.monitor import Monitored, monitor_student
from autokd.monitoring.watched import Watched, is_export, watch_export, watch_folder
from autokd.task import choose_device
from autokd.tracking.find import fetch_trial
from autokd.tracking.registry import fetch_version
from autokd.tracking.store import open_store


def monitor(
    candidate: str | int | Path,
    data: str | Path,
    *,
    metadata: str | Path | None = None,
    key: str | None = None,
    groups: Sequence[str] | None = None,
    cluster: str | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
    labels_needed: bool = False,
    tracking_uri: str | None = None,
    device: str | None = None,
    directory: str | Path = ".",
) -> Monitored:
    """A student held against new images: `recommendation` is keep, undecided, look closer or re-distil, `advice.reasons` why.

    Args:
        candidate: a folder of `export`, a registered version (models:/NAME/VERSION or models:/NAME@ALIAS), or what `export` takes.
        data: one folder a class, a folder of images without labels, or an .npz of images and perhaps labels.
        metadata: a table about the new images, CSV or Parquet; `key`, `groups`, `cluster` and `bands` are as in a search file's
            `data.metadata`, and are the search's own where they are not given.
        labels_needed: refuse images without labels.

    Raises:
        AutoKDError: there is no such student, or the images are of no use.
    """
    place, chosen = Path(directory).resolve(), choose_device(device)
    with _watched(str(candidate), tracking_uri, place, chosen) as watched:
        table = choose_metadata(
            watched.recorded.config,
            path=None if metadata is None else Path(metadata),
            key=key,
            groups=groups,
            cluster=cluster,
            bands=bands,
        )
        return monitor_student(
            watched,
            Path(data),
            metadata=table,
            labels_needed=labels_needed,
            cache=place / CACHE,
            device=chosen,
        )


@contextmanager
def _watched(
    candidate: str, tracking_uri: str | None, directory: Path, device: torch.device
) -> Iterator[Watched]:
    """From a folder, or from the store, whose copy is there as long as it is used."""
    folder, cache = Path(candidate), directory / CACHE
    if folder.is_dir():
        if is_export(folder):
            yield watch_export(folder)
        else:
            yield watch_folder(folder, source=folder.name, facts={}, cache=cache, device=device)
        return
    store = open_store(tracking_uri, directory, create=False)
    with tempfile.TemporaryDirectory(prefix="autokd-monitor-") as place:
        copy = Path(place)
        if candidate.startswith("models:"):
            yield watch_export(_with_reference(fetch_version(store, candidate, copy), candidate))
            return
        trial = fetch_trial(store, candidate, copy)
        facts: dict[str, float | str] = {**trial.metrics, **trial.tags}
        yield watch_folder(copy, source=trial.description, facts=facts, cache=cache, device=device)


def _with_reference(folder: Path, version: str) -> Path:
    if not (folder / REFERENCE).is_file():
        raise ConfigError(
            f"{version}: has no {REFERENCE}, as autokd registers students with; register its trial again, or name the trial"
        )
    return folder
