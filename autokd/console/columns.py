"""A table in the width that there is: columns leave by their priority, text is folded, figures stay whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from autokd.console.output import console

TEXT = 24  # cells that a column of text keeps while others may leave,
LEAST_TEXT = 12  # and once none may
_ENDLESS = 10_000


def print_table(
    table: Table,
    *,
    text: Collection[str] = (),
    leaving: Sequence[str] = (),
    elsewhere: str = "a wider terminal has room",
) -> list[str]:
    """Print it without the columns that are empty or have no room; return the headings of those that stay.

    The first of `leaving` goes first, and one that is not listed never. Columns of `text` are folded where they must be.
    Where the terminal is too narrow for what must stay, lines are longer than it: no figure is cut.
    """
    out = console()
    table.box, table.show_edge, table.padding = SIMPLE_HEAD, False, (0, 1, 0, 0)
    table.title_justify = "left"
    table.pad_edge = True  # rich knows the first and the last column by numbers, which change here
    table.columns = [column for column in table.columns if any(map(str, column.cells))]
    for column in table.columns:
        column.no_wrap, column.overflow = column.header not in text, "fold"
    gone = []
    for heading in (each for each in leaving if each in _headings(table)):
        if _needed_width(table, out, text=TEXT) <= out.width:
            break
        table.columns = [column for column in table.columns if column.header != heading]
        gone.append(heading.replace("\n", " "))
    wider = console()
    wider.width = max(out.width, _needed_width(table, out, text=LEAST_TEXT))
    wider.print(table)
    if gone:
        out.print(f"Not shown in {out.width} columns: {', '.join(gone)} ({elsewhere}).")
    out.print()
    return _headings(table)


def _headings(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]


def _needed_width(table: Table, out: Console, *, text: int) -> int:
    """Cells for every line to be whole, but for columns that may be folded: they count with `text` at most."""
    narrow = copy(table)
    narrow.columns = [
        column if column.no_wrap else replace(column, max_width=text) for column in table.columns
    ]
    return Measurement.get(out, out.options.update(width=_ENDLESS), narrow).maximum
