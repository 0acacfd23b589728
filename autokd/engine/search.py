"""One search from its file to its front: prepared, driven, and concluded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from autokd.config import Config
from autokd.engine.candidate_file import write_candidate_file
from autokd.engine.controls import control_proposals, crowding
from autokd.engine.driver import Driver
from autokd.engine.executors import Executor, InProcess, ProcessPool
from autokd.engine.finish import SearchResult, describe_rest, finish
from autokd.engine.identity import claim_of
from autokd.engine.insight import describe_space
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE, TEACHER_AUDIT, make_writable, only_driver
from autokd.engine.portfolio import carry_over
from autokd.engine.prepare import Prepared, prepare
from autokd.engine.progress import Progress, front_and_controls
from autokd.engine.proposer import Proposer
from autokd.engine.ray_executor import RayExecutor
from autokd.engine.recount import recount_students
from autokd.engine.repeats import train_again
from autokd.engine.scale import Scale
from autokd.engine.status import Board
from autokd.engine.strategies import make_strategy
from autokd.engine.sync import BEGUN, INFO
from autokd.engine.timing import time_students, time_teacher
from autokd.engine.versions import git_commit, versions
from autokd.masking import without_secrets
from autokd.records import Candidate, TrialResult
from autokd.space import Suggest
from autokd.tracking.behind import Behind
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
    with ExitStack() as stack:
        # before minutes of loading and training a teacher; the study's own name is known after them
        stack.enter_context(only_driver(cache, claim_of(config), search=config.name))
        ready = prepare(
            config,
            directory=directory,
            tracking_uri=tracking_uri,
            ledger=ledger,
            device=device,
            new=new,
        )
        stack.enter_context(only_driver(ready.task.cache, ready.info.study))
        book = stack.enter_context(
            closing(Ledger(ready.ledger, ready.info.study, cache=ready.task.cache))
        )
        scale = _recall_scale(book, ready)
        info = replace(ready.info, teacher=scale.teacher)
        book.note_once("identity", ready.identity)
        begun: dict[str, Any] = {
            "versions": versions(),
            "git_commit": git_commit(directory),
            "command": command and without_secrets(command),
        }
        book.note(INFO, info.to_dict())
        book.note(BEGUN, begun)
        tracker = Tracker(ready.store)
        begin = partial(tracker.begin, info, **begun, begun=len(book.entries))
        board = Board(book)

        def show(progress: Progress) -> None:
            board.write(progress)
            observe(progress)

        def mirror(result: TrialResult) -> None:
            if result.folder and Path(result.folder).is_dir():
                write_candidate_file(result, info)
            behind.log_trial(result)

        driver = _make_driver(ready, book, scale, mirror=mirror, observe=show)
        if not ready.store.is_new:  # it may refuse, and then before the first trial
            begin()

        def begin_beside() -> None:
            if ready.store.is_new:
                begin()
            import_module("sklearn.tree")  # the forest's: the first proposals need none
            ready.teacher_audit.save(ready.folder / TEACHER_AUDIT)  # a second, for its pictures
            tracker.attach(ready.folder / TEACHER_AUDIT)

        with Behind(tracker, begin_beside) as behind:
            reason, interrupted = _drive(driver, _make_executor(ready), config)
        driver.watch.add("log", behind.seconds)
        board.write(driver.progress(), ended=reason)
        book.note("spent", driver.watch.seconds)
        if not interrupted:
            rest = describe_rest(
                book,
                info.objectives,
                models=config.search.log_models,
                also_test={name: each.hash for name, each in ready.task.data.also_test.items()},
            )
            log.info("trials are done; left to do: %s", rest)
            info = time_teacher(info, config.teacher, ready.task)
            book.note(INFO, info.to_dict())
            if "students.prune" in ready.space.distributions:
                recount_students(book, ready.costs, ready.task)
            time_students(book, info, ready.task)
            book.note("ended", reason)
        return finish(
            info,
            ready.task,
            book,
            tracker,
            scale=scale,
            reason=reason,
            interrupted=interrupted,
        )


def _make_driver(
    ready: Prepared,
    book: Ledger,
    scale: Scale,
    *,
    mirror: Callable[[TrialResult], None],
    observe: Observe,
) -> Driver:
    config, space, costs = ready.config, ready.space, ready.costs
    budget = config.budget.to_budget()
    strategy = make_strategy(config.search, scale, epochs=space.most_epochs)

    choose_assistants = cache(ready.sample.choose_assistants)  # a hundred times for every proposal

    def draw(suggest: Suggest) -> Candidate:
        return space.sample(
            suggest,
            # they teach it before it is pruned
            lambda student, count: choose_assistants(
                costs(replace(student, pruned=0.0)).macs, count
            ),
        )

    controls = control_proposals(space, ready.sample)
    if crowded := crowding(len(controls), config.search.trials):
        log.info("%s", crowded)
    book.note_once("space", describe_space(space.distributions, strategy.pauses(space.most_epochs)))
    # as it was when the search began: the other one may have gone on since
    recalled = book.note_once("warm start", list(ready.fronts))
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
        controls=controls,
        portfolio=carry_over(recalled, sample=draw, exact_cost=costs, budget=budget),
        limits=config.search,
        seed=config.seed,
        folder=ready.folder,
        mirror=mirror,
        observe=observe,
    )


def _drive(driver: Driver, executor: Executor, config: Config) -> tuple[str, bool]:
    """The search, and then the front and the controls again. Why it stopped, and whether its user stopped it."""
    try:
        reason = driver.run(executor)
        if times := config.search.final_seeds:
            shown = front_and_controls(driver.ledger.results, config.search.objectives)
            train_again(
                driver.ledger,
                executor,
                [result.number for result in shown],
                times=times,
                seed=config.seed,
                folder=driver.folder,
            )
    except KeyboardInterrupt:
        return "interrupted; the same command goes on", True
    finally:
        executor.close()
    return reason, False


def _make_executor(ready: Prepared) -> Executor:
    config, task, device = ready.config, ready.task, ready.device
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
    new_pool = partial(
        ProcessPool, search.workers, config, cache=cache, device=device, hashes=task.hashes
    )
    if search.starts_processes:
        return new_pool()
    return InProcess(task, partial(new_pool, threads=task.threads))


def _recall_scale(book: Ledger, ready: Prepared) -> Scale:
    """As it was when the search began: hypervolumes are measured by the teacher's costs, and latency varies."""
    info = ready.info
    scale = Scale(objectives=info.objectives, teacher=info.teacher, classes=ready.task.classes)
    return Scale.from_record(book.note_once("scale", scale.to_record()))
