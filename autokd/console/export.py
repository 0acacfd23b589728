"""What was exported, and whether it says what the student says."""

from __future__ import annotations

from rich.markup import escape

from autokd.console.output import console
from autokd.exporting.export import Exported
from autokd.quantities import format_bytes


def print_exported(exported: Exported, *, latest: bool) -> None:
    """`latest`: whether the search was not named."""
    out, parity = console(), exported.parity
    out.print(f"{exported.source}{', of the latest search' if latest else ''}", markup=False)
    out.print(f"{exported.path}: {exported.precision}, {format_bytes(exported.size_bytes)}")
    if exported.floats:
        out.print(f"int8: all weights; {exported.floats} activations stay in float")
    out.print(f"input: {exported.input}", markup=False)
    recorded = "" if exported.recorded is None else f" (recorded {exported.recorded:.4%})"
    out.print(
        f"val accuracy through {exported.runtime}: {parity.accuracy:.4%}; "
        f"in PyTorch {parity.student_accuracy:.4%}{recorded}"
    )
    out.print(
        f"the same answer for {parity.agreement:.2%} of {parity.images:,} images; "
        f"logits differ by at most {parity.difference:.2g} ({parity.relative:.2g} of the largest)"
    )
    example = exported.example
    out.print(
        f"example.py on {example.images} images of val: accuracy {example.accuracy:.1%}, autokd's {example.expected:.1%}"
    )
    if exported.note:
        out.print(f"{exported.note}.")
    out.print(f"model card: {exported.card}")
    for problem in exported.problems:
        out.print(f"[red]Not ready to ship[/]: {escape(problem)}.")
    if exported.advice:
        out.print(f"{exported.advice}.", markup=False)
