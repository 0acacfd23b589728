"""The command line: one function a command, in the order in which its help shows them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from autokd.cli import audit, deploy, doctor, init, look, measure, monitor, search
from autokd.cli.statuses import epilog
from autokd.errors import AutoKDError

app = typer.Typer(
    help="Search distilled students under a hardware budget; keep the Pareto front in MLflow.",
    epilog=epilog(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug keeps its traceback
    rich_markup_mode="markdown",
)

COMMANDS: Mapping[Callable[..., None], str] = {  # each with an example of its use
    init.init: "autokd init images --max-macs 30M",
    search.search: "autokd search search_spaces/quickstart.yaml --trials 20",
    look.status: "autokd status",
    look.front: "autokd front --csv front.csv",
    look.insight: "autokd insight --html insight.html",
    look.sync: "autokd sync",
    search.check: "autokd check search_spaces/quickstart.yaml",
    search.space: "autokd space search_spaces/quickstart.yaml --html space.html",
    search.run: "autokd run 3",
    deploy.export: "autokd export 3 --int8 --output shipped",
    deploy.register: "autokd register 3 --name digits --alias champion",
    deploy.latency_serve: "autokd latency-serve --host 0.0.0.0",
    audit.audit: "autokd audit --predictions student.csv --teacher teacher.csv --metadata people.csv",
    monitor.monitor: "autokd monitor shipped --data new.npz",
    measure.measure: "autokd measure mobilenetv3_small_100 --image-size 224",
    measure.cache: "autokd cache --clear logits",
    measure.schema: "autokd schema > autokd.schema.json",
    doctor.doctor: "autokd doctor",
    look.ui: "autokd ui --port 5001",
}


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autokd {version('autokd')}")
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_say_version,
            is_eager=True,
            help="Say which version this is (`autokd doctor` adds those of what it needs).",
        ),
    ] = False,
) -> None:
    """What stands before a command's name."""


for function, example in COMMANDS.items():
    app.command(epilog=f"Example: `{example}`")(function)


def main() -> None:
    """What the `autokd` command runs. Bad input: one line and status 2; a teacher that fails its audit: 1."""
    _quieten_others()
    try:
        app()
    except AutoKDError as error:
        said = " ".join(str(error).splitlines())
        Console(stderr=True, soft_wrap=True).print(f"autokd: {said}", markup=False, highlight=False)
        sys.exit(error.exit_status)


def _quieten_others() -> None:
    """Libraries' warnings and retries are not shown: what is wrong is said in one line of ours, and not below a hundred
    of theirs. `PYTHONWARNINGS=default` and `HF_HUB_VERBOSITY=warning` show them."""
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # read when huggingface_hub is imported
    if not sys.warnoptions:
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").addHandler(logging.NullHandler())
        logging.getLogger("py.warnings").propagate = False
