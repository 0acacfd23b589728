"""Trials on a Ray cluster: Ray Core tasks, one for each part of a trial. What Ray Tune adds is what the driver does here."""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from autokd.config import Config
from autokd.engine.deaths import Died
from autokd.engine.executors import Work, evaluate, folder_state, load_task, refuse_another
from autokd.engine.place import make_writable
from autokd.errors import (
    AutoKDError,
    ConfigError,
    StorageError,
    StoreAwayError,
    first_line,
)
from autokd.records import TrialResult, content_hash
from autokd.shared import Shared
from autokd.task import Task

# Ray 2.60 warns on import that it will one day leave accelerators visible to tasks that asked for none: as we want it
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

NODE_CACHE = (
    "AUTOKD_CACHE"  # in a node's environment: a folder of its own for what is shared by URL
)


_tasks: dict[
    str, Task
] = {}  # of this process of the cluster, which Ray gives one piece of work after another


def _evaluate(
    work: Work,
    config: Config,
    cache: Path | None,
    device: str | None,
    threads: int,
    hashes: tuple[str, str] | None,
) -> TrialResult:
    cache = cache or _node_cache()
    key = content_hash([config.model_dump(mode="json"), str(cache), device, threads])
    if key not in _tasks:
        _tasks.clear()
        _tasks[key] = load_task(config, cache=cache, device=device, threads=threads)
    task = _tasks[key]
    refuse_another(task, hashes)
    return evaluate(work, task)


def _node_cache() -> Path:
    """One for all searches and all processes of this user on this node."""
    own = Path(tempfile.gettempdir()) / f"autokd-{os.getuid()}"
    folder = Path(os.environ.get(NODE_CACHE) or own).absolute()
    make_writable(folder)
    return folder


class RayExecutor:
    """Has so many trials under way at a time; Ray finds places for them, also when nodes come and go.

    Without `search.shared`, `cache` must be one folder for all nodes, under one path: checkpoints and teachers' logits
    are in it. With it, a node keeps what it needs in a folder of its own, and the driver gets what is finished.
    """

    in_process = False

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
        hashes: tuple[str, str] | None = None,
    ) -> None:
        """`address` of a running cluster ("auto" for the one that this machine is in); None: one of this machine alone.

        `hashes` are those of the driver's task: a node on which they differ ends the search.
        """
        self._ray = ray = _import_ray()
        self._started = not ray.is_initialized()
        if self._started:
            _connect(ray, address)
        # deaths come back to the driver, which knows the last pause: Ray is not to try again by itself
        self._evaluate = ray.remote(
            max_retries=0, num_cpus=cpus_per_trial, num_gpus=gpus_per_trial
        )(_evaluate)
        self._cache = cache
        self._shared = Shared(config.search.shared, cache) if config.search.shared else None
        node_cache = None if self._shared else cache
        threads = max(1, int(cpus_per_trial))
        self._arguments = (ray.put(config), node_cache, device, threads, hashes)
        self._workers = workers
        self._running: dict[Any, Work] = {}

    @property
    def has_room(self) -> bool:
        return len(self._running) < self._workers

    def submit(self, work: Work) -> None:
        sent = work
        if self._shared:
            sent = replace(work, folder=work.folder.relative_to(self._cache))
        self._running[self._evaluate.remote(sent, *self._arguments)] = work

    def next_result(self) -> tuple[int, TrialResult | Died]:
        (done, *_), _ = self._ray.wait(list(self._running), num_returns=1)
        work = self._running.pop(done)
        try:
            result: TrialResult = self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:  # raised by our own code
            if isinstance(error.cause, StoreAwayError) and self._shared:
                self._shared.check()  # away from here as well: that ends the search and no trial
                return work.number, Died("its node could not reach search.shared")
            cause = error.cause if isinstance(error.cause, AutoKDError) else error
            raise cause from None
        except self._ray.exceptions.RayError:  # the process, its node, or its memory is gone
            return work.number, Died()
        return work.number, self._bring_here(result, work.folder)

    def close(self) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        if self._started:
            self._ray.shutdown()

    def _bring_here(self, result: TrialResult, folder: Path) -> TrialResult:
        """What a worker has left of its trial, if it has left that elsewhere."""
        if self._shared is None:
            return result
        state = folder_state(result)
        if not self._shared.fetch_folder(folder, state=state):
            raise StorageError(
                f"search.shared: what trial {result.number} left is not there ({state}); "
                "is it the same store on every machine?"
            )
        return replace(result, folder=str(folder))


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
        # "local": without it Ray joins whatever cluster was last started on this machine, running or not
        ray.init(address or "local", log_to_driver=False, logging_level="warning", **own)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise StorageError(
            f"Ray cluster {address or 'here'}: can't be reached: {first_line(error)}; "
            "if it wants a token, have RAY_AUTH_MODE=token in the environment"
        ) from None
