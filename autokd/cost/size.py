"""How many bytes a model's weights take as they ship: the length of its safetensors file, without writing it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from autokd.errors import CostError

ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}  # of weights in each of records.PRECISIONS
ACTIVATION_BYTES = {"fp32": 4, "fp16": 4, "int8": 1}  # fp16 weights are computed with in fp32


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The elements that a state dict holds, by how they are stored. Tied weights count once."""

    matrix: int  # of parameters with two dimensions or more
    channels: int  # output channels of those
    other: int  # of biases, norms and floating buffers
    integer_bytes: int  # of integer buffers, stored as they are
    header_bytes: (
        int  # names, types, shapes and places of all; a tenth of a very small student's file
    )


def weights_of(model: nn.Module) -> Weights:
    """Read off shapes alone: a model on the meta device will do."""
    matrix = channels = other = integer_bytes = 0
    state = {
        id(tensor): (name, tensor) for name, tensor in model.state_dict(keep_vars=True).items()
    }
    for _, tensor in state.values():
        if not tensor.is_floating_point():
            integer_bytes += tensor.numel() * tensor.element_size()
        elif isinstance(tensor, nn.Parameter) and tensor.dim() >= 2:
            matrix += tensor.numel()
            channels += tensor.shape[0]
        else:
            other += tensor.numel()
    return Weights(
        matrix=matrix,
        channels=channels,
        other=other,
        integer_bytes=integer_bytes,
        header_bytes=_header_bytes(dict(state.values())),
    )


def weight_bytes(model: nn.Module | Weights, dtype: str = "fp32") -> int:
    """Bytes of a file with all weights and persistent buffers in ``fp32``, ``fp16`` or ``int8``.

    int8 is symmetric quantisation per output channel: a byte for every element of a parameter with two dimensions or
    more and an fp32 scale for each of its channels; biases, norms and buffers stay fp32.
    """
    weights = weights_of(model) if isinstance(model, nn.Module) else model
    fixed = weights.integer_bytes + weights.header_bytes
    if dtype == "fp32":
        return 4 * (weights.matrix + weights.other) + fixed
    if dtype == "fp16":
        return 2 * (weights.matrix + weights.other) + fixed
    if dtype == "int8":
        return weights.matrix + 4 * (weights.channels + weights.other) + fixed
    raise CostError(f"unknown precision '{dtype}'; known: {', '.join(ELEMENT_BYTES)}")


def _header_bytes(state: Mapping[str, Tensor]) -> int:
    """Of a safetensors file: a length of 8 bytes and JSON, padded to 8. Types and places are written as for fp32."""
    header, end = {}, 0
    for name, tensor in state.items():
        start, end = end, end + 4 * tensor.numel()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    return 8 + -(-len(json.dumps(header, separators=(",", ":"))) // 8) * 8
