"""Where a stage's training paused: all that it needs to go on as if it had not."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from autokd.errors import CheckpointError, first_line, storage_errors

CHECKPOINT = "checkpoint.pt"


class Resumable:
    """A stage's training; anything with a state dict."""

    def __init__(self, stage: str, training: Any) -> None:
        self._stage = stage
        self._training = training

    def save(self, folder: Path, *, epoch: int, best_accuracy: float, since_best: int) -> None:
        """Whole or not at all, however the process ends."""
        record = {
            "stage": self._stage,
            "epoch": epoch,
            "best_accuracy": best_accuracy,
            "since_best": since_best,
            "training": self._training.state_dict(),
            "cpu": torch.get_rng_state(),  # dropout and stochastic depth draw from it
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        new = folder / f"{CHECKPOINT}.new"
        with storage_errors(folder):
            torch.save(record, new)
            new.replace(folder / CHECKPOINT)

    def load(self, folder: Path) -> tuple[int, float, int]:
        """Back to where `save` was called; its epoch, best accuracy and epochs since then."""
        record = read_checkpoint(folder)
        assert record is not None
        assert record["stage"] == self._stage
        self._training.load_state_dict(record["training"])
        torch.set_rng_state(record["cpu"])
        if record["cuda"] and len(record["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(record["cuda"])
        return record["epoch"], record["best_accuracy"], record["since_best"]


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """None where there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: can't be read: {first_line(error)}") from None
    return record
