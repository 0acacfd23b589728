"""The order of classes: as a set has them, as the user names them, as a teacher's logits stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from autokd.errors import ConfigError

_SHOWN = 5  # names in a message about a difference
_LISTED = 50  # names in a list that is to be copied
_MOST = 4000  # classes: their table of confusions takes 128 MB
_CLEARER = 3  # times as many images right, before another order is named
_DOUBT = 0.05  # chance that some order of so many classes fits answers that say nothing


def places_in(names: Sequence[str], wanted: Sequence[str], key: str) -> NDArray[np.int64]:
    """The place in `wanted` of each of `names`. Raises ConfigError with the difference when they are not the same names."""
    number = {name: place for place, name in enumerate(wanted)}
    known = {*names}
    missing = [name for name in names if name not in number]
    unknown = [name for name in wanted if name not in known]
    if missing or unknown:
        parts = [
            f"{said} {_some(those)}"
            for said, those in (("it lacks", missing), ("the data does not have", unknown))
            if those
        ]
        raise ConfigError(
            f"{key}: must name the data's {len(names)} classes, each once; {', and '.join(parts)}. "
            f"They are {_some(names)}"
        )
    return np.array([number[name] for name in names], dtype=np.int64)


class Reordered(nn.Module):
    """A model whose logits stand in another order; all else is the model's own."""

    order: Tensor  # (C,): the place in the model's logits of each logit

    def __init__(self, model: nn.Module, order: NDArray[np.int64]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("order", torch.from_numpy(order), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(pixels)
        return logits[:, self.order]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        found: Tensor = self.model.forward_head(features, pre_logits=pre_logits)  # type: ignore[operator]
        return found if pre_logits else found[:, self.order]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherOrder:
    """An order of classes under which answers are right that look wrong."""

    classes: tuple[str, ...]  # of each logit
    accuracy: float  # 0..1, that it would have

    def advice(self) -> str:
        """``98.0% if its classes stood in another order: give teacher.classes: [b, a]``."""
        if len(self.classes) > _LISTED:
            return (
                f"{self.accuracy:.1%} if its classes stood in another order, that begins with "
                f"{', '.join(self.classes[:_SHOWN])}: give teacher.classes, all {len(self.classes)} "
                "in the order of its training (torchvision: dataset.classes)"
            )
        listed = yaml.safe_dump(
            list(self.classes), default_flow_style=True, width=float("inf"), allow_unicode=True
        )
        return (
            f"{self.accuracy:.1%} if its classes stood in another order: "
            f"give teacher.classes: {listed.strip()}"
        )


def find_other_order(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], class_names: Sequence[str]
) -> OtherOrder | None:
    """The order of classes that fits a model's predictions (N,) best, where it fits far better than theirs.

    The best assignment in the table of confusions (Hungarian method). An order is always found, so
    that it must not be one that noise would give: of the images whose class it moves, it has three
    times as many right, and so many that guesses would have them under any of the orders that move
    as many classes with a probability below 5 %.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.special import rel_entr

    count = len(class_names)
    if count > _MOST:
        return None
    confusions = np.zeros((count, count))
    np.add.at(confusions, (labels, predicted), 1)
    stay = np.eye(count) / (count + 1)  # where nothing is gained, a class keeps its place
    rows, columns = linear_sum_assignment(confusions + stay, maximize=True)
    moved = rows != columns
    of_moved = confusions[rows[moved]].sum(1)  # images of each class that would move
    right = int(confusions[rows[moved], columns[moved]].sum())
    before = int(confusions[rows[moved], rows[moved]].sum())
    if not right or right < _CLEARER * before:
        return None
    share, guessed = right / of_moved.sum(), of_moved.max() / of_moved.sum()
    distance = float(rel_entr(share, guessed) + rel_entr(1 - share, 1 - guessed))
    # Chernoff's bound: guesses are right so often with a probability of exp(-images * distance) or less
    orders = lgamma(count + 1) - lgamma(count + 1 - int(moved.sum()))  # log of how many there are
    if share <= guessed or orders - of_moved.sum() * distance > np.log(_DOUBT):
        return None
    order = np.empty(count, dtype=np.int64)
    order[columns] = rows
    return OtherOrder(
        classes=tuple(class_names[place] for place in order.tolist()),
        accuracy=float(confusions[rows, columns].sum() / len(labels)),
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} … ({len(names)})"
