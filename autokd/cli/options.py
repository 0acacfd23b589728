"""Options that several commands have."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

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
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1; default: a GPU if there is one.")
]


def load(file: Path, overrides: dict[str, dict[str, Any]]) -> Any:
    """The search file with what the command line sets instead."""
    from autokd.config import load_config, override_config

    logging.getLogger("autokd").setLevel(logging.INFO)
    return override_config(load_config(file), overrides)
