"""Runs of an SQLite store, read from its tables: `import mlflow` alone takes longer than all of it.

Only of the schemas below, which are tested against MLflow; MLflow itself reads any other one.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autokd.errors import TrackingError
from autokd.tracking.database import connect, read_schema

# Of MLflow 3.11 and 3.17: what is read has not changed between them.
SCHEMAS = ("c3d6457b6d8a", "dc11669786a5")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowInfo:
    """As much of MLflow's RunInfo as is asked for."""

    run_id: str
    experiment_id: str
    status: str
    start_time: int  # ms


@dataclass(frozen=True, slots=True, kw_only=True)
class RowData:
    """MLflow's RunData; of a metric the latest value."""

    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A run, with MLflow's names."""

    info: RowInfo
    data: RowData


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A store's runs, and nothing that writes."""

    path: Path

    @property
    def address(self) -> str:
        return f"sqlite:///{self.path}"

    def experiments(self) -> dict[str, str]:
        """Names by id, of every experiment that autokd made and nobody deleted."""
        with self._open() as database:
            rows = database.execute(
                "SELECT experiment_id, name FROM experiments"
                " WHERE name GLOB 'autokd/*' AND lifecycle_stage = 'active' ORDER BY 1"
            )
            return {str(number): name for number, name in rows}

    def tagged(
        self, experiments: Sequence[str], tags: Mapping[str, str | None], *, status: str = ""
    ) -> Iterator[Row]:
        """Every active run with these tags (None: with any value), in MLflow's order: the latest first."""
        has = "EXISTS (SELECT 1 FROM tags WHERE run_uuid = id AND key = ? AND coalesce(?, value) = value)"
        conditions = ["lifecycle_stage = 'active'", *(has for _ in tags)]
        values: list[str | None] = [part for pair in tags.items() for part in pair]
        if status:
            conditions.append("status = ?")
            values.append(status)
        conditions.append("experiment_id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([int(number) for number in experiments]))
        with self._open() as database:
            database.execute(
                "CREATE TEMP TABLE found AS SELECT run_uuid AS id, experiment_id, status, start_time"
                f" FROM runs WHERE {' AND '.join(conditions)}",
                values,
            )
            tags_of, params_of, metrics_of = (
                _by_run(database, table) for table in ("tags", "params", "latest_metrics")
            )
            found = database.execute("SELECT * FROM found ORDER BY start_time DESC, id").fetchall()
        for run_id, experiment_id, state, start in found:
            yield Row(
                info=RowInfo(
                    run_id=run_id,
                    experiment_id=str(experiment_id),
                    status=state,
                    start_time=start,
                ),
                data=RowData(
                    tags=tags_of[run_id], params=params_of[run_id], metrics=metrics_of[run_id]
                ),
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with connect(self.path) as database:
                database.execute("BEGIN")  # all that follows is of one moment
                yield database
        except sqlite3.Error as error:
            raise TrackingError(f"{self.path}: the MLflow store can't be read: {error}") from None


def _by_run(database: sqlite3.Connection, table: str) -> dict[str, dict[str, Any]]:
    """Of the runs in `found`."""
    value = "iif(is_nan, NULL, value)" if table == "latest_metrics" else "value"
    rows = database.execute(f"SELECT id, key, {value} FROM found JOIN {table} ON run_uuid = id")
    by_run: dict[str, dict[str, Any]] = defaultdict(dict)
    for run_id, key, found in rows:
        by_run[run_id][key] = math.nan if found is None else found
    return by_run


def open_rows(path: Path) -> Rows | None:
    """None where MLflow has to say what is wrong, or may know better: no such file, another schema."""
    return Rows(path=path) if read_schema(path)[1] in SCHEMAS else None
