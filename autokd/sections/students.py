"""`budget` and `students`: what a student may cost, and which there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from autokd.parameters import (
    Bytes,
    Count,
    FloatParameter,
    IntParameter,
    Milliseconds,
    Parameter,
    Positive,
    Section,
    TextParameter,
    within,
)
from autokd.records import Budget
from autokd.targets import TARGETS, TargetName


class BudgetConfig(Section):
    """The most that a student may cost. A candidate over any limit is never trained."""

    max_macs: Count | None = None
    """Multiply-accumulates of one image."""
    max_params: Count | None = None
    """Elements of all parameters."""
    max_flops: Count | None = None
    """FLOPs of one image, 2 for each multiply-accumulate; instead of `max_macs`."""
    max_latency: Milliseconds | None = None
    """Latency that nine calls of ten keep."""
    max_size: Bytes | None = None
    """Bytes of the weights as they ship."""
    max_activations: Bytes | None = None
    """Bytes in memory at once beside the weights, for one image."""
    target: TargetName | None = None
    """A kind of device: its limits hold where none is given here."""
    runtime: Literal["onnxruntime", "pytorch"] = "onnxruntime"
    """What runs students when they are timed: ONNX Runtime on a CPU, or PyTorch on the search's device."""
    threads: Positive = 1
    """CPU threads when students are timed."""
    batch: Positive = 1
    """Images a call when students are timed."""
    device: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Address of another device where `autokd latency-serve` runs; by default students are timed here."""

    @model_validator(mode="after")
    def _check(self) -> BudgetConfig:
        if self.max_macs and self.max_flops:
            raise ValueError("give one of max_macs and max_flops; 1 MAC is 2 FLOPs")
        if self.device and "@" in self.device:
            raise ValueError(
                "device: has a user or a password in it, which would be kept with every trial; "
                "what it asks for is the token, in AUTOKD_DEVICE_TOKEN"
            )
        if self.device and self.runtime != "onnxruntime":
            raise ValueError(f"device {self.device} runs onnxruntime, not {self.runtime}")
        return self

    def to_budget(self) -> Budget:
        given = {
            "macs": self.max_macs or (self.max_flops and self.max_flops / 2),
            "params": self.max_params,
            "latency_ms": self.max_latency,
            "size_bytes": self.max_size,
            "activation_bytes": self.max_activations,
        }
        usual = TARGETS[self.target].limits if self.target else {}
        return Budget(**{name: limit or usual.get(name) for name, limit in given.items()})


class StudentsConfig(Section):
    """Architectures to search: timm names, wildcards over them, and parametric families."""

    model: TextParameter
    """Families, timm names, wildcards over timm names."""
    image_size: Annotated[IntParameter, within(1)] | None = None
    """Pixels that students see; by default the data's."""
    pretrained: bool | dict[str, Path] = False
    """timm's models start from published weights, or from a file each: `{resnet18: FILE}`. Families inherit from such models."""
    start: TextParameter | None = None
    """`random` weights, or those of a larger relative (`heir`); by default what `pretrained` has weights for is an heir."""
    prune: Annotated[FloatParameter, within(0, 0.9)] = 0.0
    """Share of channels that is removed after training; what is left learns on for `schedule.prune_epochs`."""
    precision: TextParameter = "fp32"
    """The numbers that students ship in; int8 is quantised after training, and measured so."""
    families: dict[str, dict[str, Parameter]] = Field(default_factory=dict)
    """A family's own parameters, where they are not to have its usual ranges."""
