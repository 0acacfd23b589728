"""One line a check."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from autokd.console.output import console
from autokd.doctor.finding import Finding

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def print_findings(findings: Sequence[Finding]) -> None:
    out = console()
    width = max(len(each.name) for each in findings)
    for each in findings:
        text = each.found + (f". {each.advice}" if each.advice else "")
        out.print(
            f"[{COLOURS[each.state]}]{each.state:8}[/]{each.name:{width}}  {escape(text)}",
            soft_wrap=True,
        )
    counts = [(state, sum(each.state == state for each in findings)) for state in COLOURS]
    said = ", ".join(f"{count} {state}" for state, count in counts if count)
    out.print(f"\n{said}.")
