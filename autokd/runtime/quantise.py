"""int8: weights and activations of an ONNX graph as bytes."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from autokd.errors import ExportError, one_line
from autokd.runtime.graph import IMAGE


def quantise(graph: bytes, images: Iterable[Tensor], *, separate: bool = False) -> bytes:
    """Static quantisation (ONNX Runtime, QDQ): weights int8 per output channel, activations uint8, whose ranges are those
    that the calibration `images`, batches of float (N, C, H, W) as the graph takes them, have.

    `separate` keeps operators such as ReLU that a range of int8 makes needless, so that any activation may be left in float.
    Dynamic quantisation would make convolutions 3 to 9 times slower than float.
    """
    from onnxruntime.quantization import (  # loads onnx and more: late
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="autokd-int8-") as place, _quiet():
        float_file, ready, int8 = (Path(place) / name for name in ("float", "ready", "int8"))
        float_file.write_bytes(graph)
        try:
            quant_pre_process(
                float_file, ready, skip_symbolic_shape=True
            )  # folds norms into convolutions
            quantize_static(
                ready,
                int8,
                _reader(images),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,  # 7 bits: AVX2 without VNNI adds pairs of products in 16 bits, and saturates
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"QDQKeepRemovableActivations": separate},
            )
        except Exception as error:
            raise ExportError(f"the graph can't be quantised: {one_line(error)}") from error
        return int8.read_bytes()


def _reader(images: Iterable[Tensor]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {IMAGE: batch.float().contiguous().numpy()}

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """It advises on the root logger."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
