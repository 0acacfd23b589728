"""The verdict of an audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from autokd.console.columns import print_table
from autokd.console.output import VERDICTS, console

if TYPE_CHECKING:
    from autokd.fairness.audit import Audit


MOST_GATES = 12  # that are printed


def print_audit(audit: Audit, folder: Path) -> None:
    """The verdict, who lost what, what is not plainly passed, and where the report lies."""
    from autokd.fairness.record_tables import gate_subject, worst_gates
    from autokd.fairness.tables import attribute_titles

    out = console()
    record = audit.record
    for sentence in record["summary"]:
        out.print(sentence, markup=False, soft_wrap=True)
    asked = [gate for gate in record["gates"] if gate["threshold"] is not None]  # a floor may be
    open_gates = [gate for gate in asked if gate["state"] != "pass"]
    if open_gates:
        table = Table("gate", "of", "state", "why")
        for gate in worst_gates(open_gates)[:MOST_GATES]:
            table.add_row(
                gate["id"].replace("_", " "),
                escape(gate_subject(gate, attribute_titles(record["by"]))),
                f"[{VERDICTS[gate['state']]}]{gate['state']}[/]",
                escape(gate["why"]),
            )
        print_table(table, text=("gate", "of", "why"))
    if (more := len(open_gates) - MOST_GATES) > 0:
        out.print(f"{more} more gates that are not passed are in the report.")
    out.print(f"Report: {folder / 'audit.html'}", markup=False, soft_wrap=True)
