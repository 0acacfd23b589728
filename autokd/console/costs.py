"""Ranges of costs, as tables of sampled students have them."""

from __future__ import annotations

from collections.abc import Sequence

from autokd.quantities import format_cost
from autokd.records import Cost

COST_COLUMNS = {"MACs": "macs", "params": "params", "size": "size_bytes"}
LEAVING = ("size", "params", "sampled")  # in a narrow terminal, in this order


def cost_ranges(costs: Sequence[Cost]) -> list[str]:
    """``54.9k – 870k`` for each of COST_COLUMNS; one value where both ends look alike."""
    return [_range(name, [getattr(cost, name) for cost in costs]) for name in COST_COLUMNS.values()]


def _range(name: str, values: Sequence[float]) -> str:
    low, high = format_cost(name, min(values)), format_cost(name, max(values))
    return low if low == high else f"{low} – {high}"
