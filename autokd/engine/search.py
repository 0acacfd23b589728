"""One search from its file to its front: everything that it needs is found and checked, and then it is driven."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from autokd.auditing import audit_teacher, check_audit
from autokd.config import Config
from autokd.data import load_data
from autokd.engine.candidate_file import write_candidate_file
from autokd.engine.controls import control_proposals
from autokd.engine.database import ledger_url
from autokd.engine.driver import Driver
from autokd.engine.executors import Executor, InProcess, ProcessPool
from autokd.engine.finish import SearchResult, finish
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE, make_writable, only_driver
from autokd.engine.progress import Progress
from autokd.engine.proposer import Proposer
from autokd.engine.ray_executor import RayExecutor
from autokd.engine.scale import Scale
from autokd.engine.status import Board
from autokd.engine.strategies import make_strategy
from autokd.engine.survey import Survey, survey
from autokd.engine.versions import git_commit, versions
from autokd.errors import AuditError, ConfigError, storage_errors
from autokd.records import Candidate, Cost, SearchInfo, TeacherInfo, TrialResult, content_hash
from autokd.space import Space, Suggest
from autokd.task import StudentCosts, Task, choose_device, create_task
from autokd.tracking.store import open_store
from autokd.tracking.write import Tracker

log = logging.getLogger(__name__)

Observe = Callable[[Progress], None]


def run_search(
    config: Config,
    *,
    directory: Path,
    tracking_uri: str | None = None,
    ledger: str | None = None,
    device: str | None = None,
    command: str | None = None,
    observe: Observe = lambda _: None,
) -> SearchResult:
    """Search until trials, time or epochs are used up, or Ctrl-C; goes on where the same search was interrupted.

    `ledger` is a database's URL; None: a file in the working directory's .autokd. Everything that can be wrong with
    the search file, the data, the budget, the teacher and the stores is found before the first trial, and raised as
    an AutoKDError.
    """
    cache = directory / CACHE
    make_writable(cache)
    choose_device(device)
    data = load_data(config.data, seed=config.seed, cache=cache)
    check_audit(config.audit.to_policy(seed=config.seed), data)
    space = Space(config, image_size=data.info.image_size)
    costs = StudentCosts(data, weight_dtype=config.budget.weights, rates=space.drop_rates)
    budget = config.budget.to_budget()
    sample = survey(space, costs, budget=budget, seed=config.seed)
    store = open_store(tracking_uri, directory)  # before the teacher: training one may take hours
    task = create_task(config, data=data, cache=cache, device=device)
    sample = replace(sample, teacher_macs=task.teacher_info.cost.macs)
    info = describe_search(config, task)
    folder = cache / "studies" / info.study
    teacher_report = _audit_teacher(config, task, folder / "teacher_audit")
    with ExitStack() as stack:
        stack.enter_context(only_driver(cache, info.study))
        book = stack.enter_context(closing(Ledger(ledger_url(ledger, cache), info.study)))
        info = replace(info, teacher=_recorded_teacher(book, info.teacher))
        tracker = Tracker(store)
        run_id = tracker.begin(
            info,
            versions=versions(),
            git_commit=git_commit(directory),
            command=command,
            teacher_audit=teacher_report,
        )
        scale = Scale(objectives=info.objectives, teacher=info.teacher, classes=task.classes)
        strategy = make_strategy(config.search, scale, epochs=space.most_epochs)

        board = Board(book)

        def show(progress: Progress) -> None:
            board.write(progress)
            observe(progress)

        def mirror(result: TrialResult) -> None:
            if result.folder and Path(result.folder).is_dir():
                write_candidate_file(result, info)
            tracker.log_trial(result)

        driver = Driver(
            ledger=book,
            proposer=Proposer(
                sample=_sampler(space, sample, costs),
                exact_cost=costs,
                distributions=space.distributions,
                budget=budget,
                scale=scale,
                rungs=strategy.rungs,
                sampler=strategy.sampler,
                random_share=strategy.random_share,
                resamples=config.search.resamples,
            ),
            strategy=strategy,
            controls=control_proposals(space, sample),
            limits=config.search,
            seed=config.seed,
            folder=folder,
            mirror=mirror,
            observe=show,
        )
        executor = _make_executor(config, task, device)
        interrupted = False
        try:
            reason = driver.run(executor)
        except KeyboardInterrupt:
            reason, interrupted = "interrupted; the same command goes on", True
        finally:
            executor.close()
        board.write(driver.progress(), ended=reason)
        return finish(
            info,
            task,
            book,
            tracker,
            run_id=run_id,
            results=driver.results,
            hypervolume=driver.progress().hypervolume,
            reason=reason,
            interrupted=interrupted,
        )


def _make_executor(config: Config, task: Task, device: str | None) -> Executor:
    search, cache = config.search, task.cache
    if search.executor == "ray":
        return RayExecutor(
            search.workers,
            config,
            cache=cache,
            device=device,
            address=search.ray_address,
            gpus_per_trial=search.gpus_per_trial,
            cpus_per_trial=search.cpus_per_trial,
        )
    if search.workers > 1:
        return ProcessPool(search.workers, config, cache=cache, device=device)
    return InProcess(task)


def _sampler(space: Space, sample: Survey, costs: StudentCosts) -> Callable[[Suggest], Candidate]:
    return lambda suggest: space.sample(
        suggest, lambda student, count: sample.choose_assistants(costs(student).macs, count)
    )


def _recorded_teacher(ledger: Ledger, teacher: TeacherInfo) -> TeacherInfo:
    """As it was when the search began: its costs are what hypervolumes are measured by, and latency varies."""
    if "teacher" not in ledger.notes:
        ledger.note("teacher", asdict(teacher))
    record = ledger.notes["teacher"]
    return TeacherInfo(**record | {"cost": Cost(**record["cost"])})


def describe_search(config: Config, task: Task) -> SearchInfo:
    """The search's record and its name: what must not change when it goes on is in the fingerprint."""
    record = config.model_dump(mode="json")
    unimportant = {
        "search": (
            *("trials", "time", "epochs", "patience", "workers"),
            *("executor", "ray_address", "gpus_per_trial", "cpus_per_trial"),
        ),
        "data": ("root", "loader_processes"),  # the images themselves have a hash
        "teacher": ("checkpoint",),  # and so has the teacher
        "audit": ("accept_teacher_bias", "thumbnails", "robustness_images"),
    }
    for section, keys in unimportant.items():
        for key in keys:
            record[section].pop(key)
    if record["data"]["metadata"]:
        record["data"]["metadata"].pop("path")  # what it says of the images has a hash, too
    name = record.pop("name")
    data = task.data
    fingerprint = content_hash([record, data.info.hash, data.people_hash(), task.teacher_info.hash])
    return SearchInfo(
        study=f"{name}-{fingerprint[:6]}",
        config=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        fingerprint=fingerprint,
        seed=config.seed,
        objectives=config.search.objectives,
        budget=task.budget,
        data=data.info,
        teacher=task.teacher_info,
    )


def _audit_teacher(config: Config, task: Task, folder: Path) -> Path:
    """Where the report lies. Raises AuditError when the teacher fails and nobody has accepted that."""
    audit = audit_teacher(task)
    figures = audit.figures()
    with storage_errors(folder):
        audit.save(folder)
    log.info("teacher on val: %s", figures.sentence)
    if audit.status == "fail":
        raise AuditError(
            f"the teacher fails its audit: {figures.sentence} Report: {folder / 'audit.html'}. Use "
            "another teacher, or say why this one will do: audit.accept_teacher_bias in the search file"
        )
    if "worst_group_accuracy" in config.search.objectives and figures.worst_group_accuracy is None:
        raise ConfigError(
            f"search.objectives: worst_group_accuracy needs a group of {task.policy.min_group_n} val "
            "images or more, and there is none; give more images or leave it out"
        )
    return folder
