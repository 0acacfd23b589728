"""PyTorch's own exported form, .pt2: a graph and weights, loaded without the model's code."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, nn

from autokd.errors import ExportError, one_line
from autokd.runtime.graph import MOST_IMAGES


def to_pt2(model: nn.Module, input_shape: tuple[int, int, int]) -> bytes:
    """float32 (N, *input_shape) -> logits (N, classes), any N. Raises ExportError."""
    model.eval().requires_grad_(False)
    count = torch.export.Dim("n", min=1, max=MOST_IMAGES)
    try:
        with torch.no_grad():
            program = torch.export.export(
                model, (torch.zeros(2, *input_shape),), dynamic_shapes=({0: count},)
            )
        stream = io.BytesIO()
        torch.export.save(program, stream)
    except Exception as error:
        raise ExportError(
            f"{type(model).__name__} can't be written as pt2: {one_line(error)}"
        ) from error
    return stream.getvalue()


class Pt2Model(nn.Module):
    """An exported program in a model's place."""

    def __init__(self, program: bytes) -> None:
        super().__init__()
        # in a tuple: what torch loads knows no eval(), which whoever asks models calls
        self._program: tuple[Any] = (torch.export.load(io.BytesIO(program)).module(),)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self._program[0](images.float().contiguous())
        return logits
