"""Every student that was trained to its end as a line through its parameters, costs and accuracy."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import plotly.graph_objects as go

from autokd.quantities import format_cost
from autokd.records import COSTS, TrialResult
from autokd.report.insight.words import LIMITS
from autokd.variation import varying_params

MOST_AXES = 6  # of parameters: the frame that MLflow shows the page in is narrow
WIDE = 20  # ratio of largest to smallest above which an axis is logarithmic
FEW = 8  # values of an axis that are all written at it
SHORT = 34  # letters of a value on an axis


def parallel_html(
    results: Sequence[TrialResult],
    front: Sequence[TrialResult],
    objectives: Sequence[str],
    *,
    title: str,
) -> str:
    """Costs are those among the objectives. Lines of dominated students are pale, those of the front coloured; an axis can be brushed to keep a range."""
    shown = [r for r in results if r.state == "complete" and r.cost is not None]
    if not shown:
        return f"<!doctype html><title>{html.escape(title)}</title><p>No student was trained to its end.</p>\n"
    on_front = {result.number for result in front}
    params = [result.candidate.to_params() for result in shown]
    axes = [
        _axis(_short(key), ["none" if each[key] == "null" else each[key] for each in params])
        for key in varying_params(shown, most=MOST_AXES)
    ]
    axes.append(_axis("stages", [result.candidate.describe_stages() for result in shown]))
    for cost in (name for name in objectives if name in COSTS):
        values = [result.objective(cost) for result in shown]
        axes.append(_log_axis(LIMITS[cost], values, write=partial(format_cost, cost)))
    accuracies = [result.val["accuracy"] for result in shown]
    marks = _ticks(accuracies, write=lambda value: f"{value:.1%}")
    axes.append({"label": "val accuracy", "values": accuracies} | marks)
    figure = go.Figure(
        go.Parcoords(
            dimensions=axes,
            line={
                "color": [float(result.number in on_front) for result in shown],
                "colorscale": [[0.0, "#c9c9c9"], [1.0, "#d62728"]],
            },
            labelangle=-20,
            labelfont={"size": 13},
        )
    )
    figure.update_layout(
        title={
            "text": f"{title}: {len(shown)} students, the {len(on_front)} of the front in red",
            "subtitle": {
                "text": "Drag along an axis to keep a range, drag an axis to move it; a click beside the range frees it."
            },
        },
        template="plotly_white",
        margin={"t": 170, "l": 110, "r": 90},
    )
    page: str = figure.to_html(include_plotlyjs=True, full_html=True, default_height="90vh")
    return page


def _axis(label: str, texts: Sequence[str]) -> Mapping[str, Any]:
    """Numbers as they are or as logarithms, words one below the other."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        words = sorted(set(texts))
        return {
            "label": label,
            "values": [words.index(text) for text in texts],
            "tickvals": [*range(len(words))],
            "ticktext": [_cut(word) for word in words],
        }
    if min(numbers) > 0 and max(numbers) / min(numbers) > WIDE:
        return _log_axis(label, numbers, write=lambda value: f"{value:.2g}")
    axis: dict[str, Any] = {"label": label, "values": numbers}
    few = sorted(set(numbers))
    if len(few) > FEW:
        return axis
    return axis | {"tickvals": few, "ticktext": [f"{value:.4g}" for value in few]}


def _log_axis(
    label: str, values: Sequence[float], *, write: Callable[[float], str]
) -> Mapping[str, Any]:
    logs = [math.log10(value) for value in values]
    return {"label": label, "values": logs} | _ticks(logs, write=lambda log: write(10**log))


def _ticks(values: Sequence[float], *, write: Callable[[float], str]) -> dict[str, Any]:
    """Six from end to end; written by us, since Plotly adds both ends once more, across the axis's name."""
    low, high = min(values), max(values)
    ticks = [low + (high - low) * i / 5 for i in range(6)] if high > low else [low]
    return {"tickvals": ticks, "ticktext": [write(tick) for tick in ticks]}


def _short(key: str) -> str:
    """``student.student.arguments.width`` -> ``width``; of assistants the stage stays."""
    words = [word for word in key.split(".") if word not in ("student", "training", "arguments")]
    return " ".join(words).replace("_", " ") or key


def _cut(text: str) -> str:
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"
