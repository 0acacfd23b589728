"""Running an ONNX graph on the CPU, also in a model's place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autokd.errors import ExportError, one_line
from autokd.runtime.graph import LOGITS
from autokd.runtime.latency_server import new_session


def open_session(graph: bytes, *, threads: int) -> Any:
    """An onnxruntime.InferenceSession with so many threads. They sleep between calls: spinning ones would take the CPU from
    whatever else runs."""
    try:
        return new_session(graph, threads=threads, session__intra_op__allow_spinning="0")
    except Exception as error:  # its own classes derive from nothing in common
        raise ExportError(f"ONNX Runtime can't load the graph: {one_line(error)}") from error


def runtime_name() -> str:
    """``ONNX Runtime 1.32.0``."""
    import onnxruntime

    return f"ONNX Runtime {onnxruntime.__version__}"


class OnnxModel(nn.Module):
    """A graph in a model's place: (B, C, H, W) float -> (B, classes) logits, for whoever asks models. Learns nothing."""

    def __init__(self, graph: bytes, *, threads: int = 1) -> None:
        super().__init__()
        self.graph = graph
        self._session = open_session(graph, threads=threads)
        self._entry = self._session.get_inputs()[0].name

    def forward(self, images: Tensor) -> Tensor:
        given = images.detach().to("cpu", torch.float32).contiguous().numpy()
        (logits,) = self._session.run([LOGITS], {self._entry: given})
        return torch.from_numpy(logits).to(images.device)
