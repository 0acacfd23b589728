"""What would train and what would time students."""

from __future__ import annotations

import os
import shutil

from autokd.doctor.finding import Finding, check, ok, warning
from autokd.quantities import format_bytes


def examine_devices() -> list[Finding]:
    return [
        check("CPU", _cpu, "mend torch first"),
        *_gpus(),
        check(
            "ONNX Runtime",
            _runs_a_graph,
            "pip install --force-reinstall torch onnxscript onnx onnxruntime",
        ),
    ]


def _cpu() -> Finding:
    import torch

    from autokd.runtime.latency_server import cpu_name

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    threads = torch.get_num_threads()
    return ok(
        f"{cpu_name()}, cores for this process: {usable}, threads of torch: {threads}, {format_bytes(memory)} of memory",
    )


def _gpus() -> list[Finding]:
    def count() -> Finding:
        import torch

        if torch.cuda.is_available():
            return ok(f"{torch.cuda.device_count()}, with CUDA {torch.version.cuda}")
        if shutil.which("nvidia-smi"):
            advice = "try nvidia-smi; a torch built for the driver's CUDA: https://pytorch.org"
            return warning("a driver is here, and torch sees no GPU", advice)
        return ok("none: the CPU trains")

    advice = "try nvidia-smi; --device cpu does without"
    found = check("GPU", count, advice)
    if found.state != "ok" or found.found.startswith("none"):
        return [found]
    import torch

    numbers = range(torch.cuda.device_count())
    return [found, *(check(f"cuda:{n}", lambda n=n: _gpu(n), advice) for n in numbers)]  # type: ignore[misc]


def _gpu(number: int) -> Finding:
    """One kernel is run: a GPU that torch was not compiled for is listed like any other."""
    import torch

    properties = torch.cuda.get_device_properties(number)
    free, total = torch.cuda.mem_get_info(number)
    torch.ones(2, device=f"cuda:{number}").sum().item()
    with torch.cuda.device(number):
        half = "with bf16" if torch.cuda.is_bf16_supported() else "without bf16"
    return ok(
        f"{properties.name}, {format_bytes(total)} of memory, {format_bytes(free)} free, {half}",
    )


def _runs_a_graph() -> Finding:
    """From PyTorch through the exporter to an answer, as every measured student goes."""
    import torch
    from torch import nn

    from autokd.runtime import OnnxModel, runtime_name, to_onnx

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images = torch.ones(1, 1, 2, 2)
    graph = OnnxModel(to_onnx(model, (1, 2, 2)))
    difference = float((graph(images) - model(images)).abs().max())
    if difference > 1e-4:
        return warning(
            f"{runtime_name()}: a graph of one layer differs by {difference:.2g} from PyTorch",
            "measure with --runtime pytorch",
        )
    return ok(f"{runtime_name()}, runs a graph exported from torch")
