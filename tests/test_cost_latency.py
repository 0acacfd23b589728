"""Latency: in the right order, without a trace on the process, remembered, and from another device."""

import json
import platform
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace

import pytest
import timm
import torch
from torch import nn
from typer.testing import CliRunner

from autokd.cli import app
from autokd.cost import EagerProbe, OnnxProbe, RemoteProbe, Timing, measure_latency
from autokd.errors import CostError
from autokd.runtime import to_onnx
from autokd.runtime.latency_server import (
    MEMORY,
    LatencyServer,
    is_contended,
    peak_memory,
    time_calls,
    time_graph,
)

pytestmark = pytest.mark.slow

BRIEF = EagerProbe(visits=2, seconds_per_visit=0.02)
TIMING = Timing(
    min_ms=1.0, median_ms=2.0, p90_ms=3.0, reference_ms=0.1, contended=False, device="a device"
)


def small():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    return model.eval()


SHAPE = (3, 8, 8)


def test_a_model_with_fifty_times_the_macs_is_slower():
    quick = BRIEF(nn.Conv2d(3, 4, 3), (3, 32, 32), precision="fp32")
    slow = BRIEF(timm.create_model("resnet10t"), (3, 96, 96), precision="fp32")
    assert slow.median_ms > 3 * quick.median_ms


def test_the_figures_are_in_order():
    timing = BRIEF(nn.Conv2d(3, 4, 3), (3, 32, 32), precision="fp32")
    assert 0 < timing.min_ms <= timing.median_ms <= timing.p90_ms
    assert timing.reference_ms > 0
    assert 0 <= timing.pressure <= 100


@pytest.mark.parametrize("threads", [1, 2])
def test_the_model_runs_on_the_threads_asked_for_and_the_process_keeps_its_own(threads):
    seen = []
    model = nn.Conv2d(3, 4, 3)
    model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    replace(BRIEF, threads=threads)(model, SHAPE, precision="fp32")
    assert set(seen) == {threads}
    assert torch.get_num_threads() == before


def test_threads_are_restored_when_the_model_fails():
    before = torch.get_num_threads()
    with pytest.raises(
        CostError, match="Conv2d can't be run on an image of 5x8x8 on cpu: RuntimeError"
    ):
        replace(BRIEF, threads=before + 1)(nn.Conv2d(3, 4, 3), (5, 8, 8), precision="fp32")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("batch", [1, 4])
def test_a_call_is_timed_in_eval_mode_without_gradients_and_with_the_images_asked_for(batch):
    seen = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    model.register_forward_hook(
        lambda m, inputs, out: seen.append((len(inputs[0]), m.training, out.requires_grad))
    )
    replace(BRIEF, batch=batch)(model, SHAPE, precision="fp32")
    assert set(seen) == {(batch, False, False)}


def test_a_slow_call_is_made_a_few_times_however_long_it_takes_and_twice_as_often_on_a_busy_machine():
    calls = []
    timing = time_calls(
        lambda: calls.append(1),
        device="here",
        visits=2,
        seconds_per_visit=0.0,
        warmup=1,
        alone=False,
    )
    assert len(calls) == 1 + (4 if timing.contended else 2) * 3


@pytest.mark.parametrize(
    ("pressure", "waiting", "drift", "contended"),
    [
        (0, 0, 1, False),
        (20, 0.2, 1.25, False),
        (20.1, 0, 1, True),
        (0, 0.21, 1, True),
        (0, 0, 1.3, True),
        (99, 0.9, 9, True),
    ],
)
def test_a_busy_machine_is_told_by_any_sign(pressure, waiting, drift, contended):
    assert is_contended(pressure, waiting=waiting, drift=drift) is contended


def test_the_device_says_processor_threads_and_runtime_but_no_host_name():
    assert EagerProbe().device.endswith(", 1 thread, PyTorch eager")
    assert EagerProbe(threads=4).device.endswith(", 4 threads, PyTorch eager")
    assert ", 2 threads, ONNX Runtime 1." in OnnxProbe(threads=2, batch=8).device
    assert OnnxProbe(batch=8).device.endswith(", 8 images")
    assert platform.node() not in EagerProbe().device


def test_int8_is_not_timed_in_pytorch():
    with pytest.raises(CostError, match=r"set budget\.runtime to onnxruntime"):
        BRIEF(small(), SHAPE, precision="int8")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_onnx_runtime_times_a_student_in_the_precision_that_it_ships_in(precision, monkeypatch):
    graphs = []

    def time_it(graph, **options):
        graphs.append((graph, options))
        return time_graph(graph, visits=1, seconds_per_visit=0.0, **options)

    monkeypatch.setattr("autokd.cost.latency.time_graph", time_it)
    timing = OnnxProbe(batch=3)(small(), SHAPE, precision=precision)
    assert 0 < timing.min_ms <= timing.p90_ms
    ((graph, options),) = graphs
    assert options == {"threads": 1, "batch": 3, "memory": False}
    assert (b"QuantizeLinear" in graph) is (precision == "int8")


