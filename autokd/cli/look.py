"""What has been found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.options import AsJson, LedgerUrl, Quiet, Study, TrackingUri
from autokd.errors import ConfigError


def status(
    study: Study = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """How far a search is that runs in another terminal, or on another machine."""
    from autokd.console.output import answer
    from autokd.console.status import print_status
    from autokd.engine.database import ledger_url
    from autokd.engine.place import CACHE
    from autokd.engine.status import load_status

    found = load_status(ledger_url(ledger, Path.cwd() / CACHE), study)
    answer(lambda: found, lambda: print_status(found), as_json=as_json)


def front(
    study: Study = None,
    csv: Annotated[Path | None, typer.Option(help="Also write the table there.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the table there, as a page.")
    ] = None,
    tracking_uri: TrackingUri = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """The Pareto front of a study as a table, read from the MLflow store."""
    from autokd.console.documents import front_document
    from autokd.console.front import print_stored_front
    from autokd.console.output import answer
    from autokd.report.frame import front_page, stored_front
    from autokd.tracking.read import read_study
    from autokd.tracking.store import open_to_read

    store = open_to_read(tracking_uri, Path.cwd())
    stored = read_study(store, study, front_only=True)
    frame = stored_front(stored.trials, stored.objectives, stored.teacher)
    answer(
        lambda: front_document(frame, stored),
        lambda: print_stored_front(frame, stored),
        as_json=as_json,
        quiet=quiet,
    )
    if csv is not None:
        _write(csv, frame.to_csv(index=False))
    if html is not None:
        _write(html, front_page(frame, f"Pareto front of {stored.study}"))


def insight(
    study: Study = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write it there, as a page with pictures.")
    ] = None,
    ledger: LedgerUrl = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """What a search tells: which parameters matter, how its front grew, what was rejected, where time went.

    Read from the search's own records; the search may still be running.
    """
    from autokd.console.documents import insight_document
    from autokd.console.output import answer, print_markdown
    from autokd.engine.database import ledger_url
    from autokd.engine.insight import load_insight
    from autokd.engine.place import CACHE
    from autokd.report.insight.page import insight_html, insight_markdown

    found = load_insight(ledger_url(ledger, Path.cwd() / CACHE), study)
    answer(
        lambda: insight_document(found),
        lambda: print_markdown(insight_markdown(found)),
        as_json=as_json,
        quiet=quiet,
    )
    if html is not None:
        _write(html, insight_html(found))


def sync(
    study: Annotated[str | None, typer.Argument(help="Its name; default: the latest.")] = None,
    tracking_uri: TrackingUri = None,
    ledger: LedgerUrl = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Let damaged events of the ledger mean nothing; trials that lose a result are trained again.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write what MLflow lacks of a search, from the search's own records: after a server was away, or into another store.

    Nothing is written twice, and no data and no teacher are needed.
    """
    from autokd.console.front import print_synced
    from autokd.console.output import answer, nothing_else_printed
    from autokd.engine.sync import sync_search

    with nothing_else_printed(as_json):
        synced = sync_search(
            study, directory=Path.cwd(), tracking_uri=tracking_uri, ledger=ledger, repair=repair
        )
    answer(
        lambda: synced,
        lambda: print_synced(synced, tracking_uri),
        as_json=as_json,
        quiet=quiet,
    )


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    tracking_uri: TrackingUri = None,
) -> None:
    """The MLflow UI over mlflow.db, on this machine's loopback address only."""
    from autokd.tracking.bound import run_bound
    from autokd.tracking.read import latest_page
    from autokd.tracking.store import open_to_read, ui_command

    arguments, environment = ui_command(tracking_uri, Path.cwd(), port=port)
    address = f"http://127.0.0.1:{port}/"
    if latest := latest_page(open_to_read(tracking_uri, Path.cwd())):
        study, page = latest
        typer.echo(f"{study}, the latest search, in a few seconds at: {address}{page}")
    try:
        sys.exit(run_bound(arguments, environment))
    except KeyboardInterrupt:
        sys.exit(0)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from None
