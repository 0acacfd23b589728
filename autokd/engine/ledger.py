"""The ledger of a search: what happened, event after event, in a database that only the driver writes.

A search that goes on is its events read again. One event is one committed line; nothing is ever changed.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_exponential

from autokd.engine.database import BEGIN_ANEW, EVENTS, STATUS, cannot_open, open_engine, shown_url
from autokd.engine.deaths import UNKNOWN
from autokd.engine.place import brought_here
from autokd.engine.seal import MISREAD, seal, unseal
from autokd.errors import StorageError, first_line, one_line
from autokd.locked import is_locked
from autokd.records import Candidate, Cost, TrialResult, content_hash

log = logging.getLogger(__name__)

BUSY_SECONDS = 20.0  # that somebody else's lock of a file is waited for
PATIENCE = 120.0  # seconds that a database server may be away
RESULTS = ("result", "repeat")  # kinds of event; those that follow in a trial build on them
LOSABLE = (*RESULTS, "cost", "death", "begin", "leave", "note")  # a search can go on without
LOST = "lost"  # what such an event becomes where it was damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A candidate with the choices that led to it."""

    candidate: Candidate
    params: Mapping[str, Any]  # of the space; only those that this candidate has
    control: str | None = None  # why it was put in by hand
    origin: str | None = None  # the earlier search that it was taken over from


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A proposal under its number, and what came of it at each pause."""

    number: int
    proposal: Proposal
    results: tuple[TrialResult, ...] = ()
    died: tuple[str, ...] = ()  # how processes did that had it, since the last result
    under_way: bool = False  # in the driver's own process, which would die with it
    repeats: tuple[TrialResult, ...] = ()  # the same candidate with further seeds, when it was done

    @property
    def result(self) -> TrialResult | None:
        """The latest."""
        return self.results[-1] if self.results else None

    @property
    def deaths(self) -> int:
        """How many processes died with it since the last result."""
        return len(self.died)

    @property
    def is_closed(self) -> bool:
        """Nothing more will come of it."""
        return self.result is not None and self.result.state != "stopped"

    @property
    def finished_repeats(self) -> list[TrialResult]:
        """Those that were trained to their end."""
        return [repeat for repeat in self.repeats if repeat.state == "complete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A trial of which nothing more will come, and when that was."""

    result: TrialResult
    clock: float  # seconds that the search had been driven for
    epochs: int  # that had been trained in all
    proposed: int  # trials that there were by then, rejected ones too


