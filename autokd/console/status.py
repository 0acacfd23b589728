"""How far a search is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from autokd.console.columns import print_table
from autokd.console.output import console
from autokd.quantities import count_of, format_cost, format_seconds

if TYPE_CHECKING:
    from autokd.engine.status import Status


def print_status(status: Status) -> None:
    out = console()
    counts = ", ".join(f"{count} {state}" for state, count in sorted(status.counts.items()))
    age = format_seconds(status.age)
    state = f"ended: {status.ended}" if status.ended else "running"
    out.print(f"{status.study} {state}; last heard of {age} ago")
    out.print(
        f"{status.begun} of {count_of(status.target, 'trial')} begun ({counts or 'none done'}), {count_of(status.epochs, 'epoch')}, "
        f"hypervolume {status.hypervolume:.3f}"
    )
    if rejected := status.counts.get("rejected", 0):
        share = rejected / (status.begun + rejected)
        out.print(f"{share:.0%} of the proposals were rejected untrained, as over the budget")
    if status.ended is None and status.seconds_left is not None:
        out.print(f"about {format_seconds(status.seconds_left)} of trials left")
    if status.running and status.ended is None:
        table = Table("trial", "student", "stages", "epochs", "val so far", title="Running")
        for each in status.running:
            accuracy = "–" if each.val_accuracy is None else f"{each.val_accuracy:.1%}"
            epochs = f"{each.epochs} → {each.until} of {each.total}"
            table.add_row(str(each.number), each.student, each.stages, epochs, accuracy)
        print_table(table, text=("student",), leaving=("stages",), elsewhere="--json has all")
    if status.front:
        table = Table("trial", "student", "val", "MACs", title="Front so far")
        for member in status.front:
            macs = format_cost("macs", member["macs"])
            table.add_row(
                str(member["number"]), member["student"], f"{member['val_accuracy']:.1%}", macs
            )
        print_table(table, text=("student",))
