"""How many bytes a model's weights take as they ship. Leaves out file headers, about 100 bytes a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from autokd.errors import CostError

DTYPES = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The elements that a state dict holds, by how they are stored. Tied weights count once."""

    matrix: int  # of parameters with two dimensions or more
    channels: int  # output channels of those
    other: int  # of biases, norms and floating buffers
    integer_bytes: int  # of integer buffers, stored as they are


def weights_of(model: nn.Module) -> Weights:
    """Read off shapes alone: a model on the meta device will do."""
    matrix = channels = other = integer_bytes = 0
    state = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}
    for tensor in state.values():
        if not tensor.is_floating_point():
            integer_bytes += tensor.numel() * tensor.element_size()
        elif isinstance(tensor, nn.Parameter) and tensor.dim() >= 2:
            matrix += tensor.numel()
            channels += tensor.shape[0]
        else:
            other += tensor.numel()
    return Weights(matrix=matrix, channels=channels, other=other, integer_bytes=integer_bytes)


def weight_bytes(model: nn.Module | Weights, dtype: str = "fp32") -> int:
    """Bytes of all weights and persistent buffers in ``fp32``, ``fp16`` or ``int8``.

    int8 is symmetric quantisation per output channel: a byte for every element of a parameter with two dimensions or
    more and an fp32 scale for each of its channels; biases, norms and buffers stay fp32.
    """
    weights = weights_of(model) if isinstance(model, nn.Module) else model
    floats = weights.matrix + weights.other
    if dtype == "fp32":
        return 4 * floats + weights.integer_bytes
    if dtype == "fp16":
        return 2 * floats + weights.integer_bytes
    if dtype == "int8":
        return weights.matrix + 4 * (weights.channels + weights.other) + weights.integer_bytes
    raise CostError(f"unknown weight_dtype '{dtype}'; known: {', '.join(DTYPES)}")
