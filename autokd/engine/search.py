"""One search from its file to its front: everything that it needs is found and checked, and then it is driven."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from autokd.auditing import audit_teacher, check_audit
from autokd.config import Config
from autokd.data import load_data
from autokd.engine.candidate_file import write_candidate_file
from autokd.engine.controls import control_proposals
from autokd.engine.database import STUDY_DIGITS, begun_studies, ledger_url
from autokd.engine.driver import Driver
from autokd.engine.executors import Executor, InProcess, ProcessPool
from autokd.engine.finish import SearchResult, finish
from autokd.engine.identity import identify, refuse_changed
from autokd.engine.insight import describe_space
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE, make_writable, only_driver
from autokd.engine.portfolio import carry_over, earlier_fronts
from autokd.engine.progress import Progress, find_front
from autokd.engine.proposer import Proposer
from autokd.engine.ray_executor import RayExecutor
from autokd.engine.repeats import train_again
from autokd.engine.scale import Scale
from autokd.engine.status import Board
from autokd.engine.strategies import make_strategy
from autokd.engine.survey import Survey, survey_file, try_pretrained
from autokd.engine.sync import BEGUN, INFO
from autokd.engine.versions import git_commit, versions
from autokd.errors import AuditError, ConfigError, storage_errors
from autokd.kept import evict
from autokd.records import Candidate, SearchInfo, TrialResult, content_hash
from autokd.shared import Shared
from autokd.space import Space, Suggest
from autokd.task import StudentCosts, Task, choose_device, create_task
from autokd.teachers import measure_teacher
from autokd.tracking.behind import Behind
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
    new: bool = False,
    observe: Observe = lambda _: None,
) -> SearchResult:
    """Search until trials, time or epochs are used up, or Ctrl-C; goes on where the same search was interrupted.

    `ledger` is a database's URL; None: a file in the working directory's .autokd. Everything that can be wrong with
    the search file, the data, the budget, the teacher and the stores is found before the first trial, and raised as
    an AutoKDError. So is a search of this name that has not ended and is not this one any more, unless it is to be a
    `new` one.
    """
    cache = directory / CACHE
    make_writable(cache)
    evict(cache, config.search.cache_limit)
    choose_device(device)
    shared = Shared(config.search.shared, cache)
    shared.check()
    url = ledger_url(ledger, cache)
    data = load_data(config.data, seed=config.seed, cache=cache)
    check_audit(config.audit.to_policy(seed=config.seed), data)
    identity = identify(config, data)
    others = [] if new else begun_studies(url, config.name)
    refuse_changed(identity, others)
    space, costs, sample = survey_file(config, data)
    try_pretrained(sample, data)
    fronts = earlier_fronts(url, config.search.warm_start)
    store = open_store(tracking_uri, directory, later=True)  # before hours of training a teacher
    task = create_task(config, data=data, cache=cache, shared=shared, device=device)
    sample = replace(sample, teacher_macs=task.teacher_info.cost.macs)
    identity["teacher_weights"] = task.teacher_info.hash
    refuse_changed(identity, others)
    info = describe_search(config, task, identity)
    folder = cache / "studies" / info.study
    teacher_report = _audit_teacher(config, task, folder / "teacher_audit")
    with ExitStack() as stack:
        stack.enter_context(only_driver(cache, info.study))
        book = stack.enter_context(closing(Ledger(url, info.study)))
        scale = _recall_scale(
            book, Scale(objectives=info.objectives, teacher=info.teacher, classes=task.classes)
        )
        info = replace(info, teacher=scale.teacher)
        book.note_once("identity", identity)
        begun: dict[str, Any] = {
            "versions": versions(), "git_commit": git_commit(directory), "command": command,
        }  # fmt: skip
        for name, value in {INFO: info.to_dict(), BEGUN: begun}.items():
            if book.notes.get(name) != value:
                book.note(name, value)
        tracker = Tracker(store)
        begin = partial(
            tracker.begin, info, **begun, teacher_audit=teacher_report, begun=len(book.entries)
        )
        board = Board(book)

        def show(progress: Progress) -> None:
            board.write(progress)
            observe(progress)

        def mirror(result: TrialResult) -> None:
            if result.folder and Path(result.folder).is_dir():
                write_candidate_file(result, info)
            behind.log_trial(result)

        driver = _make_driver(
            config, space, sample, costs, book, scale,
            fronts=fronts, folder=folder, mirror=mirror, observe=show,
        )  # fmt: skip
        if not store.is_new:  # it may refuse, and then before the first trial
            begin()
        with Behind(tracker, begin if store.is_new else lambda: None) as behind:
            reason, interrupted = _drive(driver, _make_executor(config, task, device), config)
        driver.watch.add("log", behind.seconds)
        board.write(driver.progress(), ended=reason)
        book.note("spent", driver.watch.seconds)
        if not interrupted:
            info = _time_teacher(info, config, task)
            book.note(INFO, info.to_dict())
        if not interrupted and book.notes.get("ended") != reason:
            book.note("ended", reason)
        return finish(
            info,
            task,
            book,
            tracker,
            scale=scale,
            reason=reason,
            interrupted=interrupted,
        )


def _make_driver(
    config: Config,
    space: Space,
    sample: Survey,
    costs: StudentCosts,
    book: Ledger,
    scale: Scale,
    *,
    fronts: Sequence[Mapping[str, Any]],
    folder: Path,
    mirror: Callable[[TrialResult], None],
    observe: Observe,
) -> Driver:
    """`fronts` are those that a warm start begins with."""
    budget = config.budget.to_budget()
    strategy = make_strategy(config.search, scale, epochs=space.most_epochs)

    choose_assistants = cache(sample.choose_assistants)  # a hundred times for every proposal

    def draw(suggest: Suggest) -> Candidate:
        return space.sample(
            suggest, lambda student, count: choose_assistants(costs(student).macs, count)
        )

    book.note_once("space", describe_space(space.distributions, strategy.pauses(space.most_epochs)))
    recalled = book.note_once("warm start", list(fronts))  # another search may have gone on since
    return Driver(
        ledger=book,
        proposer=Proposer(
            sample=draw,
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
        portfolio=carry_over(recalled, sample=draw, exact_cost=costs, budget=budget),
        limits=config.search,
        seed=config.seed,
        folder=folder,
        mirror=mirror,
        observe=observe,
    )


def _drive(driver: Driver, executor: Executor, config: Config) -> tuple[str, bool]:
    """The search, and then the front and the controls again. Why it stopped, and whether its user stopped it."""
    try:
        reason = driver.run(executor)
        if times := config.search.final_seeds:
            results = driver.ledger.results
            front = find_front(results, config.search.objectives)
            controls = [r for r in results if r.control and r.state == "complete"]
            train_again(
                driver.ledger,
                executor,
                list(dict.fromkeys(result.number for result in (*front, *controls))),
                times=times,
                seed=config.seed,
                folder=driver.folder,
            )
    except KeyboardInterrupt:
        return "interrupted; the same command goes on", True
    finally:
        executor.close()
    return reason, False


def _make_executor(config: Config, task: Task, device: str | None) -> Executor:
    search, cache = config.search, task.cache
    if search.executor == "ray":
        return RayExecutor(
            search.workers,
            config,
            cache=cache,
            device=device,
            hashes=task.hashes,
            address=search.ray_address,
            gpus_per_trial=search.gpus_per_trial,
            cpus_per_trial=search.cpus_per_trial,
        )
    if search.workers > 1:
        return ProcessPool(search.workers, config, cache=cache, device=device)
    return InProcess(task)


def _recall_scale(book: Ledger, scale: Scale) -> Scale:
    """As it was when the search began: hypervolumes are measured by the teacher's costs, and latency varies."""
    return Scale.from_record(book.note_once("scale", scale.to_record()))


def describe_search(config: Config, task: Task, identity: Mapping[str, Any]) -> SearchInfo:
    """The search's record; its name ends in a hash of what must not change when it goes on."""
    fingerprint = content_hash(identity)
    return SearchInfo(
        study=f"{config.name}-{fingerprint[:STUDY_DIGITS]}",
        config=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        fingerprint=fingerprint,
        seed=config.seed,
        objectives=config.search.objectives,
        budget=task.budget,
        data=task.data.info,
        teacher=task.teacher_info,
    )


def _time_teacher(info: SearchInfo, config: Config, task: Task) -> SearchInfo:
    """With the teacher's latency, for which no trial has waited if it decides nothing."""
    if info.teacher.cost.latency_ms is not None:
        return info
    cost = measure_teacher(config.teacher, task.data, probe=task.probe, cache=task.cache)
    return replace(info, teacher=replace(info.teacher, cost=cost))


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
