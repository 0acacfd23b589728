"""One candidate again, alone, from its record."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

from autokd.engine.candidate_file import CandidateFile, parse_candidate_file
from autokd.engine.place import CACHE, make_writable
from autokd.errors import DataError
from autokd.records import TrialResult
from autokd.task import create_task
from autokd.trial import run_trial

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """The old figures and the new."""

    recorded: CandidateFile
    result: TrialResult
    same_teacher: bool  # a teacher trained on another machine has other weights


def rerun(text: str, *, source: str, directory: Path, device: str | None) -> Rerun:
    """Train the candidate of a candidate file with its own seed and number of threads.

    On the same machine's CPU the accuracy is the same. Raises DataError where the data have changed since.
    """
    recorded = parse_candidate_file(text, source=source)
    cache = directory / CACHE
    make_writable(cache)
    task = create_task(recorded.config, cache=cache, device=device, threads=recorded.threads)
    if task.data.info.hash != recorded.data_hash:
        raise DataError(
            f"{source}: was trained on other data than {recorded.config.data.source} holds now "
            f"({task.data.info.hash}, then {recorded.data_hash}); figures would not compare"
        )
    with tempfile.TemporaryDirectory(dir=cache, prefix="run-") as folder:
        result = run_trial(
            recorded.candidate, task, number=0, seed=recorded.seed, folder=Path(folder)
        )
    same_teacher = task.teacher_info.hash == recorded.teacher_hash
    return Rerun(recorded=recorded, result=result, same_teacher=same_teacher)