class Scripted:
    """A probe that says what it is told, and counts how often it is asked."""

    device = "a device"

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self, model, input_shape, *, precision):
        return self.answers.pop(0)


def asked(probe, folder, *, key="one", shape=SHAPE, precision="fp32", **options):
    return measure_latency(
        probe, small, shape, precision=precision, key=key, folder=folder, **options
    )


def test_an_architecture_is_measured_once_a_device_shape_and_precision(tmp_path):
    others = [replace(TIMING, min_ms=float(n)) for n in range(2, 6)]
    probe = Scripted(TIMING, *others)
    assert asked(probe, tmp_path) == asked(probe, tmp_path) == TIMING
    assert asked(probe, tmp_path, key="two") == others[0]
    assert asked(probe, tmp_path, shape=(3, 9, 9)) == others[1]
    assert asked(probe, tmp_path, precision="int8") == others[2]
    probe.device = "another device"
    assert asked(probe, tmp_path) == others[3]
    assert probe.answers == []


def test_what_a_busy_machine_said_and_what_can_not_be_read_is_measured_again(tmp_path):
    busy, calm, again = (replace(TIMING, contended=True), TIMING, replace(TIMING, min_ms=0.5))
    probe = Scripted(busy, calm, again)
    assert asked(probe, tmp_path) == busy
    assert asked(probe, tmp_path, decides=False) == busy, "good enough where it decides nothing"
    assert asked(probe, tmp_path) == calm
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    assert asked(probe, tmp_path) == again


@pytest.fixture
def server():
    with LatencyServer("127.0.0.1", 0, "secret") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_another_device_times_a_student(server):
    probe = RemoteProbe(url=server, token="secret", batch=2)
    timing = probe(small(), SHAPE, precision="fp32")
    assert 0 < timing.min_ms <= timing.p90_ms
    assert timing.device.endswith(", 2 images")
    assert ", 1 thread, ONNX Runtime" in timing.device
    with urllib.request.urlopen(server) as answer:
        assert "device" in json.load(answer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token": "guess"}, "401: .*wrong or missing token"),
        ({"threads": 5000}, r"400: .*threads, batch, visits in 1\.\.1024"),
        ({"url": "http://127.0.0.1:9"}, "is `autokd latency-serve` running there"),
    ],
)
def test_a_device_that_refuses_is_one_line(server, change, message):
    probe = replace(RemoteProbe(url=server, token="secret"), **change)
    with pytest.raises(CostError, match=message):
        probe(small(), SHAPE, precision="fp32")


def test_a_large_graph_with_a_wrong_token_is_refused_too(server):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10_000), nn.Linear(10_000, 200)).eval()
    with pytest.raises(CostError, match=r"401: .*wrong or missing token"):
        RemoteProbe(url=server, token="guess")(model, SHAPE, precision="fp32")


def test_a_body_that_is_no_graph_is_refused_and_the_server_goes_on(server):
    request = urllib.request.Request(
        server, data=b"import os", headers={"Authorization": "Bearer secret"}
    )
    with pytest.raises(urllib.error.HTTPError, match="422"):
        urllib.request.urlopen(request)
    graph = to_onnx(small(), SHAPE)
    again = urllib.request.Request(server, data=graph, headers={"Authorization": "Bearer secret"})
    with urllib.request.urlopen(again) as answer:
        assert Timing(**json.load(answer)).median_ms > 0


@pytest.mark.slow
def test_the_server_is_one_file_that_needs_no_torch(tmp_path):
    done = CliRunner().invoke(app, ["latency-serve", "--copy", str(tmp_path / "server.py")])
    assert done.exit_code == 0, done.output
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['autokd'] = None\n"
        "sys.argv = ['server.py', '--port', '0', '--token', 'secret']\n"
        f"runpy.run_path({str(tmp_path / 'server.py')!r}, run_name='__main__')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            address = process.stdout.readline().split()[-1]
            timing = RemoteProbe(url=address, token="secret")(small(), SHAPE, precision="int8")
        finally:
            process.terminate()
    assert timing.median_ms > 0


@pytest.mark.skipif(not MEMORY.exists(), reason="Linux alone tells what a process takes")
def test_the_memory_of_a_process_grows_with_the_weights():
    def needed(width):
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, width), nn.Linear(width, 5)).eval()
        return peak_memory(to_onnx(model, SHAPE))

    weights = 4 * 197 * 20_000
    assert weights < needed(20_000) - needed(20) < 4 * weights


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_waited_for():
    model = nn.Conv2d(3, 2048, 9, padding=4)
    timing = EagerProbe(where="cuda")(model, (3, 512, 512), precision="fp32")
    assert timing.median_ms > 0.2  # launching alone takes some 0.02 ms
    assert timing.device == f"{torch.cuda.get_device_name()}, PyTorch eager"
