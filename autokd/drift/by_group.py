"""How often a student was right in each group at export, and in which groups it is right less often now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from autokd.data import ImageData
from autokd.drift.accuracy import Accuracy, AccuracyChange, compare_accuracy
from autokd.fairness.groups import class_attribute, read_attributes
from autokd.fairness.paired import holm

Counts = Mapping[str, Mapping[str, tuple[int, int]]]  # attribute -> group -> right, images

ALPHA = 0.05


def count_groups(data: ImageData, logits: Tensor) -> Counts:
    """On val, of the classes and of the search's groups and their crossings."""
    val, labels = data.val, data.val.labels.numpy()
    attributes = [class_attribute(labels, data.info.class_names)]
    if data.groups and val.metadata is not None:
        columns = {name: val.metadata[name] for name in data.groups}
        attributes += read_attributes(columns, len(val), intersections=3)
    right = (logits.argmax(dim=-1) == val.labels).numpy()
    return {
        each.name: {
            group: (int(right[each.codes == g].sum()), int((each.codes == g).sum()))
            for g, group in enumerate(each.groups)
        }
        for each in attributes
    }


def find_fallen(
    then: Counts, by: Mapping[str, Any], attributes: Iterable[str], *, margin: float
) -> dict[str, AccuracyChange]:
    """Groups (``site=C``) that lost the margin or more, beyond chance; `by` is that of the new images' audit."""
    changes = {
        f"{name}={group}": compare_accuracy(
            Accuracy(split="val", correct=then[name][group][0], images=then[name][group][1]),
            Accuracy(split="new", correct=round(now["accuracy"] * now["n"]), images=now["n"]),
            margin=margin,
        )
        for name in attributes
        for group, now in by[name]["student"]["groups"].items()
        if group in then[name] and now["judged"]
    }
    p = holm(np.array([change.p for change in changes.values()]))
    return {
        name: change
        for (name, change), corrected in zip(changes.items(), p, strict=True)
        if corrected < ALPHA and change.loss >= margin
    }
