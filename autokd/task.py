"""What all trials of a search share: the data, the teacher, the budget, and where intermediate results are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from autokd.config import Config
from autokd.cost import EagerProbe, OnnxProbe, Probe, RemoteProbe, exact_cost
from autokd.data import ImageData, Split, load_data
from autokd.errors import ConfigError, CostError, first_line
from autokd.evaluation import predict
from autokd.records import (
    AuditFigures,
    AuditPolicy,
    Budget,
    Cost,
    StudentSpec,
    TeacherInfo,
    content_hash,
)
from autokd.shared import NOWHERE, Shared
from autokd.space import Space
from autokd.students import InputFormat, deployed, refuse_opaque
from autokd.teachers import Teacher, build_student, inputs_of, load_teacher, measure_student

T = TypeVar("T")
RUNTIMES = ("onnxruntime", "pytorch")
DEVICE_TOKEN = "AUTOKD_DEVICE_TOKEN"  # an environment variable: no secret stands in a search file


class StudentCosts:
    """Exact costs of students for one data set, known before anything is trained. Remembered by the spec's architecture.

    Students are built with the space's highest rates of dropout and stochastic depth: they cost nothing,
    and a model that does not know them is found out here and not in the middle of a search. So is one without the
    features that the space's losses compare.
    """

    def __init__(self, data: ImageData, space: Space) -> None:
        self._data = data
        self._rates = space.drop_rates
        self._taps, self._pooled = space.features_needed
        self._known: dict[str, Cost] = {}

    def __call__(self, spec: StudentSpec) -> Cost:
        """MACs, parameters and size; raises an AutoKDError where the model can't be built or counted."""
        key = content_hash(spec.architecture())
        if key not in self._known:
            try:
                self._known[key] = exact_cost(
                    lambda: self._build(spec),
                    (self._data.info.channels, spec.image_size, spec.image_size),
                    precision=spec.precision,
                )
            except CostError as error:
                raise CostError(
                    f"{spec.describe()}: {error}; choose another image size or other arguments"
                ) from error
        return self._known[key]

    def _build(self, spec: StudentSpec) -> nn.Module:
        model = build_student(spec, self._data, start=False, **self._rates)
        refuse_opaque(model, taps=self._taps, pooled=self._pooled)
        return deployed(model)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Image classification of one data set with one teacher, under one budget."""

    data: ImageData
    teacher: Teacher
    teacher_info: TeacherInfo
    budget: Budget
    cache: Path  # for teachers, assistants, views, logits and latencies
    shared: Shared = NOWHERE  # where those with another cache find teachers, assistants, logits
    device: torch.device
    threads: int
    policy: AuditPolicy = field(default_factory=AuditPolicy)
    max_gap_growth: float | None = None  # against the teacher's gap, 0..1; None: no limit
    robustness_images: int = 1000  # of test, that front members see corrupted; 0: none
    probe: Probe = field(default_factory=EagerProbe)  # of latency
    latency_decides: bool = False  # a limit or an objective: then it is measured before training
    audits_pauses: bool = False  # whether what an audit says decides who goes on
    thumbnails: bool = False  # whether audits show the most contested images
    memory: dict[str, Any] = field(default_factory=dict, repr=False)

    def split(self, name: str) -> Split:
        """``train``, ``val`` or ``test``, or a further set by its name."""
        further = self.data.also_test.get(name)
        split: Split = further.split if further else getattr(self.data, name)
        return split

    def answers(self, teacher: Teacher, split_name: str) -> Tensor:
        """Logits (N, C) of the search's teacher or of an assistant. Asked once: every audit needs them."""
        return self.remember(
            f"answers of {teacher.hash} on {split_name}",
            lambda: predict(
                teacher.model, self.split(split_name), inputs=teacher.inputs, device=self.device
            ),
        )

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """What more than one trial needs: made when first asked for, and kept as long as the task."""
        if key not in self.memory:
            self.memory[key] = make()
        value: T = self.memory[key]
        return value

    def excess(self, cost: Cost, audit: AuditFigures | None = None) -> dict[str, float]:
        """How far a student is over each limit; > 0 is over. What is not known yet counts as 0."""
        excess = self.budget.excess(cost)
        if self.max_gap_growth is not None:
            growth = audit.gap_growth if audit else None
            excess["gap_growth"] = 0.0 if growth is None else growth - self.max_gap_growth
        return excess

    @property
    def hashes(self) -> tuple[str, str]:
        """Of images and teacher: trials of which these differ don't compare."""
        return self.data.info.hash, self.teacher_info.hash

    @property
    def classes(self) -> int:
        return len(self.data.info.class_names)

    def inputs(self, spec: StudentSpec) -> InputFormat:
        return inputs_of(spec, self.data)

    def measure_cost(self, spec: StudentSpec, *, latency: bool) -> Cost:
        """What follows from the shapes, or with latency everything."""
        cost = measure_student(
            spec,
            self.data,
            probe=self.probe if latency else None,
            cache=self.cache,
            decides=self.latency_decides,
        )
        if latency and self.latency_decides and cost.latency_ms is None:
            raise CostError(f"{spec.describe()}: no latency, which a limit or an objective needs")
        return cost


