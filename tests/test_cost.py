"""A student's whole cost, from a builder to a record."""

import pytest
import timm
import torch
from torch import nn

from autokd.api.measure import measure
from autokd.cost import EagerProbe, exact_cost, measure_cost
from autokd.errors import CostError


def build():
    return timm.create_model("resnet10t", num_classes=10)


def test_the_exact_cost_comes_from_shapes_alone():
    cost = exact_cost(build, (3, 32, 32), precision="fp16")
    assert (cost.macs, cost.params) == (22_387_712, 4_927_618)
    assert cost.size_bytes == pytest.approx(2 * cost.params, rel=0.01)
    assert cost.weight_dtype == "fp16"
    assert cost.latency_ms is None
    assert cost.device is None


def test_a_measured_cost_is_the_exact_one_with_a_latency_and_its_device():
    exact = exact_cost(build, (3, 32, 32))
    measured = measure_cost(build, (3, 32, 32), probe=EagerProbe())
    assert (measured.macs, measured.params) == (exact.macs, exact.params)
    assert measured.size_bytes == exact.size_bytes
    assert 0 < measured.latency_ms <= measured.latency_median_ms <= measured.latency_p90_ms
    assert measured.device.endswith("1 thread, PyTorch eager")


def test_a_cost_without_latency_and_check_builds_no_real_model():
    devices = []

    def build_and_look():
        model = build()
        devices.append(next(model.parameters()).device.type)
        return model

    assert measure_cost(build_and_look, (3, 32, 32), check=False).latency_ms is None
    assert devices == ["meta"]


class Undercounted(nn.Module):
    """Has a product that the tracer sees as something that it does not know."""

    def __init__(self):
        super().__init__()
        self.conv, self.weight = nn.Conv2d(3, 4, 1), nn.Parameter(torch.empty(5, 4))

    def forward(self, image):
        return torch.tensordot(self.weight, self.conv(image)[0], dims=([1], [0]))


def test_a_disagreement_of_the_counters_is_an_error_before_anything_is_trained():
    with pytest.raises(
        CostError, match=r"Undercounted: two counts of MACs disagree.*aten::tensordot"
    ):
        measure_cost(Undercounted, (3, 8, 8))
    assert measure_cost(Undercounted, (3, 8, 8), check=False).macs == 64 * (12 + 20)


def test_without_latency_nothing_is_timed_and_costs_are_those_with_it():
    model, shape = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)), (3, 8, 8)
    quick = measure(model, shape, latency=False)
    assert (quick.latency_ms, quick.device, quick.memory_bytes) == (None, None, None)
    full = measure(model, shape, runtime="pytorch")
    assert full.latency_ms > 0
    names = ("macs", "params", "size_bytes", "activation_bytes")
    assert [getattr(quick, name) for name in names] == [getattr(full, name) for name in names]
