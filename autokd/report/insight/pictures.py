"""The pictures of an insight, for plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autokd.insight import Family, Growth, Importance

BLUE, GREY, DARK = "#1f77b4", "#c4c9cf", "#333333"


def importance_bars(importances: Sequence[Importance]) -> go.Figure:
    """Largest on top, each with its spread and what is chance."""
    shown = importances[::-1]  # the largest on top
    names = [each.parameter for each in shown]
    figure = go.Figure(
        go.Bar(
            x=[each.share for each in shown],
            y=names,
            orientation="h",
            marker_color=[BLUE if each.stands_out else GREY for each in shown],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [each.spread for each in shown],
                "arrayminus": [min(each.spread, each.share) for each in shown],
                "color": "#888888",
                "thickness": 1.5,
            },
            name="share of importance",
            hovertemplate="%{y}: %{x:.0%}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[each.chance for each in shown],
            y=names,
            mode="markers",
            marker={"symbol": "line-ns", "size": 18, "line": {"width": 3, "color": DARK}},
            name="chance",
            hovertemplate="%{y}: up to %{x:.0%} by chance<extra></extra>",
        )
    )
    figure.update_xaxes(title="share of all importance", tickformat=".0%", range=[0, 1])
    return _styled(figure, height=140 + 30 * len(shown))


def growth_lines(growth: Sequence[Growth]) -> go.Figure:
    """Over time, epochs and trials, side by side."""
    figure = make_subplots(
        rows=1,
        cols=3,
        shared_yaxes=True,
        subplot_titles=("over time", "over epochs", "over trials"),
    )
    unit, name = _time_unit(growth)
    axes = (
        (name, [each.clock / unit for each in growth]),
        ("epochs trained", [each.epochs for each in growth]),
        ("trials begun", [each.trials for each in growth]),
    )
    for column, (title, values) in enumerate(axes, start=1):
        line = go.Scatter(
            x=values,
            y=[each.hypervolume for each in growth],
            mode="lines",
            line={"shape": "hv", "color": BLUE},
            hovertemplate=f"%{{x:.4g}} {title}: %{{y:.4f}}<extra></extra>",
        )
        figure.add_trace(line, row=1, col=column)
        figure.update_xaxes(title=title, rangemode="tozero", row=1, col=column)
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title="hypervolume", row=1, col=1)
    figure.update_layout(showlegend=False)
    return _styled(figure, height=360)


def family_bars(families: Sequence[Family]) -> go.Figure:
    shown = families[::-1]
    figure = go.Figure()
    within = [each.proposed - each.rejected for each in shown]
    over = [each.rejected for each in shown]
    for name, values, colour in (("within budget", within, BLUE), ("over budget", over, GREY)):
        figure.add_trace(
            go.Bar(
                x=values,
                y=[each.model for each in shown],
                orientation="h",
                name=name,
                marker_color=colour,
                text=[value or "" for value in values],
                hovertemplate=f"%{{y}}: %{{x}} {name}<extra></extra>",
            )
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="trials")
    return _styled(figure, height=150 + 34 * len(shown))


def second_bars(activities: Mapping[str, float]) -> go.Figure:
    shown = dict(sorted(activities.items(), key=lambda item: item[1]))
    total = sum(shown.values()) or 1.0
    figure = go.Figure(
        go.Bar(
            x=list(shown.values()),
            y=list(shown),
            orientation="h",
            marker_color=BLUE,
            text=[f"{seconds:.3g} s ({seconds / total:.0%})" for seconds in shown.values()],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.3g} s<extra></extra>",
        )
    )
    figure.update_xaxes(title="seconds")
    return _styled(figure, height=110 + 30 * len(shown))


def _time_unit(growth: Sequence[Growth]) -> tuple[float, str]:
    longest = growth[-1].clock
    units = ((3600.0, "hours"), (60.0, "minutes"))
    return next((unit for unit in units if longest >= 2 * unit[0]), (1.0, "seconds"))


def _styled(figure: go.Figure, *, height: int) -> go.Figure:
    return figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 10, "r": 30, "t": 40, "b": 10},
        yaxis={"automargin": True, "ticks": "outside", "tickcolor": "white"},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
