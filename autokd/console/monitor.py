"""What a student in use came to on new images."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from autokd.console.columns import print_table
from autokd.console.output import console
from autokd.drift.shift import Shift
from autokd.monitoring.monitor import Monitored

_STATES = {"same": "green", "shifted": "yellow", "drifted": "bold red", "undecided": "cyan"}
_ADVICE = {"keep": "green", "undecided": "cyan", "look closer": "yellow", "re-distil": "bold red"}


def print_monitored(found: Monitored, folder: Path) -> None:
    """Every figure, then the recommendation with its reasons."""
    out, reference = console(), found.reference
    labels = "with labels" if found.arrived.labelled else "without labels"
    kept = (
        "" if len(reference.seen) == reference.seen.images else f" ({len(reference.seen):,} kept)"
    )
    out.print(reference.source, markup=False, soft_wrap=True)
    out.print(
        f"{found.images:,} new images {labels} against {reference.seen.images:,}{kept} of val at export",
        markup=False,
    )
    table = Table("figure", "of")
    for name in ("at export", "now", "effect", "p, corrected"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for shift in found.shifts:
        table.add_row(*_row(shift))
    print_table(
        table,
        text=("figure", "of", "state"),
        leaving=("p, corrected",),
        elsewhere="monitor.json has all",
    )
    out.print(
        "At export, now: medians. D: Kolmogorov-Smirnov distance; PSI: population stability index; AUC: of a classifier that "
        "tells old from new.\n",
        markup=False,
        style="dim",
    )
    out.print(f"[{_ADVICE[found.recommendation]}]{found.recommendation.upper()}[/]")
    for reason in (*found.advice.reasons, *found.notes):
        out.print(f"- {reason}", markup=False, soft_wrap=True)
    audit = f", {folder / 'audit' / 'audit.html'}" if found.audit else ""
    out.print(f"Report: {folder / 'monitor.json'}{audit}", markup=False, soft_wrap=True)


def _row(shift: Shift) -> tuple[str, ...]:
    state = f"[{_STATES[shift.state]}]{shift.state}[/]"
    if shift.state == "undecided" and shift.needed is not None:
        state += f", needs {shift.needed:,} images"
    p = "< 0.001" if shift.corrected_p < 0.001 else f"{shift.corrected_p:.3f}"
    medians = ("" if value is None else f"{value:.3f}" for value in (shift.then, shift.now))
    return (
        escape(shift.name), shift.of, *medians, f"{shift.measure} {shift.effect:.2f}", p, state,
    )  # fmt: skip
