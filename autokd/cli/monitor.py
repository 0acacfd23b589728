"""A student in use, held against new images."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.audit import parse_bands
from autokd.cli.options import AsJson, Device, LedgerUrl, TrackingUri, load
from autokd.cli.statuses import INTERRUPTED


def monitor(
    candidate: Annotated[
        str,
        typer.Argument(
            help="A folder of `autokd export`; a registered version, models:/NAME/VERSION or models:/NAME@ALIAS; or a trial's number in the latest study, STUDY/NUMBER, an MLflow run id, a "
            "candidate's hash, or a folder that `autokd run --output` made."
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="New images: one folder a class, a folder of images without labels, or an .npz."
        ),
    ],
    metadata: Annotated[
        Path | None, typer.Option(help="CSV: groups of the new images, for the audit.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Its column that names an image; default: the search's, or index."),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="Columns: sex,site; default: the search's, or all of the metadata."),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="The column that says which images belong together.")
    ] = None,
    bands: Annotated[
        list[str] | None, typer.Option(help="Cuts of a numeric column: age=18,40,65.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for monitor.json and the audit's report.")
    ] = Path("monitor"),
    as_json: AsJson = False,
    redistil: Annotated[
        bool,
        typer.Option(
            "--redistil",
            help="Then search on the new images, which need labels, from the old front on.",
        ),
    ] = False,
    tracking_uri: TrackingUri = None,
    ledger: LedgerUrl = None,
    device: Device = None,
) -> None:
    """Hold a student against new images: accuracy if they have labels, drift, the audit again, and what to do.

    Exit status: 0 keep, 3 undecided or look closer, 1 re-distil, 2 bad input; with --redistil that of the search.
    """
    from autokd.console.monitor import print_monitored
    from autokd.console.output import answer
    from autokd.monitoring.call import monitor as monitor_images
    from autokd.monitoring.redistil import SEARCH_FILE, write_search_file

    found = monitor_images(
        candidate,
        data,
        metadata=metadata,
        key=key,
        groups=None if groups is None else [name.strip() for name in groups.split(",")],
        cluster=cluster,
        bands=dict(parse_bands(text) for text in bands or []),
        labels_needed=redistil,
        tracking_uri=tracking_uri,
        device=device,
    )
    found.save(out)
    answer(found.to_dict, lambda: print_monitored(found, out), as_json=as_json)
    if not redistil:
        raise typer.Exit(found.exit_code)
    file = write_search_file(found, out / SEARCH_FILE)
    typer.echo(
        f"Search file: {file}; again with: autokd search {shlex.quote(str(file))}", err=as_json
    )
    _search(file, tracking_uri=tracking_uri, ledger=ledger, device=device, quiet=as_json)


def _search(
    file: Path, *, tracking_uri: str | None, ledger: str | None, device: str | None, quiet: bool
) -> None:
    from autokd.api.search import search
    from autokd.console.front import print_result
    from autokd.console.watch import watch

    config = load(file, {})
    with watch(config) as observe:
        result = search(
            config,
            tracking_uri=tracking_uri,
            ledger=ledger,
            device=device,
            command=shlex.join(["autokd", *sys.argv[1:]]),
            observe=observe,
        )
    if not quiet:
        print_result(result, tracking_uri)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
