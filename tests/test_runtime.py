"""ONNX graphs: what PyTorch says, for any number of images, and in int8 nearly so."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from autokd.errors import ExportError
from autokd.records import StudentSpec
from autokd.runtime import OnnxModel, open_session, quantise, to_onnx
from autokd.students import create_student, deployed

pytestmark = pytest.mark.slow

SHAPE = (3, 32, 32)


def make(name: str) -> nn.Module:
    """With statistics of norms that are not those of a fresh model, which would hide mistakes."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return deployed(model)


@pytest.fixture(scope="module")
def model():
    return make("resnet10t")


@pytest.fixture(scope="module")
def graph(model):
    return to_onnx(model, SHAPE)


def images(count: int, *, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_a_graph_answers_as_its_model_does_whatever_the_batch(model, graph, count):
    shown = images(count)
    torch.testing.assert_close(OnnxModel(graph)(shown), model(shown), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["mobileone_s0", "repvgg_a0", "mobilenetv4_conv_small", "edgenext_xx_small", "twins_svt_small"],
)
def test_other_architectures_too(name):
    model = make(name)
    shown = torch.randn(3, 3, 64, 64)
    answered = OnnxModel(to_onnx(model, (3, 64, 64)))(shown)
    torch.testing.assert_close(answered, model(shown), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_transformer_too():
    arguments = {"heads": 2, "head_dim": 16, "depth": 2, "patch_size": 8}
    spec = StudentSpec(model="vit", arguments=arguments, image_size=32)
    model = deployed(create_student(spec, classes=7, channels=3))
    torch.testing.assert_close(
        OnnxModel(to_onnx(model, SHAPE))(images(3)), model(images(3)), rtol=1e-3, atol=1e-4
    )


def test_writing_a_graph_says_nothing_and_leaves_the_model_as_it_was(model, capfd):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    to_onnx(model, SHAPE)
    assert capfd.readouterr() == ("", "")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_int8_is_a_quarter_of_the_bytes_and_close_to_the_model(model, graph):
    small = quantise(graph, images(64).split(16))
    assert len(small) < 0.3 * len(graph)
    shown = images(64, seed=2)
    exact, rounded = model(shown), OnnxModel(small)(shown)
    error = (rounded - exact).norm() / exact.norm()
    assert 1e-4 < error < 0.1
    assert torch.equal(rounded, OnnxModel(quantise(graph, images(64).split(16)))(shown))


class Odd(nn.Module):
    def forward(self, image):
        return torch.linalg.eigvals(image)  # ONNX has no such operator


def test_what_onnx_can_not_say_is_one_line():
    with pytest.raises(ExportError, match=r"^Odd can't be written as ONNX: \w+: .{1,160}$"):
        to_onnx(Odd(), SHAPE)


def test_bytes_that_are_no_graph_are_one_line():
    with pytest.raises(ExportError, match="ONNX Runtime can't load the graph"):
        open_session(b"no graph", threads=1)
