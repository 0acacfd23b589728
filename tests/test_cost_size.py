"""Bytes of weights: against the file that they make."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from autokd.cost import count_on_meta, weight_bytes, weights_of
from autokd.errors import CostError

MODELS = ("resnet10t", "mobilenetv3_small_050", "convnext_atto", "vit_tiny_patch16_224")


@pytest.mark.parametrize(
    ("dtype", "torch_dtype"), [("fp32", torch.float32), ("fp16", torch.float16)]
)
@pytest.mark.parametrize("name", MODELS)
def test_bytes_are_those_of_the_safetensors_file(name, dtype, torch_dtype, tmp_path):
    model = timm.create_model(name, num_classes=10).to(torch_dtype)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    written = (tmp_path / "model.safetensors").stat().st_size
    assert weight_bytes(model, dtype) == pytest.approx(written, rel=0.002)


def test_a_very_small_student_is_its_file_too_whose_header_is_a_good_part(tmp_path):
    model = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(20)))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert weight_bytes(model) == (tmp_path / "model.safetensors").stat().st_size


def test_int8_takes_a_byte_an_element_and_four_a_channel_bias_and_statistic():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    scales, bias, norm, batches_seen = 4 * 8, 4 * 8, 4 * 8 * 4, 8
    header = weights_of(model).header_bytes
    assert weight_bytes(model, "int8") == 3 * 8 * 9 + scales + bias + norm + batches_seen + header


@pytest.mark.parametrize("name", MODELS)
def test_fewer_bits_take_fewer_bytes(name):
    model = timm.create_model(name, num_classes=10)
    fp32, fp16, int8 = (weight_bytes(model, dtype) for dtype in ("fp32", "fp16", "int8"))
    assert fp32 / fp16 == pytest.approx(2, rel=0.01)
    assert fp32 / int8 == pytest.approx(4, rel=0.15)


def test_a_count_on_the_meta_device_knows_the_bytes_too():
    def build():
        return timm.create_model("resnet10t", num_classes=10)

    assert weight_bytes(count_on_meta(build, (3, 32, 32)).weights) == weight_bytes(build())


def test_tied_weights_count_once():
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = model[0].weight
    assert weight_bytes(model) - weights_of(model).header_bytes == 4 * 64


def test_buffers_that_no_checkpoint_holds_take_no_bytes():
    model = nn.Linear(8, 8, bias=False)
    model.register_buffer("mask", torch.zeros(100), persistent=False)
    assert weight_bytes(model) - weights_of(model).header_bytes == 4 * 64


def test_an_unknown_type_is_refused_with_the_known_ones():
    with pytest.raises(CostError, match="unknown precision 'int4'; known: fp32, fp16, int8"):
        weight_bytes(nn.Linear(2, 2), "int4")
