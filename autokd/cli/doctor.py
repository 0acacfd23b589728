"""Whether autokd would work here."""

from __future__ import annotations

from pathlib import Path

import typer

from autokd.cli.options import AsJson, LedgerUrl, TrackingUri
from autokd.cli.statuses import VERDICT


def doctor(
    tracking_uri: TrackingUri = None, ledger: LedgerUrl = None, as_json: AsJson = False
) -> None:
    """What is installed, which devices there are, which stores, and whether they work. Makes no store, and writes to none.

    Exit status: 0 a search would work here, 1 something it needs does not.
    """
    from autokd.console.doctor import print_findings
    from autokd.console.output import answer, nothing_else_printed
    from autokd.doctor import examine

    with nothing_else_printed(as_json):
        findings = examine(Path.cwd(), tracking_uri=tracking_uri, ledger=ledger)
    works = all(each.state != "problem" for each in findings)
    answer(
        lambda: {"works": works, "checks": findings},
        lambda: print_findings(findings),
        as_json=as_json,
    )
    if not works:
        raise typer.Exit(VERDICT)
