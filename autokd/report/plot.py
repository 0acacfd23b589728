"""The front as an interactive picture in one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from autokd.quantities import format_cost
from autokd.records import COSTS, Budget, TeacherInfo, TrialResult

AXIS_TITLES = {
    "macs": "MACs of one image",
    "params": "parameters",
    "latency_ms": "latency at batch 1, ms",
    "size_bytes": "file size, bytes",
    "activation_bytes": "activations in memory, bytes",
}


def pareto_html(
    results: Sequence[TrialResult],
    front: Sequence[TrialResult],
    teacher: TeacherInfo,
    budget: Budget,
    *,
    title: str,
) -> str:
    """Val accuracy against every cost in turn: front, dominated, control and rejected trials, teacher, budget."""
    shown = [name for name in COSTS if getattr(teacher.cost, name) is not None]
    figure = go.Figure()
    groups = _groups(results, front)
    for i, cost in enumerate(shown):
        for trace in _traces(groups, teacher, cost, budget):
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
        title=title,
        template="plotly_white",
        updatemenus=[
            {"buttons": buttons, "x": 0.0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
        ],
        legend={"orientation": "h", "y": -0.18},
        hovermode="closest",
        margin={"t": 120},
    )
    figure.update_xaxes(type="log", title=AXIS_TITLES[shown[0]])
    figure.update_yaxes(title="val accuracy", tickformat=".1%")
    html: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return html


def _groups(
    results: Sequence[TrialResult], front: Sequence[TrialResult]
) -> dict[str, list[TrialResult]]:
    on_front = {result.number for result in front}
    complete = [r for r in results if r.state == "complete"]
    without = [r for r in complete if not r.candidate.stages[0].teachers]
    return {
        "Pareto front": sorted(front, key=lambda r: r.cost.macs if r.cost else 0),
        "no distillation": without,
        "dominated": [r for r in complete if r.number not in on_front and r not in without],
    }


STYLES = {
    "Pareto front": {"color": "#d62728", "size": 11},
    "no distillation": {
        "color": "#1f77b4",
        "size": 13,
        "symbol": "circle-open",
        "line": {"width": 2},
    },
    "dominated": {"color": "#b0b0b0", "size": 8},
}


def _traces(
    groups: dict[str, list[TrialResult]], teacher: TeacherInfo, cost: str, budget: Budget
) -> list[go.Scatter]:
    """The same number of traces for each cost, so that the menu can switch between them."""
    traces = []
    for name, group in groups.items():
        points = sorted(
            ((getattr(r.cost, cost), r.val["accuracy"], _hover(r)) for r in group if r.cost),
            key=lambda point: point[0] or 0,
        )
        traces.append(
            go.Scatter(
                x=[x for x, _, _ in points],
                y=[y for _, y, _ in points],
                text=[text for _, _, text in points],
                hovertemplate="%{text}<extra></extra>",
                mode="lines+markers" if name == "Pareto front" and cost == "macs" else "markers",
                line={"color": "#d62728", "width": 1, "shape": "hv"},
                marker=STYLES[name],
                name=name,
            )
        )
    traces.append(
        go.Scatter(
            x=[getattr(teacher.cost, cost)],
            y=[teacher.val_accuracy],
            mode="markers",
            marker={"color": "black", "size": 14, "symbol": "star"},
            name=f"teacher ({teacher.name})",
        )
    )
    limit = budget.limits.get(cost)
    accuracies = [r.val["accuracy"] for group in groups.values() for r in group]
    low, high = min([*accuracies, teacher.val_accuracy]), max([*accuracies, teacher.val_accuracy])
    traces.append(
        go.Scatter(
            x=[limit, limit] if limit else [],
            y=[low, high] if limit else [],
            mode="lines",
            line={"color": "#2ca02c", "dash": "dash"},
            name="budget" if limit else "no budget for this cost",
        )
    )
    return traces


def _hover(result: TrialResult) -> str:
    assert result.cost is not None
    costs = [
        f"{name} {format_cost(name, value)}"
        for name in COSTS
        if (value := getattr(result.cost, name)) is not None
    ]
    last = result.candidate.stages[-1]
    weights = ", ".join(f"{name} {weight:.3g}" for name, weight in last.loss_weights.items())
    lines = [
        f"<b>trial {result.number}</b>: {result.candidate.student.describe()}",
        f"val accuracy {result.val['accuracy']:.2%}",
        ", ".join(costs),
        f"{result.candidate.describe_stages()}; loss {weights}; temperature {last.temperature:.3g}",
    ]
    return "<br>".join(lines + ([f"control: {result.control}"] if result.control else []))
