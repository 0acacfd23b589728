"""A student of three classes as an ONNX file, made by hand: it says which of the thirds of the grey levels an image is in."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CLASSES = ("dark", "medium", "light")
SIZE = 6


def write_student(
    path: Path, *, channels: int = 1, image_size: int = SIZE, **metadata: str
) -> Path:
    """With `metadata` beside, or in place of, the classes."""
    shape = ["n", channels, image_size, image_size]
    weights = np.array([[-0.3, 0.0, 0.3]], dtype=np.float32)
    bias = np.array([25.0, 0.0, -51.0], dtype=np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["grey"]),
        helper.make_node("Gemm", ["grey", "weights", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "student",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(CLASSES)])],
        [
            numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
            numpy_helper.from_array(np.array([-1, 1]), "column"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(bias, "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"classes": json.dumps(CLASSES)} | metadata)
    onnx.save(model, str(path))
    return path


def image_file(pixels: NDArray[np.uint8], form: str = "PNG") -> bytes:
    """Of (H, W) or (H, W, 3) pixels."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, form)
    return content.getvalue()


def plain(grey: int, *, width: int = SIZE, height: int = SIZE) -> bytes:
    """A PNG of one grey level."""
    return image_file(np.full((height, width), grey, dtype=np.uint8))
