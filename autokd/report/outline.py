"""A space as an interactive picture in one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import plotly.graph_objects as go
from plotly.colors import qualitative

from autokd.quantities import format_cost
from autokd.records import Budget, Cost
from autokd.report.plot import AXIS_TITLES


def outline_html(
    students: Mapping[str, Sequence[tuple[str, Cost, bool]]], budget: Budget, *, title: str
) -> str:
    """MACs against parameters of sampled students, by model: (what it is, its cost, whether it fits the budget) each."""
    figure = go.Figure()
    for colour, (model, group) in zip(cycle(qualitative.Safe), students.items(), strict=False):
        for fits in (True, False):
            shown = [(name, cost) for name, cost, fit in group if fit == fits]
            if not shown:
                continue
            figure.add_trace(
                go.Scatter(
                    x=[cost.macs for _, cost in shown],
                    y=[cost.params for _, cost in shown],
                    text=[
                        f"{name}<br>{format_cost('macs', cost.macs)} MACs, "
                        f"{format_cost('params', cost.params)} parameters"
                        for name, cost in shown
                    ],
                    hovertemplate="%{text}<extra></extra>",
                    mode="markers",
                    marker={
                        "size": 8,
                        "symbol": "circle" if fits else "x-thin-open",
                        "color": colour,
                    },
                    name=f"{model}, {'within' if fits else 'over'} budget",
                )
            )
    if budget.macs:
        figure.add_vline(x=budget.macs, line={"color": "#2ca02c", "dash": "dash"})
    if budget.params:
        figure.add_hline(y=budget.params, line={"color": "#2ca02c", "dash": "dash"})
    sampled = sum(map(len, students.values()))
    lines = "; green lines: the budget" if budget.macs or budget.params else ""
    figure.update_layout(
        title=f"{title}: {sampled} sampled students{lines}",
        template="plotly_white",
        hovermode="closest",
    )
    ticks = {"type": "log", "dtick": "D2", "minor": {"showgrid": False}, "exponentformat": "SI"}
    figure.update_xaxes(title=AXIS_TITLES["macs"], **ticks)
    figure.update_yaxes(title=AXIS_TITLES["params"], **ticks)
    html: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return html
