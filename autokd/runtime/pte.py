"""ExecuTorch programs, .pte: for phones and boards, through XNNPACK. Needs ``pip install 'autokd[executorch]'``."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from autokd.errors import ExportError, one_line


def to_pte(model: nn.Module, input_shape: tuple[int, int, int]) -> bytes:
    """float32 (1, *input_shape) -> logits (1, classes): one image a call. Raises ExportError."""
    model.eval().requires_grad_(False)
    with _quiet():
        exir, xnnpack = _executorch()
        try:
            with torch.no_grad():
                program = torch.export.export(model, (torch.zeros(1, *input_shape),))
            lowered = exir.to_edge_transform_and_lower(
                program, partitioner=[xnnpack.XnnpackPartitioner()]
            )
            return bytes(lowered.to_executorch().buffer)
        except Exception as error:
            raise ExportError(
                f"{type(model).__name__} can't be written for ExecuTorch: {one_line(error)}"
            ) from error


class PteModel(nn.Module):
    """A program in a model's place; it is asked image by image."""

    def __init__(self, program: bytes) -> None:
        super().__init__()
        with _quiet():
            _executorch()
            from executorch.runtime import Runtime

            self._program: Any = Runtime.get().load_program(program)
            self._method: Any = self._program.load_method("forward")

    def forward(self, images: Tensor) -> Tensor:
        answers = [
            self._method.execute([image.float().unsqueeze(0).contiguous()])[0].clone()
            for image in images
        ]
        return torch.cat(answers)


def _executorch() -> tuple[Any, Any]:
    try:
        from executorch import exir
        from executorch.backends.xnnpack.partition import xnnpack_partitioner
    except ImportError as error:
        raise ExportError(
            f"ExecuTorch is not there ({one_line(error)}): pip install 'autokd[executorch]'"
        ) from None
    return exir, xnnpack_partitioner


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """It warns of itself: of what it does to torch, of being experimental, of how it reads its own files."""
    torch_logger = logging.getLogger("torch.utils._pytree")
    before = torch_logger.level
    torch_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch_logger.setLevel(before)
