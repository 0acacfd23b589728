"""How long a student takes for one image: in PyTorch, in ONNX Runtime, or on another device."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from autokd.cost.macs import InputShape, describe_shape
from autokd.errors import CostError, ExportError, one_line
from autokd.records import content_hash
from autokd.runtime import quantise, runtime_name, to_onnx
from autokd.runtime.latency_server import Timing, describe_cpu, time_calls, time_graph
from autokd.whole_file import write_whole

SERVER_TIMEOUT = 600.0  # seconds that another device may take for one student
CALIBRATION = 8  # images; a latency does not depend on what is in them


class Probe(Protocol):
    """Times a student. Its `device` names all that figures depend on but the student."""

    @property
    def device(self) -> str: ...

    def __call__(self, model: nn.Module, input_shape: InputShape, *, precision: str) -> Timing:
        """`model` is taken over, in its deployed form. Raises CostError where it can't be run."""
        ...


@dataclass(frozen=True, kw_only=True)
class EagerProbe:
    """PyTorch as it trains: the only one for a GPU. It knows no int8."""

    where: str = "cpu"
    threads: int = 1
    batch: int = 1
    visits: int = 5
    seconds_per_visit: float = 0.1

    @property
    def device(self) -> str:
        where = torch.device(self.where)
        if where.type == "cpu":
            return describe_cpu(self.threads, "PyTorch eager", batch=self.batch)
        name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
        return f"{name}, PyTorch eager" + (f", {self.batch} images" if self.batch > 1 else "")

    @torch.inference_mode()
    def __call__(self, model: nn.Module, input_shape: InputShape, *, precision: str) -> Timing:
        if precision == "int8":
            raise ExportError(
                "PyTorch runs no int8 students here; set budget.runtime to onnxruntime"
            )
        image = torch.rand(self.batch, *input_shape, generator=torch.Generator().manual_seed(0))
        model = model.eval().to(device=self.where, memory_format=torch.channels_last)  # type: ignore[call-overload]
        image = image.to(device=self.where, memory_format=torch.channels_last)
        wait = _synchroniser(torch.device(self.where))

        def call() -> None:
            model(image)
            wait()

        with with_threads(self.threads):
            try:
                call()
            except Exception as error:
                raise CostError(
                    f"{type(model).__name__} can't be run on an image of {describe_shape(input_shape)} "
                    f"on {self.where}: {one_line(error)}"
                ) from error
            return time_calls(
                call,
                device=self.device,
                visits=self.visits,
                seconds_per_visit=self.seconds_per_visit,
                alone=self.where == "cpu" and self.threads == 1,
            )


@dataclass(frozen=True, kw_only=True)
class OnnxProbe:
    """ONNX Runtime on this machine's CPU: what students are deployed with, 1.3 to 4 times as fast as PyTorch."""

    threads: int = 1
    batch: int = 1
    memory: bool = False  # measured too, in a process of its own: a second

    @property
    def device(self) -> str:
        return describe_cpu(self.threads, runtime_name(), batch=self.batch)

    def __call__(self, model: nn.Module, input_shape: InputShape, *, precision: str) -> Timing:
        graph = _graph(model, input_shape, precision)
        try:
            return time_graph(graph, threads=self.threads, batch=self.batch, memory=self.memory)
        except Exception as error:
            raise ExportError(f"ONNX Runtime can't run it: {one_line(error)}") from error


@dataclass(frozen=True, kw_only=True)
class RemoteProbe:
    """Another device, on which latency_server.py runs. Graphs go there and numbers come back."""

    url: str  # http://pi:8777
    token: str
    threads: int = 1
    batch: int = 1
    memory: bool = False

    @property
    def device(self) -> str:
        return f"{self.url}, threads {self.threads}, batch {self.batch}"

    def __call__(self, model: nn.Module, input_shape: InputShape, *, precision: str) -> Timing:
        query = f"threads={self.threads}&batch={self.batch}&memory={int(self.memory)}"
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/?{query}",
            data=_graph(model, input_shape, precision),
            headers={"Authorization": f"Bearer {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=SERVER_TIMEOUT) as answer:
                return Timing(**json.load(answer))
        except urllib.error.HTTPError as error:
            problem = error.read().decode(errors="replace")
            raise CostError(f"latency server {self.url}: {error.code}: {problem}") from None
        except (OSError, ValueError, TypeError) as error:
            raise CostError(
                f"latency server {self.url}: {one_line(error)}; is `autokd latency-serve` running there?"
            ) from None


def measure_latency(
    probe: Probe,
    build: Callable[[], nn.Module],
    input_shape: InputShape,
    *,
    precision: str = "fp32",
    key: str | None = None,
    folder: Path | None = None,
    decides: bool = True,
) -> Timing:
    """What the probe says of the model that `build` makes, in its deployed form.

    With a `key` that names architecture and input it is asked once for each device, and its answer kept in `folder`. What a
    busy machine said is asked again, if anything is decided by it.
    """
    if key is None or folder is None:
        return probe(build(), input_shape, precision=precision)
    path = folder / f"{content_hash([key, input_shape, precision, probe.device])}.json"
    try:
        known: Timing | None = Timing(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        known = None  # not measured yet, or by another version
    if known and not (known.contended and decides):
        return known
    timing = probe(build(), input_shape, precision=precision)
    write_whole(path, json.dumps(asdict(timing)))
    return timing


def _graph(model: nn.Module, input_shape: InputShape, precision: str) -> bytes:
    graph = to_onnx(model.cpu(), input_shape)
    if precision != "int8":
        return graph
    generator = torch.Generator().manual_seed(0)
    return quantise(graph, [torch.rand(CALIBRATION, *input_shape, generator=generator)])


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