class Ledger:
    """Events of one study. A second driver of it, wherever it runs, is refused at its first event."""

    clock: float  # seconds that the search has been driven for; whoever drives sets it
    epochs: int  # trained so far: trials' own without repeats, and those of each assistant and donor once
    shared_epochs: int  # of them, those of assistants and donors
    rejected: int  # trials that were not trained, as they are over budget
    ended: list[Ended]  # in the order in which it came

    def __init__(
        self, url: str, study: str, *, cache: Path | None = None, repair: bool = False
    ) -> None:
        """`url` is SQLAlchemy's: sqlite:///PATH, postgresql+psycopg://…; trials' folders are below `cache`, wherever they were.

        With `repair` damaged events that a search can go on without mean nothing from now on. Raises StorageError that
        names any other.
        """
        self._cache = cache
        self._study = study
        self._shown = shown_url(url)
        self._entries: list[Entry] = []
        self._shared: set[str] = set()  # trainings of assistants and donors that count already
        self.clock, self.epochs, self.shared_epochs, self.rejected, self.ended = 0.0, 0, 0, 0, []
        self._notes: dict[str, Any] = {}
        try:
            waits = {"timeout": BUSY_SECONDS} if url.startswith("sqlite") else {}
            self._engine = open_engine(url, pool_pre_ping=True, connect_args=waits)
            EVENTS.metadata.create_all(self._engine)
            events = self._read()
        except (SQLAlchemyError, OSError) as error:
            raise cannot_open(self._shown, error) from None
        self._place = len(events)
        self._lost: set[int] = set()  # trials, in a repair: what followed is lost too
        try:
            for place, (at, *event) in enumerate(events):
                if at != place:
                    raise StorageError(
                        f"{self._shown}: search {study}: event {place} is missing; {BEGIN_ANEW}"
                    )
                self._read_again(place, *event, repair=repair)
        except StorageError:
            self.close()
            raise

    @property
    def notes(self) -> dict[str, Any]:
        """What is kept about the search as a whole: the latest of each name."""
        return dict(self._notes)

    @property
    def entries(self) -> Sequence[Entry]:
        """Every trial in the order of its number."""
        return self._entries

    @property
    def results(self) -> list[TrialResult]:
        """The latest of every trial that has one."""
        return [entry.result for entry in self._entries if entry.result is not None]

    @property
    def begun(self) -> int:
        """Trials, without those that were rejected untrained."""
        return len(self._entries) - self.rejected

    def note(self, name: str, value: Any) -> None:
        """`value` is what JSON holds. Nothing is written where it stands there already."""
        if name not in self._notes or self._notes[name] != value:
            self._write("note", None, {"name": name, "value": value})

    def note_once(self, name: str, value: Any) -> Any:
        """What was noted first under this name: now, or in an earlier run."""
        if name not in self._notes:
            self.note(name, value)
        return self._notes[name]

    def add(self, proposal: Proposal, *, under_way: bool = False) -> Entry:
        """Write a proposal down before anything is done about it; `under_way` as for `begin`, in the same event."""
        record = {
            "candidate": proposal.candidate.to_dict(),
            "params": dict(proposal.params),
            "control": proposal.control,
            "origin": proposal.origin,
        } | ({"under_way": True} if under_way else {})
        self._write("proposal", len(self._entries), record)
        return self._entries[-1]

    def record(self, result: TrialResult) -> Entry:
        """Write down what came of a trial, before anything is decided by it."""
        return self._record("result", result)

    def repeat(self, result: TrialResult) -> Entry:
        """Write down what came of a finished candidate with another seed."""
        return self._record("repeat", result)

    def price(self, number: int, cost: Cost, *, excess: Mapping[str, float] | None = None) -> Entry:
        """Write down a cost that was measured after the trial was complete; `excess`: over the limits, where that is another."""
        corrected = {} if excess is None else {"excess": dict(excess)}
        self._write("cost", number, asdict(cost) | corrected)
        return self._entries[number]

    def begin(self, number: int) -> Entry:
        """Write down that a part of a trial begins in the driver's own process: who finds that without an end knows how it ended."""
        self._write("begin", number, {})
        return self._entries[number]

    def leave(self, numbers: Collection[int]) -> None:
        """Write down that what of these is under way here is left for later: its process lives. Best effort."""
        for number in numbers:
            if self._entries[number].under_way:
                with suppress(StorageError):  # then whatever ended it is told
                    self._write("leave", number, {})

    def died(self, number: int, how: str = UNKNOWN) -> Entry:
        """Write down that a process died with a trial."""
        self._write("death", number, {"how": how})
        return self._entries[number]

    def show(self, status: Mapping[str, Any]) -> None:
        """Let others see how far the search is. Best effort: the next one may succeed."""
        row = {"study": self._study, "at": time.time(), "record": json.dumps(status)}
        with suppress(SQLAlchemyError), self._engine.begin() as connection:
            connection.execute(delete(STATUS).where(STATUS.c.study == self._study))
            connection.execute(insert(STATUS).values(**row))

    def close(self) -> None:
        self._engine.dispose()

    def _read_again(
        self, place: int, kind: str, trial: int | None, clock: float, text: str, *, repair: bool
    ) -> None:
        """One event of an earlier run. Raises StorageError that names it where it is not what was written."""
        if repair and trial in self._lost and kind in (*RESULTS, "cost"):
            self._lose(place, kind, trial, clock)
            return
        try:
            record = unseal(text, (self._study, place, kind, trial, clock))
            self._apply(kind, trial, record, clock=clock)
        except MISREAD as error:
            if repair and kind in LOSABLE:
                self._lose(place, kind, trial, clock)
                return
            why = str(error) if isinstance(error, ValueError) else one_line(error)
            what = kind if trial is None else f"{kind} of trial {trial}"
            raise StorageError(
                f"{self._shown}: search {self._study}: event {place} ({what}) is not what was written there: "
                f"{why}; "
                + (
                    f"put back a copy of the ledger, or `autokd sync {self._study} --repair` does without it: "
                    "a trial that loses its result is trained again; what MLflow has of it stays there"
                    if kind in LOSABLE
                    else BEGIN_ANEW
                )
            ) from None

    def _lose(self, place: int, kind: str, trial: int | None, clock: float) -> None:
        """Let an event that can't be believed mean nothing from now on."""
        log.warning("event %d (%s of trial %s) is lost", place, kind, trial)
        if kind in RESULTS and trial is not None:
            self._lost.add(trial)
        where = (self._study, place, LOST, trial, clock)
        values = {"kind": LOST, "record": seal("{}", where)}
        own = (EVENTS.c.study == self._study) & (EVENTS.c.place == place)
        with self._engine.begin() as connection:
            connection.execute(update(EVENTS).where(own).values(**values))

    def _record(self, kind: str, result: TrialResult) -> Entry:
        record = result.to_dict()
        del record["candidate"]  # the proposal has it
        self._write(kind, result.number, record)
        return self._entries[result.number]

    def _write(self, kind: str, trial: int | None, record: Mapping[str, Any]) -> None:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        try:
            self._insert(
                kind, trial, seal(text, (self._study, self._place, kind, trial, self.clock))
            )
        except IntegrityError:
            raise StorageError(
                f"{self._shown}: another driver writes search {self._study}; this one stops, nothing is lost"
            ) from None
        except SQLAlchemyError as error:
            if is_locked(error):
                raise cannot_open(self._shown, error) from None
            raise StorageError(
                f"{self._shown}: the ledger can't be written: {first_line(error)}; "
                "nothing recorded is lost, and the same command goes on when that is mended"
            ) from None
        self._place += 1
        self._apply(kind, trial, json.loads(text), clock=self.clock)

    def _apply(self, kind: str, trial: int | None, record: dict[str, Any], *, clock: float) -> None:
        """What an event means; the same for one that was just written and for one that is read again."""
        self.clock = clock
        if kind == LOST:
            return
        if kind == "note":
            self._notes[record["name"]] = record["value"]
            return
        assert trial is not None
        if kind == "proposal":
            candidate = Candidate.from_dict(record.pop("candidate"))
            under_way = record.pop("under_way", False)
            proposal = Proposal(candidate=candidate, **record)
            self._entries.append(Entry(number=trial, proposal=proposal, under_way=under_way))
            return
        entry = self._entries[trial]
        if kind in ("begin", "leave"):
            self._entries[trial] = replace(entry, under_way=kind == "begin")
            return
        if kind == "death":
            died = (*entry.died, record.get("how", UNKNOWN))
            self._entries[trial] = replace(entry, died=died, under_way=False)
            return
        if kind == "cost":  # `ended` shows the trial as it ended, without
            last = entry.results[-1]
            excess = record.pop("excess", last.excess)
            result = replace(last, cost=Cost(**record), excess=excess)
            self._entries[trial] = replace(entry, results=(*entry.results[:-1], result))
            return
        result = TrialResult.from_dict(record, candidate=entry.proposal.candidate)
        if result.folder and self._cache:
            result = replace(result, folder=brought_here(result.folder, self._cache))
        if kind == "repeat":
            repeats = (*entry.repeats, result)
            self._entries[trial] = replace(entry, repeats=repeats, died=(), under_way=False)
            return
        self._count(entry, result)
        self.rejected += result.state == "rejected"
        entry = replace(entry, results=(*entry.results, result), died=(), under_way=False)
        self._entries[trial] = entry
        if entry.is_closed:
            self.ended.append(
                Ended(
                    result=result,
                    clock=self.clock,
                    epochs=self.epochs,
                    proposed=len(self._entries),
                )
            )

    def _count(self, entry: Entry, result: TrialResult) -> None:
        before = len(entry.result.history) if entry.result else 0
        self.epochs += len(result.history) - before
        if not before and result.history:
            new = self.untrained(entry.proposal.candidate)
            self._shared |= new.keys()
            self.shared_epochs += sum(new.values())
            self.epochs += sum(new.values())

    def untrained(self, candidate: Candidate) -> dict[str, int]:
        """Epochs of each of its assistants and its donor that no trial has had yet, by what makes them."""
        assistants = candidate.assistants
        shared = [assistants[: place + 1] for place in range(len(assistants))]
        shared += [(candidate.donor,)] if candidate.donor else []
        epochs = {
            content_hash([each.identity() for each in chain]): chain[-1].training.epochs
            for chain in shared
        }
        return {name: own for name, own in epochs.items() if own and name not in self._shared}

    @retry(
        retry=retry_if_exception(lambda error: _server_is_away(error)),
        wait=wait_exponential(multiplier=0.1, max=5),
        stop=stop_after_delay(PATIENCE),
        reraise=True,
    )
    def _insert(self, kind: str, trial: int | None, text: str) -> None:
        event = {
            "study": self._study,
            "place": self._place,
            "kind": kind,
            "trial": trial,
            "clock": self.clock,
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(EVENTS).values(**event, record=text))
        except IntegrityError:  # ours, if the server went away between commit and answer
            if self._read(self._place) != [(self._place, kind, trial, self.clock, text)]:
                raise

    def _read(self, first: int = 0) -> list[Any]:
        """(place, kind, trial, clock, record) of each event from a place on."""
        events = select(*(EVENTS.c[name] for name in ("place", "kind", "trial", "clock", "record")))
        own = (EVENTS.c.study == self._study) & (EVENTS.c.place >= first)
        with self._engine.connect() as connection:
            return [
                tuple(row) for row in connection.execute(events.where(own).order_by(EVENTS.c.place))
            ]


def _server_is_away(error: BaseException) -> bool:
    """Not so for SQLite, whose file does not come back by waiting."""
    return isinstance(error, OperationalError) and "sqlite" not in type(error.orig).__module__
