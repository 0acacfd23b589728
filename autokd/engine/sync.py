"""MLflow's mirror of a search, written again from the ledger: after the store was away, or into another one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from autokd.engine.candidate_file import NAME, write_candidate_file
from autokd.engine.conclusion import conclude, tell
from autokd.engine.database import ledger_url, read_status
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE, TEACHER_AUDIT, only_driver
from autokd.engine.scale import Scale
from autokd.errors import ConfigError, TrackingError
from autokd.records import SearchInfo, TrialResult
from autokd.tracking.store import Store, open_store
from autokd.tracking.write import Tracker

INFO, BEGUN = "search", "begun"  # notes of the ledger: what the search is, and what began it


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What the store has now."""

    study: str
    trials: int
    front: int | None  # its size; None: the search has not ended
    address: str  # of the store
    view: str  # the charts' place behind MLflow's address


def sync_search(
    study: str | None,
    *,
    directory: Path,
    tracking_uri: str | None,
    ledger: str | None,
    repair: bool = False,
) -> Synced:
    """Write what the store lacks of a study (None: the one that was active last); nothing is written twice.

    Needs neither data nor teacher. `repair` as for the ledger. Raises ConfigError where there is no such study or an earlier autokd began it,
    StorageError while it runs, TrackingError where the store is away.
    """
    cache = directory / CACHE
    url = ledger_url(ledger, cache)
    name, _, _ = read_status(url, study)
    with only_driver(cache, name), closing(Ledger(url, name, cache=cache, repair=repair)) as book:
        if not {INFO, BEGUN, "scale"} <= book.notes.keys():
            raise ConfigError(
                f"search {name} was begun by an earlier autokd, which did not write down what it is; "
                "give its search command again and MLflow is written from there"
            )
        store = open_store(tracking_uri, directory)
        return _write(book, store, folder=cache / "studies" / name)


def _write(book: Ledger, store: Store, *, folder: Path) -> Synced:
    info = SearchInfo.from_dict(book.notes[INFO])
    tracker = Tracker(store)
    tracker.begin(info, **book.notes[BEGUN])
    if (audit := folder / TEACHER_AUDIT).is_dir():
        tracker.attach(audit)
    for result in book.results:
        _complete(result, info)
        tracker.hold(result)
    reason = book.notes.get("ended")
    found = conclude(info, book, tested=bool(reason))
    if reason:
        scale = Scale.from_record(book.notes["scale"])
        tell(found, info, tracker, scale=scale, reason=reason)
    else:
        tracker.interrupt(found.summary)
    if tracker.pending or not tracker.run_id:
        raise TrackingError(
            f"MLflow store {store.address}: {tracker.pending} trials are not there yet; give the command again"
        )
    return Synced(
        study=info.study,
        trials=len(book.results),
        front=len(found.front) if reason else None,
        address=store.address,
        view=tracker.links().view,
    )


def _complete(result: TrialResult, info: SearchInfo) -> None:
    """A driver that was killed may have left a trial's folder without its record."""
    if result.folder and Path(result.folder).is_dir() and not (Path(result.folder) / NAME).exists():
        write_candidate_file(result, info)
