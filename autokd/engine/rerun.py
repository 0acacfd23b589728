"""One candidate again, alone, from its record."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from autokd.engine.candidate_file import (
    NAME,
    CandidateFile,
    parse_candidate_file,
    refuse_other_data,
)
from autokd.engine.place import CACHE, make_writable, refuse_output
from autokd.errors import storage_errors
from autokd.peers import all_peers
from autokd.records import TrialResult
from autokd.task import create_task
from autokd.trial import run_trial, time_student

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """The old figures and the new."""

    recorded: CandidateFile
    result: TrialResult
    same_teacher: bool  # a teacher trained on another machine has other weights
    processes: int  # that trained it together
    first: bool  # whether this is the one of them that speaks


def rerun(
    text: str, *, source: str, directory: Path, device: str | None, output: Path | None = None
) -> Rerun:
    """Train the candidate of a candidate file with its own seed and number of threads.

    On the same machine's CPU the accuracy is the same. Where torchrun started several processes they train it together,
    each with its part of every batch. `output`: a new folder for weights and audit. Raises DataError where the data
    have changed since.
    """
    if output:
        refuse_output(output)
    recorded = parse_candidate_file(text, source=source)
    cache = directory / CACHE
    make_writable(cache)
    with (
        all_peers() as peers,
        tempfile.TemporaryDirectory(dir=cache, prefix="run-") as place,
    ):
        task = create_task(recorded.config, cache=cache, device=device, threads=recorded.threads)
        refuse_other_data(
            recorded, task.data.info.hash, source=source, so="figures would not compare"
        )
        folder = Path(place) / "trial"
        result = run_trial(
            recorded.candidate, task, number=0, seed=recorded.seed, folder=folder, peers=peers
        )
        if output and peers.rank == 0:
            with storage_errors(output):
                shutil.copytree(folder, output, dirs_exist_ok=True)
                (output / NAME).write_text(text, encoding="utf-8")
        # Last: where another device times it, and is away, what was trained is kept.
        if peers.rank == 0 and result.state == "complete":
            result = replace(result, cost=time_student(result, task) or result.cost)
    return Rerun(
        recorded=recorded,
        result=result,
        same_teacher=task.teacher_info.hash == recorded.teacher_hash,
        processes=peers.count,
        first=peers.rank == 0,
    )
