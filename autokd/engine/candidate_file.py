"""A trial's record as a file: all that is needed to run its candidate again, alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from autokd.config import Config, parse_config
from autokd.errors import ConfigError, DataError
from autokd.records import Candidate, SearchInfo, TrialResult
from autokd.yaml_file import parse_yaml

NAME = "candidate.yaml"
# The one in C, where PyYAML was built with it: a search writes such a file at every pause.
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

HEADER = "# One candidate of an autokd search. Run it again with: autokd run candidate.yaml\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFile:
    """What a candidate file says."""

    candidate: Candidate
    config: Config  # of the search that it comes from
    seed: int
    threads: int
    teacher_hash: str
    data_hash: str
    val_accuracy: float | None  # as it was measured then


def refuse_other_data(recorded: CandidateFile, data_hash: str, *, source: str, so: str) -> None:
    """Raises DataError where the data are not those that the candidate was trained on."""
    if data_hash != recorded.data_hash:
        raise DataError(
            f"{source}: was trained on other data than {recorded.config.data.source} holds now "
            f"({data_hash}, then {recorded.data_hash}); {so}"
        )


def write_candidate_file(result: TrialResult, info: SearchInfo) -> None:
    """Into the trial's folder."""
    assert result.folder is not None
    record = {
        "study": info.study,
        "trial": result.number,
        "candidate": result.candidate.to_dict(),
        "seed": result.seed,
        "threads": result.threads,
        "val_accuracy": result.val.get("accuracy"),
        "teacher_hash": info.teacher.hash,
        "data_hash": info.data.hash,
    }
    search = indent(info.config, "  ")  # is YAML: to read and write it again took most of the time
    text = HEADER + yaml.dump(record, Dumper=_DUMPER, sort_keys=False) + "search:\n" + search
    (Path(result.folder) / NAME).write_text(text, encoding="utf-8")


def parse_candidate_file(text: str, *, source: str) -> CandidateFile:
    """Raises ConfigError that names the source where the text is no candidate file."""
    record = parse_yaml(text, source=source)
    try:
        return CandidateFile(
            candidate=Candidate.from_dict(record["candidate"]),
            config=parse_config(record["search"], source=source),
            seed=record["seed"],
            threads=record["threads"],
            teacher_hash=record["teacher_hash"],
            data_hash=record["data_hash"],
            val_accuracy=record["val_accuracy"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{source}: is no candidate file of autokd ({problem})") from None
