"""A PyTorch model as an ONNX graph."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from autokd.errors import ExportError, one_line

IMAGE, LOGITS = "image", "logits"
PIXELS = "pixels"  # in place of IMAGE where the graph normalises
METADATA_FLOATS = "float_activations"  # of an int8 graph: "12 of 143"
MOST_IMAGES = 1 << 16  # the most images that a graph may be given at once


def to_onnx(model: nn.Module, input_shape: tuple[int, int, int]) -> bytes:
    """float32 ``image`` (N, *input_shape) -> ``logits`` (N, classes), any N; the weights are in it.

    Traced in eval mode from the model as it is, 2 to 8 s on one core. Raises ExportError for what ONNX can't say.
    """
    model.eval().requires_grad_(False)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    images = torch.zeros(2, *input_shape, device=device)  # of one alone, N would become a constant
    try:
        return _export(model, images)
    except Exception as error:
        fused: list[Any] = [m for m in model.modules() if getattr(m, "fused_attn", False)]
        if not fused:
            raise _refused(model, error) from error
    for module in fused:  # fused attention is exported with four dimensions alone
        module.fused_attn = False
    try:
        return _export(model, images)
    except Exception as error:
        raise _refused(model, error) from error
    finally:
        for module in fused:
            module.fused_attn = True


def _export(model: nn.Module, images: torch.Tensor) -> bytes:
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            input_names=[IMAGE],
            output_names=[LOGITS],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=MOST_IMAGES)},),
            verbose=False,
        )
    return _lean(program.model_proto)


def _refused(model: nn.Module, error: Exception) -> ExportError:
    """With what was wrong at the root: torch's own words are about the steps of its exporter."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return ExportError(f"{type(model).__name__} can't be written as ONNX: {one_line(cause)}")


def with_normalisation(graph: bytes, mean: Sequence[float], std: Sequence[float]) -> bytes:
    """The same graph behind ``(image / 255 - mean) / std``: it takes float32 ``pixels`` (N, C, S, S) of 0..255."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(graph)
    (entry,) = model.graph.input
    given, entry.name = entry.name, PIXELS
    scale = 1 / (255 * np.asarray(std, dtype=np.float64))
    shift = np.asarray(mean, dtype=np.float64) / np.asarray(std, dtype=np.float64)
    constants = {"pixel_scale": scale, "pixel_shift": shift}
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32).reshape(1, -1, 1, 1), name)
        for name, value in constants.items()
    )
    first = [
        helper.make_node("Mul", [PIXELS, "pixel_scale"], ["scaled_pixels"]),
        helper.make_node("Sub", ["scaled_pixels", "pixel_shift"], [given]),
    ]
    nodes = [*first, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def with_half_weights(graph: bytes) -> bytes:
    """The same graph with its weights stored in fp16 and computed with in fp32: half the bytes, and the answers that a
    model with weights rounded to fp16 gives."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        name = tensor.name
        value = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(value, f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def add_metadata(graph: bytes, metadata: Mapping[str, str]) -> bytes:
    """Text that travels in the file, beside what is there: ``session.get_modelmeta().custom_metadata_map``."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(graph)
    helper.set_model_props(model, read_metadata(graph) | dict(metadata))
    return bytes(model.SerializeToString())


def read_metadata(graph: bytes) -> dict[str, str]:
    import onnx

    return {entry.key: entry.value for entry in onnx.load_from_string(graph).metadata_props}


def _lean(model: Any) -> bytes:
    """Without the exporter's notes on where each operator was in Python, half of a small student's file."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its steps on stdout, and each operator that it has several forms of as a warning."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
