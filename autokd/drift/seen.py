"""What a student saw and said of some images, as far as it is compared later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from autokd.data import Split
from autokd.drift.looks import Floats, describe_looks

Ints = NDArray[np.int64]

CONFIDENCE = "confidence"
MOST_ANSWERS = (
    16  # numbers kept of an image's logits; of more classes than that, so many mixtures of them
)
_DIGITS = 6  # after the point: what two runs of one model on one image agree in
_ANSWER_DIGITS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Of N images, or of a sample of them; `chosen` is of all."""

    columns: Mapping[str, Floats]  # brightness … confidence -> (N,)
    answers: Floats  # (N, K): logits without their mean, or mixtures of them
    chosen: Ints  # (C,): how often each class was answered

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def images(self) -> int:
        """All of them, not those of the sample alone."""
        return int(self.chosen.sum())

    @property
    def features(self) -> Floats:
        """(N, F): everything known of each image."""
        return np.column_stack([*self.columns.values(), self.answers])

    def sample(self, most: int) -> Seen:
        """At most so many images, the same ones whatever order they come in."""
        if len(self) <= most:
            return self
        order = np.lexsort(self.features.T)
        rows = order[np.random.default_rng(0).permutation(len(order))[:most]]
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Seen(columns=columns, answers=self.answers[rows], chosen=self.chosen)

    def to_dict(self) -> dict[str, Any]:
        return {
            "chosen": self.chosen.tolist(),
            "columns": {name: values.tolist() for name, values in self.columns.items()},
            "answers": self.answers.tolist(),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Seen:
        return cls(
            columns={name: np.array(values, float) for name, values in record["columns"].items()},
            answers=np.array(record["answers"], float),
            chosen=np.array(record["chosen"], np.int64),
        )


def see(split: Split, logits: Tensor) -> Seen:
    """The split's looks, and what a student said of it: logits (N, C)."""
    said = logits.double()
    confidence = said.softmax(dim=-1).amax(dim=-1).numpy()
    columns = {**describe_looks(split), CONFIDENCE: confidence}
    return Seen(
        columns={name: np.round(values, _DIGITS) for name, values in columns.items()},
        answers=_few((said - said.mean(dim=-1, keepdim=True)).numpy()),
        chosen=np.bincount(said.argmax(dim=-1).numpy(), minlength=said.shape[1]),
    )


def _few(logits: Floats) -> Floats:
    """(N, C) to (N, at most MOST_ANSWERS) by a random projection, the same one for ever (Johnson & Lindenstrauss 1984)."""
    classes = logits.shape[1]
    if classes > MOST_ANSWERS:
        mix = np.random.default_rng(0).standard_normal((classes, MOST_ANSWERS))
        logits = logits @ mix / np.sqrt(MOST_ANSWERS)
    return np.round(logits, _ANSWER_DIGITS)
