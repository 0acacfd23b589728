"""One model's predictions in a file: probabilities, predicted classes, further seeds; its rows by key."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autokd.errors import DataError
from autokd.fairness.inputs import read_probabilities
from autokd.fairness.table_file import Table, Texts, read_tables

LABEL = "label"
PREDICTION = "prediction"
PREFIXES = ("p_", "prob_")  # of a column that holds a class's probability
SHOWN = 5  # classes in messages
_SEED = re.compile(rf"{PREDICTION}_(\d+)")


@dataclass(frozen=True, eq=False)
class ModelFile:
    """Checked as far as one file goes; which classes there are is for all files together."""

    table: Table
    ids: Texts
    probabilities: dict[str, str]  # class -> column
    predicted: Texts | None
    seeds: tuple[Texts, ...]


def read_model(paths: Sequence[Path], key: str) -> ModelFile:
    table = read_tables(paths)
    ids = read_ids(table, key)
    columns: dict[str, str] = {}
    used = [prefix for prefix in PREFIXES if any(c.startswith(prefix) for c in table.columns)]
    if len(used) > 1:
        raise DataError(
            f"{table.name}: has columns {used[0]}… and {used[1]}…; keep one kind for probabilities"
        )
    for prefix in used:
        names = [c for c in table.columns if c.startswith(prefix)]
        columns = {c.removeprefix(prefix): c for c in names}
    if not columns and PREDICTION not in table.columns:
        raise DataError(
            f"{table.name}: has neither a column p_<class> for each class nor '{PREDICTION}'; "
            f"it has {', '.join(table.columns)}"
        )
    if len(columns) == 1:
        only = next(iter(columns.values()))
        raise DataError(f"{table.name}: has '{only}' alone; give one such column for each class")
    predicted = _filled(table, PREDICTION, ids) if PREDICTION in table.columns else None
    seeds = {int(m[1]): c for c in table.columns if (m := _SEED.fullmatch(c))}
    in_order = tuple(_filled(table, seeds[number], ids) for number in sorted(seeds))
    return ModelFile(table, ids, columns, predicted, in_order)


def read_ids(table: Table, key: str) -> Texts:
    table.require(key, "the key that joins the files; another one is named with --key")
    ids = table.text(key)
    if empty := int((ids == None).sum()):  # noqa: E711 - of an array
        raise DataError(f"{table.name}: column '{key}' is empty in {empty} rows")
    if (double := pd.Series(ids).duplicated()).any():
        raise DataError(
            f"{table.name}: column '{key}' must name a row once; {int(double.sum())} rows repeat one, "
            f"such as '{ids[double][0]}'"
        )
    return ids


def _filled(table: Table, column: str, ids: Texts) -> Texts:
    texts = table.text(column)
    if (empty := texts == None).any():  # noqa: E711 - of an array
        raise DataError(
            f"{table.name}: column '{column}' is empty in {int(empty.sum())} rows, "
            f"such as '{ids[empty][0]}'"
        )
    return texts


def match(teacher: ModelFile, student: ModelFile) -> ModelFile:
    """The teacher's rows in the student's order. Both must be about the same ones."""
    place = {name: row for row, name in enumerate(teacher.ids)}
    known = set(student.ids)
    only = {
        student.table.name: [name for name in student.ids if name not in place],
        teacher.table.name: [name for name in teacher.ids if name not in known],
    }
    if any(only.values()):
        told = [
            f"{len(names)} rows are in {name} alone ({', '.join(names[:3])}{', …' * (len(names) > 3)})"
            for name, names in only.items()
            if names
        ]
        raise DataError(f"teacher and predictions must cover the same rows: {'; '.join(told)}")
    order = np.array([place[name] for name in student.ids])
    frame = teacher.table.frame.iloc[order].reset_index(drop=True)
    return ModelFile(
        Table(teacher.table.name, frame, teacher.table.hashes),
        teacher.ids[order],
        teacher.probabilities,
        None if teacher.predicted is None else teacher.predicted[order],
        tuple(seed[order] for seed in teacher.seeds),
    )


def find_classes(models: Sequence[ModelFile], labels: Texts) -> tuple[str, ...]:
    """Those that have a probability; else all that are seen as a label or a prediction, in one vocabulary."""
    named = [model for model in models if model.probabilities]
    if not named:
        return natural_order(_seen_classes(models, set(labels)))
    classes = set(named[0].probabilities)
    if other := classes ^ set(named[-1].probabilities):
        raise DataError(
            f"{named[-1].table.name}: must have probabilities of the same classes as "
            f"{named[0].table.name}; '{min(other)}' is in one of them alone"
        )
    return natural_order(classes)


def _seen_classes(models: Sequence[ModelFile], labels: set[str]) -> set[str]:
    """Raises DataError for predictions that share no class with the labels, or spell one otherwise."""
    classes = set(labels)
    for model in models:
        predicted = {name for t in (model.predicted, *model.seeds) if t is not None for name in t}
        where = f"{model.table.name}: {PREDICTION}"
        if not predicted & labels:
            raise DataError(
                f"{where} is never one of the classes in '{LABEL}': predictions are {_some(predicted)}, labels "
                f"{_some(labels)}; write both in the same words"
            )
        spelt = {_folded(name): name for name in labels - predicted}
        for name in natural_order(predicted - labels):
            if other := spelt.get(_folded(name)):
                raise DataError(
                    f"{where} says '{name}' where '{LABEL}' says '{other}'; write the class in one way"
                )
        classes |= predicted
    return classes


def _folded(name: str) -> str:
    """What spellings of one name have in common: case, blanks and hyphens inside, leading zeros aside."""
    text = unicodedata.normalize("NFKC", name).casefold()
    letters = re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", text)
    return letters.lstrip("0") or "0" if letters.isdecimal() else letters


def _some(names: set[str]) -> str:
    shown = natural_order(names)
    return ", ".join(shown[:SHOWN]) + (f" … ({len(shown)})" if len(shown) > SHOWN else "")


def numbered(texts: Texts, number: Mapping[str, int], where: str, ids: Texts) -> NDArray[np.int64]:
    codes = np.array([number.get(text, -1) for text in texts], dtype=np.int64)
    if (bad := codes < 0).any():
        raise DataError(
            f"{where} '{texts[bad][0]}' of '{ids[bad][0]}' is none of the classes that have a "
            f"probability: {', '.join(number)} ({int(bad.sum())} such rows)"
        )
    return codes


def outcome(model: ModelFile, number: Mapping[str, int]) -> NDArray[np.generic]:
    """(N, C) probabilities, or (N,) predicted classes where there are none."""
    where = f"{model.table.name}: {PREDICTION}"
    predicted = None
    if model.predicted is not None:
        predicted = numbered(model.predicted, number, where, model.ids)
    if not model.probabilities:
        assert predicted is not None  # for mypy: a file without both was refused
        return predicted
    columns = [model.table.numbers(model.probabilities[name], model.ids) for name in number]
    values = read_probabilities(np.stack(columns, axis=1), model.table.name, ids=model.ids.tolist())
    if predicted is not None:
        # a tie of rounded probabilities is no contradiction
        taken = values[np.arange(len(values)), predicted]
        if (bad := taken < values.max(axis=1)).any():
            raise DataError(
                f"{where} is not the most probable class in {int(bad.sum())} rows, such as "
                f"'{model.ids[bad][0]}'; keep either '{PREDICTION}' or the probabilities"
            )
    return values


def seeds_of(model: ModelFile, number: Mapping[str, int]) -> NDArray[np.int64] | None:
    where = f"{model.table.name}: {PREDICTION}_…"
    seeds = [numbered(texts, number, where, model.ids) for texts in model.seeds]
    return np.stack(seeds) if seeds else None


def natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Numbers as numbers, also inside of names: 2 before 10, site2 before site10."""

    def parts(name: str) -> list[tuple[int, float, str]]:
        pieces = re.split(r"(\d+)", name)
        return [(0, float(p), "") if p.isdecimal() else (1, 0.0, p) for p in pieces if p]

    def value(name: str) -> float:
        number = float(name)
        if math.isnan(number):  # neither before nor after any other: the set's own order would stay
            raise ValueError(name)
        return number

    try:
        return tuple(sorted(names, key=lambda name: (value(name), name)))
    except ValueError:
        return tuple(sorted(names, key=lambda name: (parts(name), name)))
