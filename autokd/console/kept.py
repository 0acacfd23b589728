"""What is kept on disk, as a table."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.table import Table

from autokd.console.columns import print_table
from autokd.console.output import console
from autokd.kept import EVICTED, KINDS, Kept
from autokd.quantities import format_cost, format_seconds

AGAIN = dict.fromkeys(EVICTED, "reading or a forward pass") | {"latencies": "timing"}


def print_kept(folder: Path, kept: Sequence[Kept]) -> None:
    out = console()
    if not kept:
        out.print(f"{folder} keeps nothing yet.")
        return
    table = Table("kind", "number", "size", "last used", "made again by")
    for kind in KINDS:
        own = [each for each in kept if each.kind == kind]
        if own:
            ago = format_seconds(max(0.0, time.time() - max(each.used for each in own)))
            how = AGAIN.get(kind, "training")
            table.add_row(kind, str(len(own)), _size(own), f"{ago} ago", how)
    print_table(table, text=("made again by",), leaving=("last used",), elsewhere="--json has all")
    out.print(f"{_size(kept)} in {folder}. To remove: autokd cache --clear KIND, or --clear all.")


def print_cleared(kinds: Collection[str], freed: int) -> None:
    console().print(f"{', '.join(kinds)}: {format_cost('size_bytes', freed)} removed.")


def _size(kept: Sequence[Kept]) -> str:
    return format_cost("size_bytes", sum(each.size_bytes for each in kept))
