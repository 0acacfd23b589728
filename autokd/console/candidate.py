"""One model: its cost, or its training again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from autokd.console.columns import print_table
from autokd.console.output import console
from autokd.quantities import format_cost, format_seconds
from autokd.records import Cost

if TYPE_CHECKING:
    from autokd.engine.rerun import Rerun


def print_rerun(rerun: Rerun) -> None:
    out = console()
    result, recorded = rerun.result, rerun.recorded
    out.print(f"{result.candidate.student.describe()}: {result.candidate.describe_stages()}")
    if result.state != "complete":
        out.print(f"{result.state}: {result.reason}")
        return
    new, old = result.val["accuracy"], recorded.val_accuracy
    known = f"recorded {old:.4%}" if old is not None else "none recorded"
    verdict = " (the same)" if old == new else ""
    together = f" by {rerun.processes} processes" if rerun.processes > 1 else ""
    out.print(
        f"val accuracy {new:.4%}, {known}{verdict}; {format_seconds(result.seconds)}{together}"
    )
    if result.candidate.student.precision == "int8" and new != old:
        out.print("Which activations stay in float is decided anew; earlier versions rounded all.")
    if not rerun.same_teacher:
        out.print(
            "The teacher is not the one of the record: it was trained anew, or its file has changed."
        )


def print_cost(model: str, image_size: int, cost: Cost, *, published: int | None = None) -> None:
    table = Table("cost", "value", title=f"{model}, {image_size} px", show_header=False)
    table.add_row("MACs", f"{format_cost('macs', cost.macs)} ({cost.macs:,})")
    if published is not None:
        table.add_row("MACs as timm counts", f"{format_cost('macs', published)} ({published:,})")
    table.add_row("FLOPs (2 x MACs)", format_cost("macs", 2 * cost.macs))
    table.add_row("parameters", f"{format_cost('params', cost.params)} ({cost.params:,})")
    table.add_row(f"file size, {cost.weight_dtype}", format_cost("size_bytes", cost.size_bytes))
    if cost.activation_bytes:
        table.add_row("activations", format_cost("size_bytes", cost.activation_bytes))
    if cost.memory_bytes:
        table.add_row("memory of a process", format_cost("size_bytes", cost.memory_bytes))
    times = (cost.latency_ms, cost.latency_median_ms, cost.latency_p90_ms)
    if None not in times:
        lowest, median, p90 = (format_cost("latency_ms", time or 0.0) for time in times)
        table.add_row("latency", f"{lowest} at best, median {median}, p90 {p90}")
        busy = ", while it was busy" if cost.contended else ""
        table.add_row("on", f"{cost.device}{busy}")
    print_table(table, text=("value",))
