"""Trials on a Ray cluster: Ray Core tasks, one for each part of a trial. What Ray Tune adds is what the driver does here."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from autokd.config import Config
from autokd.engine.executors import Work, evaluate
from autokd.errors import AutoKDError, ConfigError, StorageError
from autokd.records import TrialResult, content_hash
from autokd.task import Task, create_task

# Ray 2.60 warns on import that it will one day leave accelerators visible to tasks that asked for none: as we want it
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


_tasks: dict[
    str, Task
] = {}  # of this process of the cluster, which Ray gives one piece of work after another


def _evaluate(
    work: Work, config: Config, cache: Path, device: str | None, threads: int
) -> TrialResult:
    key = content_hash([config.model_dump(mode="json"), str(cache), device, threads])
    if key not in _tasks:
        _tasks.clear()
        _tasks[key] = create_task(config, cache=cache, device=device, threads=threads)
    return evaluate(work, _tasks[key])


class RayExecutor:
    """Has so many trials under way at a time; Ray finds places for them, also when nodes come and go.

    `cache` must be one folder for all nodes, under one path: checkpoints and teachers' logits are in it.
    """

    def __init__(
        self,
        workers: int,
        config: Config,
        *,
        cache: Path,
        device: str | None,
        address: str | None = None,
        gpus_per_trial: float = 0.0,
        cpus_per_trial: float = 1.0,
    ) -> None:
        """`address` of a running cluster ("auto" for the one that this machine is in); None: one of this machine alone."""
        self._ray = ray = _import_ray()
        self._started = not ray.is_initialized()
        if self._started:
            _connect(ray, address)
        # deaths come back to the driver, which knows the last pause: Ray is not to try again by itself
        self._evaluate = ray.remote(
            max_retries=0, num_cpus=cpus_per_trial, num_gpus=gpus_per_trial
        )(_evaluate)
        self._shared = (ray.put(config), cache, device, max(1, int(cpus_per_trial)))
        self._workers = workers
        self._running: dict[Any, Work] = {}

    @property
    def has_room(self) -> bool:
        return len(self._running) < self._workers

    def submit(self, work: Work) -> None:
        self._running[self._evaluate.remote(work, *self._shared)] = work

    def next_result(self) -> tuple[int, TrialResult | None]:
        (done, *_), _ = self._ray.wait(list(self._running), num_returns=1)
        work = self._running.pop(done)
        try:
            result: TrialResult = self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:  # raised by our own code
            cause = error.cause if isinstance(error.cause, AutoKDError) else error
            raise cause from None
        except self._ray.exceptions.RayError:  # the process, its node, or its memory is gone
            return work.number, None
        return work.number, result

    def close(self) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        if self._started:
            self._ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ConfigError("executor ray: Ray is not installed; pip install 'autokd[ray]'") from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    own = {} if address else {"include_dashboard": False}
    try:
        if address and ":" in address and "://" not in address:  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level="warning", **own)
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise StorageError(f"Ray cluster {address or 'here'}: can't be reached: {first}") from None
