"""Times ONNX graphs with ONNX Runtime: here, or on another device over HTTP.

This file needs the standard library, numpy and onnxruntime alone, so that it can be copied to a device as it is:

    python latency_server.py --host 0.0.0.0 --port 8777 --token SECRET

POST / with a graph as the body, and ``Authorization: Bearer SECRET``, answers a Timing as JSON; the query may set
``threads``, ``batch``, ``visits`` and ``memory`` (1: measure that too). A graph is numbers and operators: nothing of it is run as code.
"""

from __future__ import annotations

import argparse
import contextlib
import hmac
import json
import platform
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PRESSURE = Path("/proc/pressure/cpu")
MEMORY = Path("/proc/self/status")
BUSY_PRESSURE = 20.0  # percent of the last 10 s in which some task waited for a CPU
BUSY_WAITING = 0.2  # share of the measured time in which this process had no CPU
DRIFT = 1.25  # slowest visit of the reference against its fastest
MIN_CALLS = 3  # of a visit, however long they take
MOST_BYTES = 1 << 30  # of a graph
SIDE = 192  # of the reference's square matrices: 7 M multiply-accumulates
OPTIONS = ("threads", "batch", "visits")
MOST = 1024  # of each
TIMEOUT = 60.0  # seconds that a client may take to send its graph

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Milliseconds a call. `min_ms` is of all visits, median and p90 are of the calmest."""

    min_ms: float
    median_ms: float
    p90_ms: float
    reference_ms: float  # of a product of two fixed matrices between the visits: it tells devices and days apart
    contended: bool  # the machine was busy with something else
    device: str  # processor, threads, runtime
    pressure: float = 0.0  # Linux's: percent of 10 s in which some task waited for a CPU
    memory_bytes: int | None = (
        None  # that a process of its own needs at most for it; None: not measured
    )


def time_calls(
    call: Call,
    *,
    device: str,
    visits: int = 5,
    seconds_per_visit: float = 0.1,
    warmup: int = 3,
    alone: bool = True,
) -> Timing:
    """Time single calls in several visits; on a busy machine in twice as many.

    Another process makes a call slower, never faster, and comes in bursts. Under load, medians of single visits
    spread by 46 % between their quartiles; the fastest call of five visits ranks models as a calm machine does
    (Kendall's tau 0.98). `alone`: whether this thread does all the work, so that its waiting is another's doing.
    """
    pressure = _pressure()
    reference = _reference()
    for _ in range(warmup):
        call()
    times: list[list[float]] = []
    waited: list[float] = []
    references: list[float] = []
    while True:
        for _ in range(visits):
            references.append(min(_visit(reference, 0.0)[0]))
            calls, share = _visit(call, seconds_per_visit)
            times.append(calls)
            waited.append(share)
        best = min(range(len(times)), key=lambda visit: statistics.median(times[visit]))
        pressure = max(pressure, _pressure())
        contended = is_contended(
            pressure,
            waiting=waited[best] if alone else 0.0,
            drift=max(references) / min(references),
        )
        if not contended or len(times) > visits:
            break
    return Timing(
        min_ms=min(map(min, times)),
        median_ms=statistics.median(times[best]),
        p90_ms=statistics.quantiles(times[best], n=10, method="inclusive")[-1],
        reference_ms=min(references),
        contended=contended,
        device=device,
        pressure=pressure,
    )


def time_graph(
    graph: bytes,
    *,
    threads: int = 1,
    batch: int = 1,
    visits: int = 5,
    seconds_per_visit: float = 0.1,
    memory: bool = False,
) -> Timing:
    """Of one call with `batch` images. Raises what ONNX Runtime raises."""
    import onnxruntime

    timing = time_calls(
        prepare_call(graph, threads=threads, batch=batch),
        device=describe_cpu(threads, f"ONNX Runtime {onnxruntime.__version__}", batch=batch),
        visits=visits,
        seconds_per_visit=seconds_per_visit,
        alone=threads == 1,
    )
    return replace(timing, memory_bytes=peak_memory(graph, batch=batch)) if memory else timing


def prepare_call(graph: bytes, *, threads: int, batch: int) -> Call:
    """Loads the graph; what it returns runs it once."""
    import numpy as np

    session = new_session(graph, threads=threads)
    (entry,) = session.get_inputs()
    images = np.random.default_rng(0).random((batch, *entry.shape[1:]), dtype=np.float32)
    return lambda: session.run(None, {entry.name: images})


def new_session(graph: bytes, *, threads: int, **entries: str) -> Any:
    """An onnxruntime.InferenceSession on the CPU; `entries` are further settings of its, dots written as __."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    for name, value in entries.items():
        options.add_session_config_entry(name.replace("__", "."), value)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def peak_memory(graph: bytes, *, batch: int = 1) -> int | None:
    """Bytes that a fresh process grows by, at its highest, while it loads the graph and runs it: weights, activations and what
    the runtime needs for itself. Where there is no Linux to tell: None."""
    if not MEMORY.exists():
        return None
    with tempfile.TemporaryDirectory(prefix="autokd-memory-") as folder:
        file = Path(folder) / "graph.onnx"
        file.write_bytes(graph)
        command = [sys.executable, __file__, "--memory", str(file), "--batch", str(batch)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else None


def _print_memory(file: Path, batch: int) -> None:
    import numpy as np  # noqa: F401 - both are there before the measurement begins
    import onnxruntime  # noqa: F401

    graph = file.read_bytes()
    before = _resident("VmRSS")
    prepare_call(graph, threads=1, batch=batch)()
    print(_resident("VmHWM") - before)


def _resident(name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB", MEMORY.read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def is_contended(pressure: float, *, waiting: float, drift: float = 1.0) -> bool:
    """Any sign will do: the kernel's pressure figure, a process that did not get the CPU that it wanted, a reference that
    was not equally fast all the time."""
    return pressure > BUSY_PRESSURE or waiting > BUSY_WAITING or drift > DRIFT


def describe_cpu(threads: int, runtime: str, *, batch: int = 1) -> str:
    """``AMD EPYC 9354, 1 thread, ONNX Runtime 1.32.0, 8 images``. Never a host's name."""
    images = f", {batch} images" if batch > 1 else ""
    return f"{cpu_name()}, {threads} thread{'s' if threads != 1 else ''}, {runtime}{images}"


def _reference() -> Call:
    import numpy as np

    square = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    return lambda: square @ square


def _visit(call: Call, seconds: float) -> tuple[list[float], float]:
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


def _pressure() -> float:
    """Linux's ``some avg10``; 0 where it is not told."""
    try:
        found = re.search(r"some avg10=([0-9.]+)", PRESSURE.read_text())
    except OSError:
        return 0.0
    return float(found[1]) if found else 0.0


def cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


class _Handler(BaseHTTPRequestHandler):
    server: LatencyServer
    timeout = TIMEOUT

    def do_POST(self) -> None:
        try:
            length, options = int(self.headers.get("Content-Length", "")), self._options()
            if not 0 < length <= MOST_BYTES:
                raise ValueError
        except ValueError:
            problem = f"give a graph of at most {MOST_BYTES} bytes, {', '.join(OPTIONS)} in 1..{MOST}, memory 0 or 1"
            return self._answer(400, {"error": problem})
        graph = self.rfile.read(length)  # also of who may not: an answer in between breaks the pipe
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode()):
            return self._answer(401, {"error": "wrong or missing token"})
        try:
            timing = time_graph(graph, **options)
        except Exception as error:  # noqa: BLE001 - of whatever kind: it is the graph's, and the server goes on
            return self._answer(422, {"error": f"{type(error).__name__}: {error}"[:500]})
        return self._answer(200, asdict(timing))

    def _options(self) -> dict[str, Any]:
        """Of the query; raises ValueError."""
        given = parse_qs(urlsplit(self.path).query)
        options: dict[str, Any] = {name: int(values[0]) for name, values in given.items()}
        memory = bool(options.pop("memory", 0))
        if not options.keys() <= {*OPTIONS} or not all(0 < v <= MOST for v in options.values()):
            raise ValueError
        return options | {"memory": memory}

    def do_GET(self) -> None:
        self._answer(200, {"device": cpu_name(), "use": "POST a graph, with Authorization: Bearer"})

    def _answer(self, status: int, record: dict[str, Any]) -> None:
        body = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class LatencyServer(HTTPServer):
    """One graph at a time: two would time each other."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.token = token
        super().__init__((host, port), _Handler)


def serve(host: str, port: int, token: str | None) -> None:
    """Until interrupted. Without a token one is made, and printed."""
    known = token or secrets.token_urlsafe(16)
    with LatencyServer(host, port, known) as server:
        if not token:
            print(f"token: {known}")
        print(f"{cpu_name()} times graphs on http://{host}:{server.server_port}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all")
    parser.add_argument("--port", type=int, default=8777)
    parser.add_argument("--token", help="what clients must name; default: a new one, printed")
    parser.add_argument(
        "--memory", type=Path, help="print the bytes that this graph needs, and stop"
    )
    parser.add_argument("--batch", type=int, default=1, help="images a call, with --memory")
    options = parser.parse_args()
    if options.memory:
        _print_memory(options.memory, options.batch)
    else:
        serve(options.host, options.port, options.token)


if __name__ == "__main__":
    main()
