"""What one executed operator costs in multiply-accumulates, and which operators cost none.

Formulas are PyTorch's own (`torch.utils.flop_counter`); the few that it lacks are added here. An operator that is
neither counted nor known to be free is unknown, which is never the same as zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten

# Matrix-vector products, for which PyTorch's counter has no formula: which argument's elements are multiplied once each.
_VECTOR_PRODUCTS = {aten.mv: 0, aten.addmv: 1, aten.dot: 0, aten.vdot: 0}

# Operators that move, select or normalise, and multiply no matrices. Elementwise operators need no entry,
# PyTorch marks them itself; nor do operators on a single tensor, such as pools and softmax.
_FREE = {
    "_index_put_impl_",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_unsafe_index",
    "_unsafe_index_put",
    "batch_norm_elemt",
    "bucketize",
    "cat",
    "copy",
    "copy_",
    "cudnn_batch_norm",
    "embedding",
    "fill",
    "fill_",
    "gather",
    "grid_sampler_2d",
    "index",
    "index_add",
    "index_copy",
    "index_put",
    "index_put_",
    "linalg_vector_norm",
    "masked_scatter",
    "native_batch_norm",
    "native_group_norm",
    "native_layer_norm",
    "_fused_rms_norm",
    "prelu",
    "_prelu_kernel",
    "scatter",
    "scatter_",
    "scatter_add",
    "select_scatter",
    "slice_scatter",
    "stack",
    "where",
    "_weight_norm_interface",
}

# Operators on a single tensor that hold matrix products all the same.
_COSTLY_PREFIXES = ("_fft", "fft", "linalg", "_linalg", "cholesky", "matrix_exp")


def operator_macs(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
) -> int | None:
    """MACs of one call; None: unknown."""
    packet = func._overloadpacket
    formula = flop_registry.get(packet)
    if formula is not None:
        return int(formula(*args, **kwargs, out_val=out)) // 2  # PyTorch counts 2 per MAC
    if packet in _VECTOR_PRODUCTS:
        return int(args[_VECTOR_PRODUCTS[packet]].numel())
    return 0 if _is_free(func, (args, kwargs)) else None


def _is_free(func: Any, arguments: Any) -> bool:
    if torch.Tag.pointwise in func.tags:
        return True
    if func.namespace not in ("aten", "prim", "prims"):
        return False
    name = func._schema.name.rpartition("::")[2]
    if name in _FREE:
        return True
    if name.startswith(_COSTLY_PREFIXES):
        return False
    floats = [leaf for leaf in tree_leaves(arguments) if _is_float_tensor(leaf)]
    return len(floats) < 2


def _is_float_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex())
