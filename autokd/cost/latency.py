"""Median latency of one image, batch 1, in PyTorch eager mode on the machine that this runs on."""

from __future__ import annotations

import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from autokd.cost.macs import InputShape, describe_shape, shorten
from autokd.errors import CostError

PRESSURE = Path("/proc/pressure/cpu")
BUSY_PRESSURE = 20.0  # percent of the last 10 s in which some task waited for a CPU
BUSY_WAITING = 0.2  # share of the measured time in which this process had no CPU
MIN_CALLS = 3  # of a visit, however long they take


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Of the calmest visit; `min_ms` of all of them."""

    median_ms: float
    p90_ms: float
    min_ms: float
    contended: bool  # the machine was busy with something else
    device: str  # what it was measured on


@torch.inference_mode()
def measure_latency(
    model: nn.Module,
    input_shape: InputShape,
    *,
    device: str = "cpu",
    threads: int = 1,
    visits: int = 3,
    seconds_per_visit: float = 0.15,
    warmup: int = 3,
) -> Latency:
    """Time single calls in several visits and report the visit with the lowest median.

    Another process makes a visit slower, never faster, and comes in bursts: under load, medians of single visits
    spread by 46 % between their quartiles, and the lowest of several is what a calm machine gives.
    The model is taken over: moved to `device`, in eval mode and channels_last.
    """
    image = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0))
    model = model.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = image.to(device=device, memory_format=torch.channels_last)
    wait = _synchroniser(torch.device(device))

    def call() -> None:
        model(image)
        wait()

    pressure, times, waited = _pressure(), [], []
    with with_threads(threads):
        try:
            for _ in range(warmup):
                call()
        except Exception as error:
            name = type(model).__name__
            raise CostError(
                f"{name} can't be run on an image of {describe_shape(input_shape)} "
                f"on {device}: {shorten(error)}"
            ) from error
        for _ in range(visits):
            calls, share = _visit(call, seconds_per_visit)
            times.append(calls)
            waited.append(share)
    best = min(range(visits), key=lambda visit: statistics.median(times[visit]))
    alone = waited[best] if device == "cpu" and threads == 1 else 0.0
    return Latency(
        median_ms=statistics.median(times[best]),
        p90_ms=statistics.quantiles(times[best], n=10, method="inclusive")[-1],
        min_ms=min(map(min, times)),
        contended=is_contended(max(pressure, _pressure()), waiting=alone),
        device=describe_device(device, threads=threads),
    )


def is_contended(pressure: float, *, waiting: float) -> bool:
    """Either sign will do: the kernel's pressure figure, or a process that did not get the CPU that it wanted."""
    return pressure > BUSY_PRESSURE or waiting > BUSY_WAITING


def describe_device(device: str, *, threads: int) -> str:
    """``AMD EPYC 9354, 1 thread, PyTorch eager``, or the GPU's name. Never a host's name."""
    where = torch.device(device)
    if where.type == "cuda":
        return f"{torch.cuda.get_device_name(where)}, PyTorch eager"
    if where.type != "cpu":
        return f"{where.type}, PyTorch eager"
    return f"{_cpu_name()}, {threads} thread{'s' if threads != 1 else ''}, PyTorch eager"


def _visit(call: Callable[[], None], seconds: float) -> tuple[list[float], float]:
    """Milliseconds of each call, and the share of the time in which this thread did not run."""
    times: list[float] = []
    start, start_running = time.perf_counter(), time.thread_time()
    end = start
    while end - start < seconds or len(times) < MIN_CALLS:
        begin = time.perf_counter()
        call()
        end = time.perf_counter()
        times.append(1e3 * (end - begin))
    return times, 1 - (time.thread_time() - start_running) / (end - start)


def _synchroniser(device: torch.device) -> Callable[[], None]:
    """Waits until the device has finished, so that a call's time is what a caller waits for."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None


@contextmanager
def with_threads(count: int) -> Iterator[None]:
    """torch's threads within, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pressure() -> float:
    """Linux's ``some avg10``; 0 where it is not told."""
    try:
        found = re.search(r"some avg10=([0-9.]+)", PRESSURE.read_text())
    except OSError:
        return 0.0
    return float(found[1]) if found else 0.0


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()
