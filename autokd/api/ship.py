"""A trained student on its way out: a file that ships, or a version of a registered model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from autokd.engine.candidate_file import NAME as CANDIDATE_FILE
from autokd.engine.place import CACHE
from autokd.exporting import Exported, Registered, export_student, register_student
from autokd.tracking.find import fetch_trial
from autokd.tracking.store import open_store


def export(
    candidate: str | int,
    output: str | Path,
    *,
    format_name: str = "onnx",
    int8: bool = False,
    normalise: bool = True,
    tracking_uri: str | None = None,
    directory: str | Path = ".",
) -> Exported:
    """A trained student as a file that ships, with its model card, in the new folder `output`; held against the student on val.

    Args:
        candidate: a trial's number in the latest study, STUDY/NUMBER, an MLflow run id, a candidate's hash, or a folder
            that `autokd run --output` made.
        format_name: onnx, pt2 or executorch.
        int8: quantise it, calibrated on train images.
        normalise: the file takes pixels of 0..255; False: images that are normalised already.

    Raises:
        AutoKDError: there is no such student, or the format can't hold it. A file that says something else than the
            student does is written all the same: see `Exported.parity.holds`.
    """
    cache = Path(directory).resolve() / CACHE
    options: dict[str, Any] = {
        "format_name": format_name, "int8": int8, "normalise": normalise, "cache": cache,
    }  # fmt: skip
    if (Path(str(candidate)) / CANDIDATE_FILE).is_file():
        folder = Path(str(candidate))
        return export_student(folder, Path(output), source=folder.name, **options)
    store = open_store(tracking_uri, Path(directory).resolve(), create=False)
    with tempfile.TemporaryDirectory(prefix="autokd-export-") as place:
        trial = fetch_trial(store, str(candidate), Path(place))
        return export_student(
            Path(place), Path(output), source=trial.description, facts=trial.facts, **options
        )


def register(
    candidate: str | int,
    name: str,
    *,
    alias: str | None = None,
    int8: bool = False,
    tracking_uri: str | None = None,
    directory: str | Path = ".",
) -> Registered:
    """A trained student as an MLflow model and a version of `name` in the model registry; held against the student on val first.

    The model takes image files and gives class names and probabilities: `mlflow.pyfunc.load_model`, `mlflow models serve`.

    Args:
        candidate: a trial's number in the latest study, STUDY/NUMBER, an MLflow run id or a candidate's hash.
        alias: a name that moves to this version, such as champion: ``models:/NAME@champion``.
        int8: quantise it, calibrated on train images.

    Raises:
        ParityError: the exported file says something else than the student; nothing was registered.
        AutoKDError: there is no such student, or the store has no registry.
    """
    place = Path(directory).resolve()
    store = open_store(tracking_uri, place, create=False)
    return register_student(
        store, str(candidate), name=name, alias=alias, int8=int8, cache=place / CACHE
    )
