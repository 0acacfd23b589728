"""Kinds of devices by name, with the limits that publications hold models for them to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TargetName = Literal["micro", "mobile", "edge-gpu", "server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A starting point: what counts is the device that one has."""

    limits: Mapping[str, float]  # by the names of records.Budget
    source: str


TARGETS: Mapping[TargetName, Target] = {
    "micro": Target(
        limits={"size_bytes": 1e6, "activation_bytes": 256e3},
        source="a Cortex-M4 with 1 MB of flash and 256 kB of SRAM (STM32F412), as in Lin et al. 2020, MCUNet, "
        "arXiv 2007.10319; takes int8 students",
    ),
    "mobile": Target(
        limits={"macs": 600e6},
        source="the mobile setting of ImageNet, under 600 M multiply-adds: Zoph et al. 2018, NASNet, arXiv 1707.07012",
    ),
    "edge-gpu": Target(
        limits={"macs": 4.1e9, "params": 25.6e6},
        source="ResNet-50 at 224 px, the image classifier of MLPerf Inference's edge division: Reddi et al. 2020, "
        "arXiv 1911.02549",
    ),
    "server": Target(
        limits={"latency_ms": 15.0},
        source="the server scenario's limit for ResNet-50 in MLPerf Inference, there for 99 of 100 answers: "
        "Reddi et al. 2020, arXiv 1911.02549",
    ),
}  # fmt: skip
