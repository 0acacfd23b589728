"""Trained students as MLflow models: exported, held against themselves, logged beside their runs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autokd.drift.reference import NAME as REFERENCE
from autokd.engine.place import CACHE
from autokd.errors import AutoKDError, ParityError, TrackingError
from autokd.exporting.example import NAME as EXAMPLE
from autokd.exporting.export import Exported, export_student
from autokd.quantities import format_bytes
from autokd.records import TrialResult
from autokd.tracking.find import StoredTrial, fetch_trial
from autokd.tracking.models import StudentFile, log_student, models_of
from autokd.tracking.store import Store, open_store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedStudent:
    """A trial's student, the file it left as, and its model in MLflow."""

    trial: StoredTrial
    exported: Exported
    model_id: str


@contextmanager
def logged_student(
    store: Store, candidate: str, *, int8: bool, cache: Path
) -> Iterator[LoggedStudent]:
    """The exported files are there until the end of `with`. Raises ParityError, and logs nothing, where the file says
    something else than the student."""
    with tempfile.TemporaryDirectory(prefix="autokd-model-") as place:
        folder = Path(place) / "trial"
        folder.mkdir()
        trial = fetch_trial(store, candidate, folder)
        exported = export_student(
            folder,
            Path(place) / "student",
            source=trial.description,
            cache=cache,
            int8=int8,
            facts=trial.facts,
        )
        _refuse_difference(exported)
        student = StudentFile(
            graph=exported.path,
            card=exported.card,
            reference=exported.path.parent / REFERENCE,
            example=exported.path.parent / EXAMPLE,
            precision=exported.precision,
            metrics={
                "export/val_accuracy": exported.parity.accuracy,
                "export/agreement": exported.parity.agreement,
                "export/size_bytes": float(exported.size_bytes),
            },
        )
        yield LoggedStudent(
            trial=trial, exported=exported, model_id=log_student(store, trial, student)
        )


def log_front(
    study: str, front: Sequence[TrialResult], *, tracking_uri: str | None, directory: Path
) -> None:
    """A model for each student of a search's finished front that has none yet. What can't be had is a warning: the search
    is done, and `autokd register` tries again."""
    try:
        store = open_store(tracking_uri, directory, create=False)
        there = models_of(store, study)
        for result in front:
            precision = result.candidate.stages[-1].student.precision
            if (result.number, precision) not in there:
                _log(store, f"{study}/{result.number}", cache=directory / CACHE)
    except TrackingError as error:
        log.warning("%s; the front has no models there yet: autokd register", error)


def _log(store: Store, candidate: str, *, cache: Path) -> None:
    try:
        with logged_student(store, candidate, int8=False, cache=cache) as logged:
            exported = logged.exported
            log.info(
                "model of %s: %s, the same answer as in PyTorch for %.2f%% of %d images",
                *(candidate, format_bytes(exported.size_bytes)),
                *(100 * exported.parity.agreement, exported.parity.images),
            )
    except TrackingError:
        raise
    except AutoKDError as error:
        log.warning("no model of %s: %s", candidate, error)


def _refuse_difference(exported: Exported) -> None:
    for overrun in exported.overruns:
        log.warning("%s: %s", exported.source, overrun)
    if not exported.faithful:
        raise ParityError(
            f"{exported.source}: {'; '.join(exported.problems)}. Nothing was registered; `autokd export` writes the "
            f"{exported.precision} file to look at"
        )
