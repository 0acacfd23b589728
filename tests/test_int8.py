"""int8 in two tries: whole where that is good enough, else with the activations in float that rounding spoils."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from autokd.runtime import METADATA_FLOATS, OnnxModel, quantise, quantise_mixed, read_metadata
from autokd.runtime.mixed import ENOUGH

IMAGES = [torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(n)) for n in range(8)]
NEW = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(99))


def make_graph(outlier: float) -> bytes:
    """Two layers; the first of eight hidden values is `outlier` times the others, and no logit looks at it."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(16, 8)).astype(np.float32)
    first[:, 0] = outlier
    second = rng.normal(size=(8, 3)).astype(np.float32)
    second[0] = 0
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["pixels"], "reshape"),
        helper.make_node("MatMul", ["pixels", "first"], ["sums"], "first_layer"),
        helper.make_node("Relu", ["sums"], ["hidden"], "relu"),
        helper.make_node("MatMul", ["hidden", "second"], ["logits"], "second_layer"),
    ]
    graph = helper.make_graph(
        nodes,
        "student",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.array([-1, 16]), "flat"),
            numpy_helper.from_array(first, "first"),
            numpy_helper.from_array(second, "second"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def agreement(graph: bytes, exact: bytes) -> float:
    answers = [OnnxModel(each)(NEW).argmax(dim=-1) for each in (graph, exact)]
    return float((answers[0] == answers[1]).double().mean())


def test_where_rounding_everything_is_good_enough_the_graph_is_the_whole_one_byte_for_byte():
    graph = make_graph(outlier=1.0)
    found = quantise_mixed(graph, IMAGES)
    assert found.graph == quantise(graph, IMAGES)
    assert (found.floats, found.agreement) == (0, found.whole)
    assert found.agreement >= ENOUGH
    assert METADATA_FLOATS not in read_metadata(found.graph)


def test_activations_that_rounding_spoils_stay_in_float_and_weights_never_do():
    graph = make_graph(outlier=1e4)
    found = quantise_mixed(graph, IMAGES)
    assert found.whole < 0.9
    assert found.agreement >= ENOUGH
    assert 0 < found.floats < found.activations
    assert read_metadata(found.graph)[METADATA_FLOATS] == f"{found.floats} of {found.activations}"
    assert agreement(found.graph, graph) >= 0.95 > agreement(quantise(graph, IMAGES), graph)
    weights = [t for t in onnx.load_from_string(found.graph).graph.initializer if len(t.dims) == 2]
    assert {t.data_type for t in weights} == {TensorProto.INT8}
    assert found == quantise_mixed(graph, IMAGES)


def test_a_mixed_graph_is_run_by_onnx_runtime_alone_on_any_number_of_images():
    found = quantise_mixed(make_graph(outlier=1e4), IMAGES)
    session = onnxruntime.InferenceSession(found.graph)
    for count in (1, 5):
        (logits,) = session.run(["logits"], {"image": NEW[:count].numpy()})
        assert logits == pytest.approx(OnnxModel(found.graph)(NEW)[:count].numpy(), abs=1e-5)
