"""From a search to where students work: export one, register one, time them on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.completion import complete_front
from autokd.cli.options import AsJson, Quiet, TrackingUri


def export(
    candidate: Annotated[
        str,
        typer.Argument(
            help="A trial's number in the latest study, STUDY/NUMBER, an MLflow run id, a candidate's hash, or a folder "
            "that `autokd run --output` made.",
            autocompletion=complete_front,
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="A new folder for the file, its model card and example.py.")
    ],
    format_name: Annotated[str, typer.Option("--format", help="onnx, pt2 or executorch.")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise it, calibrated on train images.")
    ] = False,
    normalise: Annotated[
        bool,
        typer.Option(
            "--normalise-inside/--normalise-outside",
            help="Whether the file takes pixels of 0..255, or images that are normalised already.",
        ),
    ] = True,
    tracking_uri: TrackingUri = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a trained student as a file that ships, and hold it against the student on val.

    Exit status 1 if their answers differ more than the format should make them, or if its costs are not those that were
    recorded or are above a limit of the search.
    """
    from autokd.api.ship import export as export_student
    from autokd.console.documents import export_document
    from autokd.console.export import print_exported
    from autokd.console.output import answer, nothing_else_printed
    from autokd.tracking.find import names_latest

    with nothing_else_printed(as_json):
        exported = export_student(
            candidate,
            output,
            format_name=format_name,
            int8=int8,
            normalise=normalise,
            tracking_uri=tracking_uri,
        )
    answer(
        lambda: export_document(exported),
        lambda: print_exported(exported, latest=names_latest(candidate)),
        as_json=as_json,
        quiet=quiet,
    )
    if exported.problems:
        raise typer.Exit(1)


def register(
    candidate: Annotated[
        str,
        typer.Argument(
            help="A trial's number in the latest study, STUDY/NUMBER, an MLflow run id or a candidate's hash."
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the model in the registry; made if it is new.")],
    alias: Annotated[
        str | None,
        typer.Option(help="A name that moves to this version, such as champion."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise it, calibrated on train images.")
    ] = False,
    tracking_uri: TrackingUri = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a trained student a version in MLflow's model registry, that takes image files and answers with class names.

    It is exported as ONNX and held against the student on val first. Exit status 1, and nothing registered, if their answers
    differ more than they should.
    """
    from autokd.api.ship import register as register_student
    from autokd.console.documents import registered_document
    from autokd.console.output import answer, nothing_else_printed
    from autokd.console.registered import print_registered

    with nothing_else_printed(as_json):
        registered = register_student(
            candidate, name, alias=alias, int8=int8, tracking_uri=tracking_uri
        )
    answer(
        lambda: registered_document(registered),
        lambda: print_registered(registered),
        as_json=as_json,
        quiet=quiet,
    )


def latency_serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: all of this device's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8777,
    token: Annotated[
        str | None,
        typer.Option(
            help="What searches must name; default: a new one, printed.",
            envvar="AUTOKD_DEVICE_TOKEN",
        ),
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(
            help="Write the server as one file that needs numpy and onnxruntime alone, and stop."
        ),
    ] = None,
) -> None:
    """Time students for a search on another machine: ONNX graphs come over HTTP, and numbers go back.

    There: budget.device in the search file, or `autokd search --device http://ADDRESS:8777`, and the token in
    AUTOKD_DEVICE_TOKEN.
    """
    from autokd.errors import storage_errors
    from autokd.runtime import latency_server

    if copy:
        with storage_errors(copy):
            copy.write_text(
                Path(latency_server.__file__).read_text(encoding="utf-8"), encoding="utf-8"
            )
        typer.echo(f"{copy}: python {copy.name} --host 0.0.0.0 --port {port} --token …")
    else:
        latency_server.serve(host, port, token)
