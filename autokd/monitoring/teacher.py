"""The teacher that a watched student learnt from, where it is still at hand. Nothing is trained for it."""

from __future__ import annotations

from pathlib import Path

import torch

from autokd.answers import Teacher
from autokd.data import load_data
from autokd.engine.candidate_file import CandidateFile
from autokd.errors import AutoKDError
from autokd.teachers import load_teacher, needs_training


def find_teacher(
    recorded: CandidateFile, *, cache: Path, device: torch.device
) -> tuple[Teacher | None, str | None]:
    """The very one; or None, and why."""
    config, seed = recorded.config, recorded.config.seed
    try:
        data = load_data(config.data, seed=seed, cache=cache)
        if data.info.hash != recorded.data_hash:
            return None, f"{config.data.source} holds other data than the search had"
        if needs_training(config.teacher, data, cache=cache, seed=seed):
            return None, f"it was trained elsewhere, and is not in {cache}"
        teacher, info = load_teacher(config.teacher, data, cache=cache, seed=seed, device=device)
    except AutoKDError as error:
        return None, str(error)
    if info.hash != recorded.teacher_hash:
        return None, "the one here has other weights than the one that the student learnt from"
    return teacher, None
