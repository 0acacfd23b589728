"""All trials of a search as an interactive picture in one HTML file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from autokd.quantities import format_cost
from autokd.records import COSTS, Budget, Cost, TeacherInfo, TrialResult
from autokd.report.card import CARD, assistant_card, card, costs_in_words, teacher_card

AXIS_TITLES = {
    "macs": "MACs of one image",
    "params": "parameters",
    "latency_ms": "latency at batch 1, ms",
    "size_bytes": "file size, bytes",
    "activation_bytes": "activations in memory, bytes",
}
# Later ones are drawn over earlier ones.
STYLES: Mapping[str, dict[str, Any]] = {
    "rejected": {"color": "#e8973a", "size": 9, "symbol": "line-ns-open", "line": {"width": 1}},
    "failed": {"color": "#8c1f1f", "size": 8, "symbol": "x-thin-open", "line": {"width": 2}},
    "stopped early": {"color": "#9aa7b5", "size": 7, "symbol": "triangle-down-open"},
    "dominated": {"color": "#8a8a8a", "size": 8},
    "assistant": {"color": "#7b52ab", "size": 11, "symbol": "square"},
    "no distillation": {
        "color": "#1f77b4",
        "size": 13,
        "symbol": "circle-open",
        "line": {"width": 2},
    },
    "Pareto front": {"color": "#d62728", "size": 11},
    "teacher": {"color": "black", "size": 14, "symbol": "star"},
}
UNTRAINED = ("rejected", "failed")  # have a cost, and no accuracy: drawn along the lower edge
MARGIN = 0.08  # of the range of accuracies, free at either end


@dataclass(frozen=True, slots=True)
class _Point:
    cost: Cost
    accuracy: float | None
    title: str  # shown by the pointer
    card: dict[str, Any]  # shown by a click


def pareto_html(
    results: Sequence[TrialResult],
    front: Sequence[TrialResult],
    teacher: TeacherInfo,
    budget: Budget,
    *,
    title: str,
    pages: Mapping[int, str],
) -> str:
    """Val accuracy against every cost in turn: trials by what became of them, teacher, assistants, budget.

    `pages` are the addresses of the trials' runs in MLflow, by number.
    """
    groups = _groups(results, front, teacher, pages)
    low, high = _range(groups)
    unknown = sum(result.cost is None for result in results)
    whole = sum(map(_is_two_networks, results))
    shown = [name for name in COSTS if getattr(teacher.cost, name) is not None]
    figure = go.Figure()
    for i, cost in enumerate(shown):
        for trace in _traces(groups, cost, budget, low=low, high=high):
            figure.add_trace(trace.update(visible=i == 0))
    per_cost = len(figure.data) // len(shown)
    buttons = [
        {
            "label": AXIS_TITLES[cost],
            "method": "update",
            "args": [
                {"visible": [j // per_cost == i for j in range(len(figure.data))]},
                {"xaxis.title.text": AXIS_TITLES[cost]},
            ],
        }
        for i, cost in enumerate(shown)
    ]
    figure.update_layout(
        title={"text": title, "subtitle": {"text": _subtitle(groups, low, unknown, whole)}},
        template="plotly_white",
        updatemenus=[
            {"buttons": buttons, "x": 1.0, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
        ],
        legend={"orientation": "h", "y": -0.18},
        hovermode="closest",
        margin={"t": 150},
    )
    figure.update_xaxes(type="log", title=AXIS_TITLES[shown[0]])
    figure.update_yaxes(title="val accuracy", tickformat=".1%", range=[low, high])
    cards = {
        group: [point.card for point in _sorted(points, "macs")] for group, points in groups.items()
    }
    # What a name or a class may hold must not end the script.
    script = CARD.replace("CARDS", json.dumps(cards).replace("<", "\\u003c"))
    html: str = figure.to_html(
        include_plotlyjs=True, full_html=True, default_height="80vh", post_script=script
    )
    return html


def _groups(
    results: Sequence[TrialResult],
    front: Sequence[TrialResult],
    teacher: TeacherInfo,
    pages: Mapping[int, str],
) -> dict[str, list[_Point]]:
    """By the names of STYLES, in their order."""
    on_front = {result.number for result in front}
    groups: dict[str, list[_Point]] = {name: [] for name in STYLES}
    for result in results:
        if result.cost is None or _is_two_networks(result):
            continue
        point = _Point(
            result.cost,
            result.own_accuracy,
            f"trial {result.number}: {result.candidate.student.describe()}",
            card(result, teacher, pages.get(result.number)),
        )
        if result.number in on_front:
            groups["Pareto front"].append(point)
        if result.state == "complete" and not result.candidate.is_taught:
            groups["no distillation"].append(point)
        elif result.state == "complete" and result.number not in on_front:
            groups["dominated"].append(point)
        elif result.state != "complete":
            groups[{"stopped": "stopped early"}.get(result.state, result.state)].append(point)
    assistants = dict.fromkeys(each for result in results for each in result.assistants)
    groups["assistant"] = [
        _Point(each.cost, each.val_accuracy, f"assistant: {each.student}", assistant_card(each))
        for each in assistants
    ]
    star = _Point(
        teacher.cost, teacher.val_accuracy, f"teacher: {teacher.name}", teacher_card(teacher)
    )
    return groups | {"teacher": [star]}


def _range(groups: Mapping[str, Sequence[_Point]]) -> tuple[float, float]:
    """Of the accuracies of what was trained to its end: what was stopped early may lie far below."""
    accuracies = [
        point.accuracy
        for name, points in groups.items()
        for point in points
        if name not in (*UNTRAINED, "stopped early") and point.accuracy is not None
    ]
    margin = max(MARGIN * (max(accuracies) - min(accuracies)), 0.005)
    return min(accuracies) - margin, max(accuracies) + margin


def _is_two_networks(result: TrialResult) -> bool:
    return result.state == "stopped" and result.before_pruning


def _subtitle(groups: Mapping[str, Sequence[_Point]], low: float, unknown: int, whole: int) -> str:
    sentences = ["Click a point for what it is and where its run is."]
    if any(groups[name] for name in UNTRAINED):
        sentences.append("Along the lower edge: never trained, by cost alone.")
    if any((point.accuracy or 0.0) < low for point in groups["stopped early"]):
        sentences.append("Some that were stopped early lie below: a double-click shows all.")
    if whole:
        sentences.append(
            f"Not shown: {whole} that were stopped before they were pruned: their accuracy is the whole student's, "
            "their cost that of what would be left."
        )
    if unknown:
        sentences.append(f"Not shown: {unknown} that could not be built or counted.")
    return "<br>".join(sentences)


def _sorted(points: Sequence[_Point], cost: str) -> list[_Point]:
    """In one order for every cost, so that a place in a trace means the same point."""
    return sorted(points, key=lambda point: getattr(point.cost, cost) or 0)


def _traces(
    groups: Mapping[str, Sequence[_Point]], cost: str, budget: Budget, *, low: float, high: float
) -> list[go.Scatter]:
    """The same number of traces for each cost, so that the menu can switch between them."""
    traces = []
    for name, points in groups.items():
        drawn = _sorted(points, "macs")
        joined = name == "Pareto front" and cost == "macs"
        traces.append(
            go.Scatter(
                x=[getattr(point.cost, cost) for point in drawn],
                y=[low if name in UNTRAINED else point.accuracy for point in drawn],
                text=[_hover(point) for point in drawn],
                hovertemplate="%{text}<extra></extra>",
                mode="lines+markers" if joined else "markers",
                line={"color": "#d62728", "width": 1, "shape": "hv"},
                marker=STYLES[name],
                name=f"{name} ({len(drawn)})" if name != "teacher" else name,
                meta=name,  # finds the card
                showlegend=bool(drawn),
                cliponaxis=name not in UNTRAINED,
            )
        )
    limit = budget.limits.get(cost)
    traces.append(
        go.Scatter(
            x=[limit, limit] if limit else [],
            y=[low, high] if limit else [],
            mode="lines",
            line={"color": "#2ca02c", "dash": "dash"},
            name=f"budget, {format_cost(cost, limit)}" if limit else "no budget for this cost",
            hoverinfo="name",
        )
    )
    return traces


def _hover(point: _Point) -> str:
    accuracy = "not trained" if point.accuracy is None else f"val accuracy {point.accuracy:.2%}"
    return "<br>".join((f"<b>{point.title}</b>", accuracy, costs_in_words(point.cost)))
