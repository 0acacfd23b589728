"""The images that a person should look at: those that the student lost, or those that its teacher is least sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autokd.fairness.groups import group_names
from autokd.fairness.inputs import Inputs
from autokd.fairness.rates import Floats, Ints, margins
from autokd.fairness.seeds import id_key

MOST = 24


def contested(inputs: Inputs, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The regressed rows whose label lost most probability.

    ``about["thumbnails"]`` may map a row's id, or its position where there are no ids, to a PNG in base64.
    """
    if not inputs.is_comparison:
        return []
    teacher, student = inputs.models["teacher"], inputs.models["student"]
    labels = inputs.labels
    rows = np.flatnonzero((teacher.predicted == labels) & (student.predicted != labels))
    own = [
        None if model.probabilities is None else model.probabilities[rows, labels[rows]]
        for model in (teacher, student)
    ]
    lost = np.zeros(len(rows)) if own[0] is None or own[1] is None else own[0] - own[1]
    return [
        _image(inputs, about, int(rows[i]))
        | {
            "student": inputs.class_names[student.predicted[rows[i]]],
            "p_teacher": None if own[0] is None else own[0][i],
            "p_student": None if own[1] is None else own[1][i],
        }
        for i in _first(inputs, rows, -lost)
    ]


def uncertain(inputs: Inputs, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a teacher alone, the rows of least margin: what it is unsure of is what a student tends to lose.

    Iofinova, Peste & Alistarh (2023), arXiv 2304.12622, found that of pruning. Empty where it came as labels.
    """
    teacher = inputs.models.get("teacher")
    if inputs.is_comparison or teacher is None or teacher.probabilities is None:
        return []
    margin = margins(teacher.probabilities, inputs.labels)
    own = teacher.probabilities[np.arange(len(margin)), inputs.labels]
    return [
        _image(inputs, about, row) | {"p_teacher": own[row], "margin": margin[row]}
        for row in _first(inputs, np.arange(len(margin)), margin)
    ]


def _first(inputs: Inputs, rows: Ints, badness: Floats) -> Sequence[int]:
    """Places in `rows` of the least values; of equals, the order of ids."""
    ids = [inputs.ids[row] for row in rows.tolist()]
    return sorted(range(len(ids)), key=lambda i: (badness[i], id_key(ids[i])))[:MOST]


def _image(inputs: Inputs, about: Mapping[str, Any], row: int) -> dict[str, Any]:
    singles = {each.name: each for each in inputs.attributes if len(each.parts) == 1}
    return {
        "id": inputs.ids[row],
        "row": row,
        "label": inputs.class_names[inputs.labels[row]],
        "teacher": inputs.class_names[inputs.models["teacher"].predicted[row]],
        "groups": group_names(singles, row),
        "png": (about.get("thumbnails") or {}).get(inputs.ids[row]),
    }
