"""Latency: in the right order, and without a trace on the process."""

import platform

import pytest
import timm
import torch
from torch import nn

from autokd.cost import describe_device, measure_latency
from autokd.cost.latency import is_contended
from autokd.errors import CostError

BRIEF = {"visits": 2, "seconds_per_visit": 0.02}


def test_a_model_with_fifty_times_the_macs_is_slower():
    small = measure_latency(nn.Conv2d(3, 4, 3), (3, 32, 32), **BRIEF)
    large = measure_latency(timm.create_model("resnet10t"), (3, 96, 96), **BRIEF)
    assert large.median_ms > 3 * small.median_ms


def test_the_figures_are_in_order():
    latency = measure_latency(nn.Conv2d(3, 4, 3), (3, 32, 32), **BRIEF)
    assert 0 < latency.min_ms <= latency.median_ms <= latency.p90_ms


@pytest.mark.parametrize("threads", [1, 2])
def test_the_model_runs_on_the_threads_asked_for_and_the_process_keeps_its_own(threads):
    seen = []
    model = nn.Conv2d(3, 4, 3)
    model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    measure_latency(model, (3, 8, 8), threads=threads, visits=1, seconds_per_visit=0.0)
    assert set(seen) == {threads}
    assert torch.get_num_threads() == before


def test_threads_are_restored_when_the_model_fails():
    before = torch.get_num_threads()
    with pytest.raises(
        CostError, match="Conv2d can't be run on an image of 5x8x8 on cpu: RuntimeError"
    ):
        measure_latency(nn.Conv2d(3, 4, 3), (5, 8, 8), threads=before + 1)
    assert torch.get_num_threads() == before


def test_one_image_is_timed_in_eval_mode_without_gradients():
    seen = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    model.register_forward_hook(
        lambda m, inputs, out: seen.append((len(inputs[0]), m.training, out.requires_grad))
    )
    measure_latency(model, (3, 8, 8), **BRIEF)
    assert set(seen) == {(1, False, False)}


def test_a_slow_model_is_called_a_few_times_however_long_it_takes():
    calls = []
    model = nn.Conv2d(3, 4, 3)
    model.register_forward_hook(lambda *_: calls.append(1))
    measure_latency(model, (3, 8, 8), visits=2, seconds_per_visit=0.0, warmup=1)
    assert len(calls) == 1 + 2 * 3


@pytest.mark.parametrize(
    ("pressure", "waiting", "contended"),
    [(0, 0, False), (20, 0.2, False), (20.1, 0, True), (0, 0.21, True), (99, 0.9, True)],
)
def test_a_busy_machine_is_told_by_either_sign(pressure, waiting, contended):
    assert is_contended(pressure, waiting=waiting) is contended


def test_the_device_says_processor_threads_and_runtime_but_no_host_name():
    device = describe_device("cpu", threads=1)
    assert device.endswith(", 1 thread, PyTorch eager")
    assert describe_device("cpu", threads=4).endswith(", 4 threads, PyTorch eager")
    assert platform.node() not in device


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_waited_for():
    latency = measure_latency(nn.Conv2d(3, 2048, 9, padding=4), (3, 512, 512), device="cuda")
    assert latency.median_ms > 0.2  # launching alone takes some 0.02 ms
    assert latency.device == f"{torch.cuda.get_device_name()}, PyTorch eager"
