"""What models made elsewhere predicted, and who is on the images: read from files and joined by a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autokd.errors import DataError
from autokd.fairness.group_columns import take_groups
from autokd.fairness.model_file import (
    LABEL,
    ModelFile,
    find_classes,
    match,
    numbered,
    outcome,
    read_ids,
    read_model,
    seeds_of,
)
from autokd.fairness.table_file import Table, Texts, read_tables, taken

Paths = Path | Sequence[Path]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """What `audit` takes, in the row order of the prediction file."""

    ids: tuple[str, ...]  # N
    class_names: tuple[str, ...]  # C, in natural order: 2 before 10
    labels: NDArray[np.int64]  # (N,), indices into class_names
    student: NDArray[np.generic]  # float64 (N, C) probabilities, or int64 (N,) predicted labels
    teacher: NDArray[np.generic] | None
    student_seeds: NDArray[np.int64] | None  # (K, N)
    teacher_seeds: NDArray[np.int64] | None
    groups: dict[str, Texts] | None  # column -> (N,); None: no metadata
    cluster: Texts | None  # (N,), nowhere None
    join: dict[str, int]  # rows of each file, and how many found each other
    hashes: dict[str, str]  # SHA-256 of each file by its part in the audit


def read_predictions(
    predictions: Paths,
    *,
    teacher: Paths | None = None,
    metadata: Path | None = None,
    key: str = "id",
    groups: Sequence[str] | None = None,
    cluster: str | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
) -> Predictions:
    """Read, check and join. Several `predictions` are parts of one file.

    A model's file has the key, one column p_<class> or prob_<class> for each class and/or `prediction`,
    further seeds as `prediction_0`, `prediction_1`…; `label` stands in any of the files. Without a
    metadata file, groups and cluster are columns of the predictions. Raises DataError.
    """
    student = read_model(_as_paths(predictions), key)
    other = None if teacher is None else match(read_model(_as_paths(teacher), key), student)
    own_rows = np.arange(len(student.ids))
    people, rows, chosen = student.table, own_rows, groups is not None
    tables = [(model.table, own_rows) for model in (student, other) if model]
    if metadata is not None:
        people = read_tables([metadata])
        rows = _find_rows(people, key, student)
        tables.append((people, rows))
        if groups is None:
            groups = [name for name in people.columns if name not in (key, cluster, LABEL)]
    labels = _join_labels(tables, student.ids)
    classes = find_classes([model for model in (student, other) if model], labels)
    number = {name: index for index, name in enumerate(classes)}
    bands = bands or {}
    if cluster:
        people.require(cluster, "the cluster")
    return Predictions(
        ids=tuple(student.ids),
        class_names=classes,
        labels=numbered(labels, number, f"{student.table.name}: {LABEL}", student.ids),
        student=outcome(student, number),
        teacher=outcome(other, number) if other else None,
        student_seeds=seeds_of(student, number),
        teacher_seeds=seeds_of(other, number) if other else None,
        groups=take_groups(people, rows, [*(groups or ()), *bands], bands, is_chosen=chosen)
        or None,
        cluster=_clusters(taken(people.text(cluster), rows), student.ids) if cluster else None,
        join=_count(student, other, people if metadata is not None else None, rows),
        hashes=_hashes(student.table, other.table if other else None, people),
    )


def _as_paths(paths: Paths) -> Sequence[Path]:
    return [paths] if isinstance(paths, Path) else paths


def _find_rows(people: Table, key: str, student: ModelFile) -> NDArray[np.int64]:
    """The metadata's row of each prediction, -1 where there is none."""
    ids = read_ids(people, key)
    rows = pd.Index(ids).get_indexer(pd.Index(student.ids)).astype(np.int64)
    if (rows < 0).all():
        raise DataError(
            f"{people.name}: no row's '{key}' is in {student.table.name}; "
            f"it has '{ids[0]}' where '{student.ids[0]}' is due"
        )
    return rows


def _join_labels(tables: Sequence[tuple[Table, NDArray[np.int64]]], ids: Texts) -> Texts:
    """The true label of each row, from whichever files have it; they must agree."""
    labels: Texts = np.full(len(ids), None, dtype=object)
    first = None
    for table, rows in tables:
        if LABEL not in table.columns:
            continue
        given = taken(table.text(LABEL), rows)
        both = [i for i, (a, b) in enumerate(zip(labels, given, strict=True)) if a and b and a != b]
        if both:
            raise DataError(
                f"{table.name}: '{LABEL}' differs from that in {first} in {len(both)} rows, such as "
                f"'{ids[both[0]]}' ({given[both[0]]}, there {labels[both[0]]})"
            )
        labels = np.where(labels == None, given, labels)  # noqa: E711 - of an array
        first = first or table.name
    if first is None:
        names = ", ".join(table.name for table, _ in tables)
        raise DataError(f"no column '{LABEL}' with the true class in {names}; add it to one")
    if (empty := labels == None).any():  # noqa: E711 - of an array
        raise DataError(
            f"{first}: '{LABEL}' is missing for {int(empty.sum())} rows, such as '{ids[empty][0]}'"
        )
    return labels


def _clusters(texts: Texts, ids: Texts) -> Texts:
    """A row of which nothing is known is a cluster of its own, as in data sets that are trained on."""
    pairs = zip(texts, ids, strict=True)
    return np.array([f"(row {key})" if text is None else text for text, key in pairs], dtype=object)


def _count(
    student: ModelFile, teacher: ModelFile | None, people: Table | None, rows: NDArray[np.int64]
) -> dict[str, int]:
    """Rows of each file; how many predictions have metadata, and how much of it is of no use."""
    counts = {"predictions": len(student.ids)}
    if teacher is not None:
        counts["teacher"] = len(teacher.ids)
    if people is not None:
        found = int((rows >= 0).sum())
        counts |= {"metadata": len(people), "matched": found}
        counts |= {"without_metadata": len(rows) - found, "metadata_unused": len(people) - found}
    return counts


def _hashes(student: Table, teacher: Table | None, people: Table) -> dict[str, str]:
    tables = {"predictions": student, "teacher": teacher}
    if people is not student:
        tables["metadata"] = people
    named = [(part, table.hashes) for part, table in tables.items() if table is not None]
    return {
        part if number == 1 else f"{part} {number}": value
        for part, values in named
        for number, value in enumerate(values, 1)
    }
