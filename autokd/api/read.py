"""What searches have left: fronts, trials, audits, insight. As tables, and without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.engine.database import ledger_url
from autokd.engine.insight import load_insight as read_insight
from autokd.engine.place import CACHE
from autokd.fairness.audit import Audit
from autokd.report.frame import stored_front
from autokd.tracking.find import find_audit
from autokd.tracking.read import read_study
from autokd.tracking.store import open_store, open_to_read

if TYPE_CHECKING:
    import pandas as pd

    from autokd.insight import Insight


def front(
    study: str | None = None, *, tracking_uri: str | None = None, directory: str | Path = "."
) -> pd.DataFrame:
    """The front of a study (None: the latest), read from the store: one row a student, most accurate first."""
    store = open_to_read(tracking_uri, Path(directory).resolve())
    stored = read_study(store, study, front_only=True)
    return stored_front(stored.trials, stored.objectives, stored.teacher)


def trials(
    study: str | None = None, *, tracking_uri: str | None = None, directory: str | Path = "."
) -> pd.DataFrame:
    """All trials of a study (None: the latest), read from the store: one row a trial, in the order they were proposed.

    `state` says what became of it: complete, stopped, rejected or failed; `control` why it was put in by hand. Columns:
    autokd.tracking.read.COLUMNS.
    """
    store = open_to_read(tracking_uri, Path(directory).resolve())
    return read_study(store, study).trials


def load_insight(
    study: str | None = None, *, ledger: str | None = None, directory: str | Path = "."
) -> Insight:
    """What a search tells beside its front: which parameters matter, how the front grew, what was rejected and why.

    Read from the search's own records, a file in `directory` or the database at the URL `ledger`; it may still run.
    """
    return read_insight(ledger_url(ledger, Path(directory).resolve() / CACHE), study)


def load_audit(
    candidate: str | int,
    *,
    split: str = "val",
    tracking_uri: str | None = None,
    directory: str | Path = ".",
) -> Audit:
    """The fairness audit of a student that was trained to its end, read from the store.

    Args:
        candidate: a trial's number in the latest study, STUDY/NUMBER, an MLflow run id or a candidate's hash.
        split: val; for members of a finished search's front also test, or the name of a set of data.also_test.
    """
    store = open_store(tracking_uri, Path(directory).resolve(), create=False)
    return Audit(json.loads(find_audit(store, str(candidate), split)))
