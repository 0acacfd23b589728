"""Writes one search into a store. Every write may be repeated; none stops a search that runs."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.errors import TrackingError, first_line
from autokd.insight import Growth
from autokd.quantities import count_of
from autokd.records import FrontMember, Places, Report, SearchInfo, TrialResult, further_sets
from autokd.tracking import front_run, runs, study_run
from autokd.tracking.environment import mlflow_failures
from autokd.tracking.standing import ALSO_TEST, ON_FRONT, SHORTFALL, Standing
from autokd.tracking.store import Store, one_line_errors, tag_is
from autokd.tracking.study_run import Links
from autokd.tracking.view import save_view

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

_log = logging.getLogger(__name__)

PATIENCE = 40.0  # seconds for a server to come back when all that is left is to tell it the end


@dataclass(frozen=True, slots=True)
class _Search:
    info: SearchInfo
    experiment_id: str
    run_id: str


class Tracker:
    """The mirror of one search. Used by the driver alone, from one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._begun: _Search | None = None
        self._first: list[Callable[[], None]] = []  # what is to be done before any trial
        self._waiting: dict[int, TrialResult] = {}
        self._unknown = 0.0  # trials below this number an earlier driver may have written
        self._written: dict[int, str | None] = {}  # run ids; None: cut off half-way
        self._standing = Standing(())
        self._warned = False
        self._is_dated = False  # whether the search's run says when it was worked on last

    @property
    def pending(self) -> int:
        """How many trials the store does not have yet."""
        return len(self._waiting)

    def begin(
        self,
        info: SearchInfo,
        *,
        versions: Mapping[str, str],
        git_commit: str | None,
        command: str | None,
        begun: int | None = None,
    ) -> None:
        """Create the search's run, or find it and open it again; where the store is away, as soon as it is back.

        `begun`: how many trials earlier drivers began; None: not known. The others need not be looked for in the
        store. Raises TrackingError where the store answers and refuses.
        """
        tags = study_run.study_tags(info, versions=versions, git_commit=git_commit, command=command)
        self._first.append(partial(self._begin, info, tags, begun))
        if self._store.answers():
            self._ensure_open()

    def attach(self, folder: Path) -> None:
        """Add a folder to the search's run, under its own name."""
        self._first.append(partial(self._attach, folder))
        self.flush()

    def _ensure_open(self) -> None:
        while self._first:
            self._first[0]()
            del self._first[0]

    def _attach(self, folder: Path) -> None:
        with one_line_errors(self._store):
            self._store.client.log_artifacts(self._search.run_id, str(folder), folder.name)

    def _begin(self, info: SearchInfo, tags: dict[str, str], begun: int | None) -> None:
        with one_line_errors(self._store):
            experiment_id = runs.ensure_experiment(self._store, info)
            run = runs.find_study(self._store, info)
            is_new = run is None
            self._standing = Standing(info.objectives)
            if run is None:
                run = self._store.client.create_run(
                    experiment_id, run_name=info.study, tags=tags | runs.time_tag()
                )
                self._is_dated = True
            else:
                self._store.client.update_run(run.info.run_id, status="RUNNING")
            self._begun = _Search(info, run.info.experiment_id, run.info.run_id)
            self._describe_study(run, tags)
            self._describe_teacher(run)
            if not is_new:
                # a ledger that was lost does not know of all that is here
                knows_all = begun is not None and not self._children(_is_trial(begun))
                self._unknown = begun if begun is not None and knows_all else math.inf
                for orphan in self._children("attributes.status = 'RUNNING'"):
                    self._store.client.set_terminated(orphan.info.run_id, "KILLED")
                self._standing.recall(self._children(tag_is(ON_FRONT, "true")))
        save_view(self._store, run.info.experiment_id, info)

    def log_trial(self, result: TrialResult) -> None:
        """Write a trial's run. What the store can't take now waits, and is tried again with the next one."""
        self.hold(result)
        self.flush()

    def hold(self, result: TrialResult) -> None:
        """Let it wait, before all others, until the next flush."""
        self._waiting = {result.number: result} | self._waiting
        self._waiting[result.number] = result

    def flush(self) -> None:
        """Write what waits; stop at the first failure, which goes to the end of the queue."""
        if not self._waiting and not self._first:
            return
        if not self._store.answers():
            self._warn("it does not answer")
            return
        try:
            self._ensure_open()
        except TrackingError as error:
            self._warn(str(error))
            return
        for number, result in list(self._waiting.items()):
            try:
                self._write(result)
            except mlflow_failures() as error:
                self._waiting[number] = self._waiting.pop(number)
                self._warn(first_line(error))
                return
            del self._waiting[number]
        self._warned = False

    def _write(self, result: TrialResult) -> None:
        """The trial's run, and off the front whom it beats."""
        existing = self._existing(result.number)
        self._written[result.number] = None
        self._standing.forget(run.info.run_id for run in existing)
        on_front = self._standing.admits(result)
        run = runs.write_trial(self._store, result, self._place, existing, on_front=on_front)
        self._written[result.number] = run.info.run_id
        if not self._is_dated and run.info.run_id not in {old.info.run_id for old in existing}:
            runs.date(self._store, self._search.run_id)
            self._is_dated = True
        if not on_front:
            return
        marks = dict.fromkeys(self._standing.add(run.info.run_id, result), "false")
        if run.data.tags.get(ON_FRONT) == "false":
            marks[run.info.run_id] = "true"
        for run_id, mark in marks.items():
            self._store.client.set_tag(run_id, ON_FRONT, mark)

    def _existing(self, number: int) -> list[Run]:
        """What the store has of a trial. Looking for it takes a while where there are thousands."""
        if run_id := self._written.get(number):
            run = self._store.client.get_run(run_id)
            return [run] if run.info.lifecycle_stage == "active" else []
        if number < self._unknown or number in self._written:
            return self._children(_is_trial(number))
        return []

    def finish(
        self,
        front: Sequence[FrontMember],
        trials: Sequence[TrialResult],
        *,
        growth: Sequence[Growth],
        stopped: str,
        report: Callable[[Places], Report],
        frame: pd.DataFrame,
        info: SearchInfo,
    ) -> None:
        """Mark the front, write the report and close the run. Raises TrackingError when the store is away.

        `stopped` is why the search ended, `frame` the front's table; `info` may say more of the teacher than at the beginning. A search may be finished again: only what changed is written.
        """
        store = self._store
        if not store.answers(patience=PATIENCE):
            also = f" and {count_of(self.pending, 'trial')}" if self.pending else ""
            raise TrackingError(
                f"MLflow store {store.address} does not answer, and lacks the front{also}; "
                "run the same command again when it is back"
            )
        self._ensure_open()
        search = self._begun = replace(self._search, info=info)
        with one_line_errors(store):
            runs.find_study(store, info)
            self._describe_teacher(store.client.get_run(search.run_id))
            found = defaultdict(list)
            for run in self._children():
                found[run.data.tags.get("autokd.trial", "")].append(run)
            written = {
                t.number: runs.write_trial(store, t, self._place, found[str(t.number)])
                for t in trials
            }
            self._waiting.clear()
            front_run.mark_front(store, front, written)
            front_run.log_front_metrics(
                store, search.run_id, search.info, front, trials, growth=growth
            )
            made = report(self._places(written))
            front_run.log_report(store, search.run_id, made.files, frame)
            store.client.set_tag(search.run_id, study_run.NOTE, made.note)
            store.client.set_tag(search.run_id, "autokd.stopped", stopped)
            store.client.set_tag(search.run_id, SHORTFALL, made.shortfall)
            store.client.set_tag(search.run_id, ALSO_TEST, " ".join(further_sets(front)))
            store.client.set_terminated(search.run_id, "FINISHED")
        save_view(store, search.experiment_id, search.info, trials)

    def interrupt(self, so_far: str) -> None:
        """Mark a search that has not ended, with what it came to `so_far` in its note. Never raises: its user is leaving."""
        self.flush()
        if self._begun is None or not self._store.answers():
            return
        client, search = self._store.client, self._begun
        note = [study_run.begin_note(search.info, self.links()), so_far, study_run.UNENDED]
        try:
            client.set_tag(search.run_id, study_run.NOTE, "\n\n".join(note))
            client.set_terminated(search.run_id, "KILLED")
        except mlflow_failures() as error:
            self._warn(first_line(error))

    @property
    def run_id(self) -> str | None:
        """Of the search's run; None: the store was away all the time."""
        return self._begun.run_id if self._begun else None

    def links(self) -> Links:
        search = self._search
        return study_run.make_links(search.info.study, search.experiment_id, search.run_id)

    def _places(self, written: Mapping[int, Run]) -> Places:
        search, links = self._search, self.links()
        page = partial(study_run.run_page, search.experiment_id)
        return Places(
            address=self._store.interface,
            view=links.view,
            run=links.run,
            report=page(search.run_id, "/artifacts/report/{}"),
            trials={number: page(run.info.run_id) for number, run in written.items()},
        )

    @property
    def _search(self) -> _Search:
        if self._begun is None:
            raise RuntimeError("call begin() first")
        return self._begun

    @property
    def _place(self) -> runs.Place:
        search = self._search
        return runs.Place(search.info.study, search.experiment_id, search.run_id)

    def _describe_study(self, run: Run, tags: Mapping[str, str]) -> None:
        client, search = self._store.client, self._search
        links = self.links()
        note = {study_run.NOTE: study_run.begin_note(search.info, links)}
        tags = dict(tags) | note
        params = study_run.study_params(search.info)
        new = {key: value for key, value in params.items() if key not in run.data.params}
        runs.log_values(self._store, run, {}, params=new, tags=tags)
        if not (run.inputs and run.inputs.dataset_inputs):
            runs.log_dataset(self._store, search.run_id, search.info)
        client.log_text(search.run_id, search.info.config, "search.yaml")

    def _describe_teacher(self, run: Run) -> None:
        """On the search's run, and as a run beside the students."""
        info = self._search.info
        runs.log_values(self._store, run, study_run.teacher_metrics(info))
        runs.write_teacher(self._store, info, self._place, self._runs("teacher"))

    def _children(self, *conditions: str) -> list[Run]:
        """Its trials' runs that meet all conditions."""
        return self._runs("trial", *conditions)

    def _runs(self, kind: str, *conditions: str) -> list[Run]:
        search = self._search
        own = (tag_is("autokd.study", search.info.study), tag_is("autokd.kind", kind))
        return list(self._store.runs([search.experiment_id], *own, *conditions))

    def _warn(self, reason: str) -> None:
        if not self._warned:
            _log.warning(
                "MLflow store %s: %s; the search goes on, its trials wait and are written later",
                self._store.address,
                reason,
            )
        self._warned = True


def _is_trial(number: int) -> str:
    return tag_is("autokd.trial", str(number))
