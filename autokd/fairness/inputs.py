"""What goes into an audit, checked once: labels, predictions, names. Everything behind it trusts these records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autokd.errors import DataError
from autokd.fairness.groups import Attribute, one_a_row

Ints = NDArray[np.int64]

SUM_TOLERANCE = 1e-3  # of a row of probabilities to one: files round


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a model says of every row."""

    predicted: Ints  # (N,)
    probabilities: NDArray[np.float64] | None  # (N, C); None: it came as labels alone
    classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that an audit is about, in one order of rows."""

    labels: Ints  # (N,)
    models: Mapping[str, Model]  # "teacher", "student" or both
    assistants: Mapping[str, Model]
    attributes: tuple[Attribute, ...]
    clusters: Ints | None  # (N,) of 0..K-1; None: every row stands for itself
    class_names: tuple[str, ...]
    ids: Sequence[Any]

    @property
    def is_comparison(self) -> bool:
        return len(self.models) == 2


def _array(values: Any, where: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:
        raise DataError(f"{where}: rows differ in length") from None


def read_labels(values: Any, where: str) -> Ints:
    """(N,) whole numbers from 0 up."""
    array = _array(values, where)
    if array.ndim != 1:
        raise DataError(f"{where}: expected one label a row, got an array of shape {array.shape}")
    if not len(array):
        raise DataError(f"{where}: there are no rows; an audit needs images")
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"{where}: labels must be whole numbers from 0, a class's place each, got '{array[0]}'"
        ) from None
    unknown = ~np.isfinite(numbers)
    if unknown.any():
        row = int(unknown.argmax())
        raise DataError(f"{where}: row {row} has no label ({numbers[row]})")
    broken = numbers != np.floor(numbers)
    if broken.any():
        row = int(broken.argmax())
        raise DataError(f"{where}: labels must be whole numbers, row {row} has {numbers[row]:g}")
    if numbers.min() < 0:
        row = int(numbers.argmin())
        raise DataError(f"{where}: labels count from 0, row {row} has {numbers[row]:g}")
    return array.astype(np.int64)


def read_model(values: Any, where: str, *, rows: int) -> tuple[Any, int]:
    """The checked array of a model and how many classes it knows; labels know those up to their largest."""
    array = _array(values, where)
    if array.ndim not in (1, 2):
        raise DataError(
            f"{where}: expected (rows, classes) probabilities or one label a row, got {array.shape}"
        )
    if len(array) != rows:
        raise DataError(f"{where}: {len(array)} rows of predictions for {rows} labels")
    if array.ndim == 1:
        labels = read_labels(array, where)
        return labels, int(labels.max()) + 1
    return read_probabilities(array, where), array.shape[1]


def build_model(array: NDArray[Any], *, classes: int) -> Model:
    """Of equal probabilities the first class counts as chosen."""
    if array.ndim == 1:
        return Model(predicted=array, probabilities=None, classes=classes)
    return Model(predicted=array.argmax(axis=1), probabilities=array, classes=classes)


def read_class_names(
    names: Sequence[str] | None,
    labels: Ints,
    widths: Mapping[str, int],
    *,
    exact: Mapping[str, int],
) -> tuple[str, ...]:
    """The classes' names, "0" and up without any; refuses models that disagree on how many there are."""
    sizes = set(exact.values()) | ({len(names)} if names is not None else set())
    if len(sizes) > 1:
        told = ", ".join(f"{name} {size}" for name, size in exact.items())
        given = "" if names is None else f"; class_names has {len(names)}"
        raise DataError(f"models and names disagree on the number of classes: {told}{given}")
    classes = sizes.pop() if sizes else max(int(labels.max()) + 1, *widths.values())
    for where, width in {"labels": int(labels.max()) + 1, **widths}.items():
        if width > classes:
            raise DataError(f"{where}: label {width - 1} is out of range for {classes} classes")
    if classes < 2:
        raise DataError("labels: there is one class alone, so nothing can be got wrong or audited")
    shown = tuple(str(c) for c in range(classes)) if names is None else tuple(map(str, names))
    if len(set(shown)) < classes:
        raise DataError("class_names: two classes have the same name")
    return shown


def read_ids(ids: Any, rows: int) -> list[Any]:
    """One id a row; without any, the rows' positions."""
    if ids is None:
        return list(range(rows))
    listed: list[Any] = one_a_row(ids, "ids").tolist()
    if len(listed) != rows:
        raise DataError(f"ids: {len(listed)} ids for {rows} rows")
    seen: set[Any] = set()
    for each in listed:
        if each in seen:
            raise DataError(f"ids: '{each}' stands for more than one row")
        seen.add(each)
    return listed


def read_seeds(inputs: Inputs, teacher: Any, student: Any) -> tuple[Ints, Ints] | None:
    """Teacher's and student's (K, N) predicted labels of K trainings; None where there are none.

    Of a model that was trained once (most teachers are), its one training is the audited one.
    """
    given = {"teacher": teacher, "student": student}
    if teacher is None and student is None:
        return None
    if not inputs.is_comparison:
        raise DataError(
            "seeds: they compare student and teacher; give both models, or leave the seeds out (teacher_seeds, student_seeds; columns prediction_0, …)"
        )
    of_teacher, of_student = (
        inputs.models[name].predicted[None]
        if seeds is None
        else _seeds(inputs, seeds, f"{name}_seeds")
        for name, seeds in given.items()
    )
    return of_teacher, of_student


def _seeds(inputs: Inputs, values: Any, where: str) -> Ints:
    array = _array(values, where)
    if array.ndim != 2 or array.shape[1] != len(inputs.labels):
        raise DataError(
            f"{where}: expected (trainings, {len(inputs.labels)}) predicted labels, got {array.shape}"
        )
    read = np.stack([read_labels(seed, f"{where}, training {i}") for i, seed in enumerate(array)])
    if read.max() >= len(inputs.class_names):
        raise DataError(
            f"{where}: label {read.max()} is out of range for {len(inputs.class_names)} classes"
        )
    return read


def read_probabilities(
    array: NDArray[Any], where: str, *, ids: Sequence[Any] | None = None
) -> NDArray[np.float64]:
    """(N, C) shares that sum to one in each row. Rows are called by their ids, or by their number without any."""

    def first(bad: NDArray[Any]) -> str:
        row = int(bad.argmax())
        return f"row {row}" if ids is None else f"'{ids[row]}'"

    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where}: probabilities must be numbers") from None
    bad: Any = ~np.isfinite(numbers).all(axis=1)
    if bad.any():
        raise DataError(f"{where}: {first(bad)} has a probability that is not finite")
    bad = (numbers < 0).any(axis=1)
    if bad.any():
        raise DataError(
            f"{where}: {first(bad)} has the negative probability {numbers[bad][0].min():g}; "
            "give probabilities, not logits"
        )
    bad = np.abs(numbers.sum(axis=1) - 1) > SUM_TOLERANCE
    if bad.any():
        raise DataError(
            f"{where}: the probabilities of {first(bad)} sum to {numbers[bad][0].sum():.6g}, not to 1"
        )
    return numbers
