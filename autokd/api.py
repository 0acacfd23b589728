"""The public Python functions: what the commands do, for notebooks and scripts."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autokd.config import Config, load_config
from autokd.cost import InputShape, Probe, count_as_published, measure_cost
from autokd.engine.candidate_file import NAME as CANDIDATE_FILE
from autokd.engine.database import ledger_url
from autokd.engine.finish import SearchResult
from autokd.engine.insight import load_insight as read_insight
from autokd.engine.place import CACHE
from autokd.engine.search import Observe, run_search
from autokd.exporting import Exported, Registered, export_student, log_front, register_student
from autokd.fairness.audit import Audit
from autokd.insight import Insight
from autokd.records import Cost, StudentSpec
from autokd.report.frame import stored_front
from autokd.students import create_student, deployed, expand_model_names, unfused_attention
from autokd.task import choose_device, choose_probe
from autokd.tracking.find import fetch_trial, find_audit
from autokd.tracking.read import read_study
from autokd.tracking.store import open_store, open_to_read

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SearchResult",
    "export",
    "front",
    "load_audit",
    "load_config",
    "load_insight",
    "measure",
    "published_macs",
    "register",
    "search",
    "trials",
]


def search(
    path_or_config: str | Path | Config,
    *,
    trials: int | None = None,
    workers: int | None = None,
    seed: int | None = None,
    tracking_uri: str | None = None,
    ledger: str | None = None,
    device: str | None = None,
    directory: str | Path = ".",
    command: str | None = None,
    new: bool = False,
    observe: Observe = lambda _: None,
) -> SearchResult:
    """Search a space and leave its Pareto front in MLflow; the same call goes on with an interrupted search.

    Args:
        path_or_config: a search file, or one that `load_config` has read.
        trials: students to begin with; None: what the file says. `workers` and `seed` likewise.
        tracking_uri: an MLflow server or database; None: `mlflow.db` in `directory`.
        ledger: URL of the database for the search's own records; None: a file in `directory`.
        device: such as `cuda` or `cpu`; None: a GPU where there is one.
        new: begin another search although one of this name, with other settings, has not ended.
        observe: called with the search's `Progress` after every trial.

    Raises:
        AutoKDError: the search file, the data, the teacher, the budget or a store is of no use; says which and why.
    """
    config = (
        path_or_config if isinstance(path_or_config, Config) else load_config(Path(path_or_config))
    )
    updates = {"trials": trials, "workers": workers}
    given = {name: value for name, value in updates.items() if value is not None}
    config = config.model_copy(update={"search": config.search.model_copy(update=given)})
    if seed is not None:
        config = config.model_copy(update={"seed": seed})
    place = Path(directory).resolve()
    result = run_search(
        config,
        directory=place,
        tracking_uri=tracking_uri,
        ledger=ledger,
        device=device,
        command=command,
        new=new,
        observe=observe,
    )
    if config.search.log_models and not result.interrupted and not result.pending and result.links:
        numbers = {*result.front["trial"]}
        front = [trial for trial in result.results if trial.number in numbers]
        log_front(result.study, front, tracking_uri=tracking_uri, directory=place)
    return result


def front(
    study: str | None = None, *, tracking_uri: str | None = None, directory: str | Path = "."
) -> pd.DataFrame:
    """The front of a study (None: the latest), read from the store: one row a student, most accurate first."""
    store = open_to_read(tracking_uri, Path(directory).resolve())
    stored = read_study(store, study, front_only=True)
    return stored_front(stored.trials, stored.objectives, stored.teacher)


def trials(
    study: str | None = None, *, tracking_uri: str | None = None, directory: str | Path = "."
) -> pd.DataFrame:
    """All trials of a study (None: the latest), read from the store: one row a trial, in the order they were proposed.

    `state` says what became of it: complete, stopped, rejected or failed; `control` why it was put in by hand. Columns:
    autokd.tracking.read.COLUMNS.
    """
    store = open_to_read(tracking_uri, Path(directory).resolve())
    return read_study(store, study).trials


def load_insight(
    study: str | None = None, *, ledger: str | None = None, directory: str | Path = "."
) -> Insight:
    """What a search tells beside its front: which parameters matter, how the front grew, what was rejected and why.

    Read from the search's own records, a file in `directory` or the database at the URL `ledger`; it may still run.
    """
    return read_insight(ledger_url(ledger, Path(directory).resolve() / CACHE), study)


def load_audit(
    candidate: str | int,
    *,
    split: str = "val",
    tracking_uri: str | None = None,
    directory: str | Path = ".",
) -> Audit:
    """The fairness audit of a student that was trained to its end, read from the store.

    Args:
        candidate: a trial's number in the latest study, STUDY/NUMBER, an MLflow run id or a candidate's hash.
        split: val, or test for members of a finished search's front.
    """
    store = open_store(tracking_uri, Path(directory).resolve(), create=False)
    return Audit(json.loads(find_audit(store, str(candidate), split)))


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


def measure(
    model: str | nn.Module | StudentSpec,
    input_size: tuple[int, int, int] = (3, 224, 224),
    *,
    classes: int = 1000,
    device: str = "cpu",
    threads: int = 1,
    batch: int = 1,
    precision: str = "fp32",
    runtime: str = "onnxruntime",
) -> Cost:
    """What a model costs at inference, in its deployed form: MACs, parameters, size, activations, latency.

    Args:
        model: a timm name, a StudentSpec, or a module that takes (1, *input_size).
        input_size: channels, height, width of one image.
        device: cpu or cuda for the runtime pytorch; http://… where `autokd latency-serve` runs.
        batch: images a call when it is timed.
        precision: fp32, fp16 or int8: of the weights' bytes, and int8 of the latency too.
        runtime: onnxruntime or pytorch.
    """
    remote = "://" in device
    probe = choose_probe(
        runtime=runtime,
        server=device if remote else None,
        where=choose_device("cpu" if remote else device),
        threads=threads,
        batch=batch,
        memory=True,
    )
    if isinstance(model, nn.Module):
        own = model  # copied to wherever torch builds models just now: the meta device while MACs are counted
        return _measure(
            lambda: copy.deepcopy(own).to(torch.empty(0).device),
            input_size,
            precision,
            probe,
        )
    if isinstance(model, str):
        (name,) = expand_model_names([model])
        model = StudentSpec(model=name, image_size=input_size[-1])
    spec = model
    return _measure(
        lambda: create_student(spec, classes=classes, channels=input_size[0]),
        input_size,
        precision,
        probe,
    )


def published_macs(
    model: str, input_size: tuple[int, int, int] = (3, 224, 224), *, classes: int = 1000
) -> int:
    """MACs of a timm model as timm's own tables count them: the form that is trained, with norms, pools and resizing."""
    (name,) = expand_model_names([model])
    spec = StudentSpec(model=name, image_size=input_size[-1])
    with unfused_attention(), torch.random.fork_rng(devices=[]):
        built = create_student(spec, classes=classes, channels=input_size[0])
    return count_as_published(built, input_size).macs


def _measure(
    build: Callable[[], nn.Module], input_size: InputShape, precision: str, probe: Probe
) -> Cost:
    with torch.random.fork_rng(
        devices=[]
    ):  # weights do not matter, and the caller's random stream does
        return measure_cost(lambda: deployed(build()), input_size, precision=precision, probe=probe)
