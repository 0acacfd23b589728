"""A second, independent count of MACs: fvcore's, by tracing a real forward pass.

fvcore's own handles leave out fused attention, recurrent layers and padding="same", get matmul wrong where the left
side is broadcast, and count norms, pools and resizing as work. The handles here mend that, so that the figure is MACs
and nothing else.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import nn

from autokd.cost.macs import Count, InputShape, make_count
from autokd.errors import CostError, one_line

# Operators as the tracer names them. Norms, pools and resizing multiply no matrices. (Setting a handle to None, as
# fvcore documents, changes nothing for an operator that has one.)
_NO_MACS = (
    *("aten::batch_norm", "aten::group_norm", "aten::layer_norm", "aten::instance_norm"),
    *("aten::upsample_nearest2d", "aten::upsample_bilinear2d", "aten::adaptive_avg_pool2d"),
    "aten::grid_sampler",
)

# Parts of names of operators that hold matrix products and have no handle.
_COSTLY = (
    *("conv", "linear", "mm", "matmul", "attention", "lstm", "gru", "rnn", "transformer"),
    *("einsum", "tensordot", "inner", "fft", "linalg", "cdist", "addr", "addbmm"),
)


def count_with_fvcore(model: nn.Module, input_shape: InputShape) -> Count:
    """Trace one forward pass of one image in eval mode. The model is left as it was: mode, statistics and hooks."""
    return _count(model, input_shape, _handles())


def count_as_published(model: nn.Module, input_shape: InputShape) -> Count:
    """The figure of timm's result tables: fvcore with its own handles, norms, pools and resizing among the work.

    For the model as it is trained, made without fused attention, of which fvcore knows nothing.
    """
    return _count(model, input_shape, {})


def _count(model: nn.Module, input_shape: InputShape, handles: Mapping[str, Any]) -> Count:
    first = next(model.parameters(), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else None
    image = torch.zeros(1, *input_shape, device=first.device, dtype=dtype)
    with _left_as_it_was(model), _quiet(), torch.no_grad():
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(model.eval(), image)
        analysis.set_op_handle(**handles)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        try:
            by_operator = {k: int(v) for k, v in analysis.by_operator().items() if v}
        except Exception as error:
            name = type(model).__name__
            raise CostError(f"{name}: fvcore can't count it: {one_line(error)}") from error
        uncounted = tuple(sorted(filter(_may_hold_macs, analysis.unsupported_ops())))
    return make_count(model, by_operator, uncounted)


def _may_hold_macs(operator: str) -> bool:
    namespace, _, name = operator.partition("::")
    costly = any(part in name for part in _COSTLY) and "norm" not in name
    return costly or namespace != "aten"


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Modes as they were, hooks as they were: fvcore leaves its own behind where tracing fails."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    hooks = [(set(m._forward_pre_hooks), set(m._forward_hooks)) for m in modules]
    try:
        yield
    finally:
        for module, mode, (before, after) in zip(modules, modes, hooks, strict=True):
            module.training = mode
            for registry, known in (
                (module._forward_pre_hooks, before),
                (module._forward_hooks, after),
            ):
                for key in set(registry) - known:
                    del registry[key]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without fvcore's and the tracer's complaints, and without the fused attention path that hides its products."""
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    disabled, fast = logger.disabled, torch.backends.mha.get_fastpath_enabled()
    logger.disabled = True
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            for category in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.disabled = disabled
        torch.backends.mha.set_fastpath_enabled(fast)


Values = Sequence[Any]  # torch._C.Value


def _handles() -> dict[str, Any]:
    return {
        **dict.fromkeys(_NO_MACS, lambda _inputs, _outputs: 0),
        "aten::scaled_dot_product_attention": _attention_macs,
        "aten::_convolution_mode": _convolution_macs,
        "aten::matmul": _product_macs,
        "aten::mm": _product_macs,
        "aten::bmm": _product_macs,
        "aten::mv": _product_macs,
        "aten::dot": _product_macs,
        "aten::baddbmm": lambda inputs, outputs: _product_macs(inputs[1:], outputs),
        "aten::addmv": lambda inputs, outputs: _product_macs(inputs[1:], outputs),
        "aten::einsum": _einsum_macs,
        "aten::lstm": _recurrent_macs,
        "aten::gru": _recurrent_macs,
        "aten::rnn_tanh": _recurrent_macs,
        "aten::rnn_relu": _recurrent_macs,
    }


def _shape(value: Any) -> list[int]:
    shape: list[int] = value.type().sizes()
    return shape


def _product_macs(inputs: Values, outputs: Values) -> int:
    """Every element of the result sums over the left side's last dimension; right with broadcasting and vectors."""
    return prod(_shape(outputs[0])) * _shape(inputs[0])[-1]


def _attention_macs(inputs: Values, _outputs: Values) -> int:
    """q k^T and its product with v, in full: a mask saves nothing."""
    query, key, value = (_shape(tensor) for tensor in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _convolution_macs(inputs: Values, outputs: Values) -> int:
    out, weight = _shape(outputs[0]), _shape(inputs[1])
    return prod(out) * prod(weight[1:])  # weight: (out, in / groups, *kernel)


def _recurrent_macs(inputs: Values, _outputs: Values) -> int:
    """Each weight matrix of each layer and direction is used once a step and sequence."""
    steps = prod(_shape(inputs[0])[:2])
    lists = [v.node() for v in inputs if v.node().kind() == "prim::ListConstruct"]
    shapes = [_shape(v) for node in lists for v in node.inputs() if v.isCompleteTensor()]
    return steps * sum(prod(shape) for shape in shapes if len(shape) == 2)


def _einsum_macs(inputs: Values, outputs: Values) -> Any:
    """Two operands: the product of all index sizes where an index is summed over both, else no MAC at all."""
    equation = inputs[0].toIValue().replace(" ", "")
    terms, _, result = equation.partition("->")
    names = terms.split(",")
    if len(names) != 2 or not result or "." in equation:
        from fvcore.nn.jit_handles import einsum_flop_jit

        return einsum_flop_jit(inputs, outputs)
    shapes = [_shape(v) for v in inputs[1].node().inputs()]
    sizes = {
        index: size
        for name, shape in zip(names, shapes, strict=True)
        for index, size in zip(name, shape, strict=True)
    }
    summed = (set(names[0]) & set(names[1])) - set(result)
    return prod(sizes.values()) if summed else 0
