"""Options that several commands have."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from autokd.cli.completion import complete_studies

Study = Annotated[
    str | None,
    typer.Argument(help="Its name; default: the latest.", autocompletion=complete_studies),
]
SearchFile = Annotated[Path, typer.Argument(metavar="FILE", help="A search file (YAML).")]

TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow server or database; default: mlflow.db in the working directory.",
        envvar="MLFLOW_TRACKING_URI",
    ),
]
LedgerUrl = Annotated[
    str | None,
    typer.Option(
        help="Database of searches' own records: postgresql+psycopg://…; default: a file in .autokd.",
        envvar="AUTOKD_LEDGER",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Print nothing but warnings and errors; with --json the document too.",
    ),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1; default: a GPU if there is one.")
]


def load(file: Path, overrides: dict[str, dict[str, Any]]) -> Any:
    """The search file with what the command line sets instead."""
    from autokd.config import load_config, override_config

    logging.getLogger("autokd").setLevel(logging.INFO)
    return override_config(load_config(file), overrides)