def create_task(
    config: Config,
    *,
    cache: Path,
    data: ImageData | None = None,
    shared: Shared = NOWHERE,
    device: str | None = None,
    threads: int | None = None,
) -> Task:
    """Load data and teacher. Trains the teacher where the search file says so and nobody has yet."""
    chosen = choose_device(device)
    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    data = data or load_data(config.data, seed=config.seed, cache=cache)
    probe = probe_of(config, chosen)
    teacher, info = load_teacher(
        config.teacher,
        data,
        cache=cache,
        shared=shared,
        seed=config.seed,
        device=chosen,
        probe=probe if config.latency_decides else None,  # else it is timed when a search has ended
    )
    if "latency_ms" in config.search.objectives and info.cost.latency_ms is None:
        raise ConfigError(
            "search.objectives: latency_ms is measured against the teacher's, and the teacher's can't be measured; "
            "set budget.runtime to pytorch, or take another objective"
        )
    return Task(
        data=data,
        teacher=teacher,
        teacher_info=info,
        budget=config.budget.to_budget(),
        cache=cache,
        shared=shared,
        device=chosen,
        threads=threads,
        policy=config.audit.to_policy(seed=config.seed),
        max_gap_growth=config.audit.max_gap_growth,
        robustness_images=config.audit.robustness_images,
        probe=probe,
        latency_decides=config.latency_decides,
        audits_pauses=config.audit.max_gap_growth is not None
        or "worst_group_accuracy" in config.search.objectives,
        thumbnails=config.audit.thumbnails,
    )


def probe_of(config: Config, where: torch.device) -> Probe:
    """What times the students of a search. Raises ConfigError where its token is not given."""
    budget = config.budget
    return choose_probe(
        runtime=budget.runtime,
        server=budget.device,
        where=where,
        threads=budget.threads,
        batch=budget.batch,
    )


def choose_probe(
    *,
    runtime: str,
    server: str | None,
    where: torch.device,
    threads: int,
    batch: int,
    memory: bool = False,
) -> Probe:
    """What times students: the device behind `server`, ONNX Runtime on this CPU, or PyTorch on `where`, which knows of no `memory`."""
    if runtime not in RUNTIMES:
        raise ConfigError(f"unknown runtime '{runtime}'; known: {', '.join(RUNTIMES)}")
    if server:
        token = os.environ.get(DEVICE_TOKEN)
        if not token:
            raise ConfigError(
                f"device {server}: set {DEVICE_TOKEN} to the token of the `autokd latency-serve` there"
            )
        return RemoteProbe(url=server, token=token, threads=threads, batch=batch, memory=memory)
    if runtime == "onnxruntime":
        return OnnxProbe(threads=threads, batch=batch, memory=memory)
    return EagerProbe(where=str(where), threads=threads, batch=batch)


def choose_device(name: str | None = None) -> torch.device:
    """The named device, or a GPU where there is one, else the CPU."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device '{name}' can't be used: {first_line(error)}") from None
    return device
