"""What went wrong in a trial, as its result tells it."""

from __future__ import annotations

import logging
import math
import traceback
from dataclasses import replace
from pathlib import Path

import torch

from autokd.errors import first_line
from autokd.records import TrialResult

log = logging.getLogger(__name__)

OVER_MEMORY = math.log(2)  # excess of a trial that ran out of it: by how much is not known


def is_out_of_memory(error: Exception) -> bool:
    """As Python, CUDA and torch's allocator on the CPU say it; the last has no type of its own."""
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)


def over_memory(result: TrialResult, error: Exception) -> TrialResult:
    """A limit that was broken, so that the like is not proposed again."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # for the next trial
    batch = result.candidate.stages[-1].training.batch_size
    first = first_line(error)
    return replace(
        result,
        excess={**result.excess, "memory": OVER_MEMORY},
        reason=f"out of memory at batch size {batch}: {first}; fewer workers or smaller batches need less",
    )


def describe_bug(error: Exception, number: int, folder: Path) -> str:
    """One line; the traceback goes to the log and beside the trial."""
    log.error("trial %d failed", number, exc_info=error)
    (folder / "traceback.txt").write_text("".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
