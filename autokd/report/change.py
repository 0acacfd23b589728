"""Who pays for the compression: accuracy against cost, coloured by the change of the group that lost most."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from autokd.quantities import format_cost
from autokd.records import TrialResult

SYMBOLS = {"pass": "circle", "warn": "diamond", "undecided": "square", "fail": "x"}
FAINT = 0.75  # opacity of what is not on the front


def worst_change_html(
    results: Sequence[TrialResult], front: Sequence[TrialResult], *, title: str
) -> str:
    """Complete trials on val. Colour: accuracy change of the worst hit group; sign: the audit's verdict."""
    audited = [r for r in results if r.audit is not None and r.cost]
    judged = [r for r in audited if r.audit and r.audit.worst_change is not None]
    shown = [result for result in judged if not result.before_pruning]
    counts = {
        "that were stopped before they were pruned": len(judged) - len(shown),
        "none of whose groups has images enough to judge": len(audited) - len(judged),
    }
    left_out = " and ".join(f"{count} {which}" for which, count in counts.items() if count)
    if not shown:
        said = f"Not shown: {left_out}." if left_out else "No student was audited."
        return f"<!doctype html><title>{html.escape(title)}</title><p>{said}</p>\n"
    on_front = {result.number for result in front}
    lowest = 100 * min(_change(r) for r in shown)
    figure = go.Figure()
    for verdict, symbol in SYMBOLS.items():
        group = [r for r in shown if r.audit and r.audit.status == verdict]
        if not group:
            continue
        figure.add_trace(
            go.Scatter(
                x=[r.cost.macs for r in group if r.cost],
                y=[r.val["accuracy"] for r in group],
                text=[_hover(r, r.number in on_front) for r in group],
                hovertemplate="%{text}<extra></extra>",
                mode="markers",
                name=f"{verdict} ({len(group)})",
                marker={
                    "symbol": symbol,
                    "size": [15 if r.number in on_front else 9 for r in group],
                    "opacity": [1.0 if r.number in on_front else FAINT for r in group],
                    "color": [100 * _change(r) for r in group],
                    "coloraxis": "coloraxis",
                    "line": {"width": 1, "color": "#333333"},
                },
            )
        )
    figure.update_layout(
        title={
            "text": f"{title}: accuracy, cost, and the change of the group that lost most (val)",
            "subtitle": {"text": f"Not shown: {left_out}." if left_out else ""},
        },
        template="plotly_white",
        coloraxis={
            "colorscale": "Cividis",
            "cmin": min(lowest, -1.0),
            "cmax": 0.0,
            "colorbar": {"title": "change of the<br>group that lost<br>most, points"},
        },
        showlegend=True,
        legend={"orientation": "h", "y": -0.12, "title": {"text": "the audit's verdict:"}},
        hovermode="closest",
    )
    ticks = [digit * 10**power for power in range(15) for digit in (1, 2, 5)]
    figure.update_xaxes(
        type="log",
        title="MACs of one image (large signs: the Pareto front)",
        tickvals=ticks,
        ticktext=[format_cost("macs", tick) for tick in ticks],
    )
    figure.update_yaxes(title="val accuracy", tickformat=".1%")
    page: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return page


def _change(result: TrialResult) -> float:
    change = result.audit.worst_change if result.audit else None
    assert change is not None
    return change


def _hover(result: TrialResult, on_front: bool) -> str:
    audit, cost = result.audit, result.cost
    assert audit
    assert cost
    lines = [
        f"<b>trial {result.number}</b>{', on the front' if on_front else ''}: "
        f"{result.candidate.student.describe()}",
        f"val accuracy {result.val['accuracy']:.2%}, {format_cost('macs', cost.macs)} MACs",
        f"{audit.worst_change_group}: {100 * _change(result):+.1f} points against the teacher",
        f"audit: {audit.status}",
    ]
    return "<br>".join(lines)
