"""The student that is watched, from wherever it is: what it answers, and what it was chosen on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import nn

from autokd.data import load_data
from autokd.drift.reference import NAME, Reference, make_reference, read_reference
from autokd.engine.candidate_file import NAME as CANDIDATE_FILE
from autokd.engine.candidate_file import CandidateFile, parse_candidate_file, refuse_other_data
from autokd.errors import ConfigError
from autokd.evaluation import predict
from autokd.exporting.formats import CPU, FORMATS
from autokd.shipped import load_shipped
from autokd.students import InputFormat
from autokd.teachers import inputs_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """A student ready to be asked."""

    reference: Reference
    recorded: CandidateFile
    model: nn.Module
    inputs: InputFormat
    device: torch.device  # where the model runs

    @property
    def study(self) -> str:
        return str(self.reference.candidate["study"])


def is_export(folder: Path) -> bool:
    """Whether `autokd export` made it; refuses one of before it wrote a reference."""
    if (folder / NAME).is_file():
        return True
    if folder.is_dir() and not (folder / CANDIDATE_FILE).is_file():
        raise ConfigError(
            f"{folder}: has neither {NAME} (of `autokd export`) nor {CANDIDATE_FILE} (of `autokd run --output`); "
            "export the student again, or name its trial"
        )
    return False


def watch_export(folder: Path) -> Watched:
    """What `autokd export` wrote: needs neither store nor the data that the student was trained on."""
    reference = read_reference(folder)
    file = reference.file
    assert file is not None
    if file.format not in FORMATS:
        raise ConfigError(f"{folder / NAME}: unknown format '{file.format}'")
    text = json.dumps(reference.candidate)  # JSON is YAML too
    return Watched(
        reference=reference,
        recorded=parse_candidate_file(text, source=str(folder / NAME)),
        model=FORMATS[file.format].load((folder / file.name).read_bytes()),
        inputs=file.inputs,
        device=CPU,
    )


def watch_folder(
    folder: Path,
    *,
    source: str,
    facts: Mapping[str, float | str],
    cache: Path,
    device: torch.device,
) -> Watched:
    """Weights and candidate.yaml, of a store or of `autokd run --output`; val is read again and looked at now."""
    text = (folder / CANDIDATE_FILE).read_text(encoding="utf-8")
    recorded = parse_candidate_file(text, source=source)
    data = load_data(recorded.config.data, seed=recorded.config.seed, cache=cache)
    refuse_other_data(
        recorded,
        data.info.hash,
        source=source,
        so="there is nothing to compare with; monitor a folder of `autokd export` instead",
    )
    stage = recorded.candidate.stages[-1]
    model = load_shipped(stage, folder, data, device=device, threads=torch.get_num_threads())
    inputs = inputs_of(stage.student, data)
    reference = make_reference(
        data,
        predict(model, data.val, inputs=inputs, device=device),
        source=source,
        candidate=yaml.safe_load(text),
        facts=facts,
    )
    return Watched(
        reference=reference, recorded=recorded, model=model, inputs=inputs, device=device
    )
