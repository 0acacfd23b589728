"""The command line: one function a command. Prints for people; everything else returns values."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from autokd.errors import AutoKDError, ConfigError

app = typer.Typer(
    help="Search distilled students under a hardware budget; keep the Pareto front in MLflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug keeps its traceback
    rich_markup_mode="markdown",
)

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


def main() -> None:
    """What the `autokd` command runs. Bad input: one line and status 2; a teacher that fails its audit: 1."""
    try:
        app()
    except AutoKDError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"autokd: {error}", markup=False, highlight=False
        )
        sys.exit(error.exit_status)


@app.command(epilog="Example: `autokd search search_spaces/quickstart.yaml --trials 20`")
def search(
    file: SearchFile,
    trials: Annotated[int | None, typer.Option(min=1, help="Students to begin with.")] = None,
    time: Annotated[str | None, typer.Option(help="Stop after so long: 90s, 15m, 2h.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Stop after so many in all.")] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop when so many finished students made the front no better."),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="halving (default), full, random or one-epoch.")
    ] = None,
    final_seeds: Annotated[
        int | None, typer.Option(min=0, help="Train the front again with so many further seeds.")
    ] = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(help="Begin with the front of this earlier search. May be repeated."),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Leave an open search of this name, and begin another.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time.")] = None,
    executor: Annotated[
        str | None, typer.Option(help="local (processes of this machine) or ray.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto or HOST:PORT; default: one started here.")
    ] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(min=0, help="Ray: 0.5 shares one.")
    ] = None,
    shared: Annotated[
        str | None,
        typer.Option(help="Folder or URL (s3://…) for workers that don't see this folder."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    max_macs: Annotated[str | None, typer.Option(help="Budget: 300M multiply-accumulates.")] = None,
    max_params: Annotated[str | None, typer.Option(help="Budget: 5M parameters.")] = None,
    max_latency: Annotated[str | None, typer.Option(help="Budget: 20ms at batch 1, here.")] = None,
    max_size: Annotated[str | None, typer.Option(help="Budget: 10MB of weights.")] = None,
    tracking_uri: TrackingUri = None,
    ledger: LedgerUrl = None,
    device: Device = None,
) -> None:
    """Search students, distil them, and leave their Pareto front in MLflow.

    The same command goes on with a search that was interrupted (Ctrl-C, a crash, a power cut).
    """
    from autokd.api import search as run
    from autokd.console.front import print_result
    from autokd.console.watch import watch

    limits = {
        "max_macs": max_macs,
        "max_params": max_params,
        "max_latency": max_latency,
        "max_size": max_size,
    }
    length = {
        "trials": trials,
        "time": time,
        "epochs": epochs,
        "patience": patience,
        "strategy": strategy,
        "executor": executor,
        "ray_address": ray_address,
        "gpus_per_trial": gpus_per_trial,
        "shared": shared,
        "final_seeds": final_seeds,
        "warm_start": warm_start or None,
    }
    config = _load(file, {"budget": limits, "search": length, "": {"seed": seed}})
    with watch(config) as observe:
        result = run(
            config,
            workers=workers,
            tracking_uri=tracking_uri,
            ledger=ledger,
            device=device,
            command=shlex.join(["autokd", *sys.argv[1:]]),
            new=new,
            observe=observe,
        )
    print_result(result, tracking_uri)


@app.command(epilog="Example: `autokd status`")
def status(
    study: Annotated[str | None, typer.Argument(help="Its name; default: the latest.")] = None,
    ledger: LedgerUrl = None,
) -> None:
    """How far a search is that runs in another terminal, or on another machine."""
    from autokd.console.status import print_status
    from autokd.engine.database import ledger_url
    from autokd.engine.place import CACHE
    from autokd.engine.status import load_status

    print_status(load_status(ledger_url(ledger, Path.cwd() / CACHE), study))


@app.command(epilog="Example: `autokd front --csv front.csv`")
def front(
    study: Annotated[str | None, typer.Argument(help="Its name; default: the latest.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write the table there.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the table there, as a page.")
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """The Pareto front of a study as a table, read from the MLflow store."""
    from autokd.console.front import print_stored_front
    from autokd.report.frame import front_page, stored_front
    from autokd.tracking.read import read_study
    from autokd.tracking.store import open_store

    store = open_store(tracking_uri, Path.cwd(), create=False)
    stored = read_study(store, study, front_only=True)
    frame = stored_front(stored.trials, stored.objectives, stored.teacher)
    print_stored_front(frame, stored)
    pages = {
        csv: frame.to_csv(index=False),
        html: front_page(frame, f"Pareto front of {stored.study}"),
    }
    for path, text in pages.items():
        if path is not None:
            _write(path, text)


@app.command(epilog="Example: `autokd insight --html insight.html`")
def insight(
    study: Annotated[str | None, typer.Argument(help="Its name; default: the latest.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write it there, as a page with pictures.")
    ] = None,
    ledger: LedgerUrl = None,
) -> None:
    """What a search tells: which parameters matter, how its front grew, what was rejected, where time went.

    Read from the search's own records; the search may still be running.
    """
    from autokd.console.output import print_markdown
    from autokd.engine.database import ledger_url
    from autokd.engine.insight import load_insight
    from autokd.engine.place import CACHE
    from autokd.report.insight.page import insight_html, insight_markdown

    found = load_insight(ledger_url(ledger, Path.cwd() / CACHE), study)
    print_markdown(insight_markdown(found))
    if html is not None:
        _write(html, insight_html(found))


@app.command(epilog="Example: `autokd check search_spaces/quickstart.yaml`")
def check(file: SearchFile, device: Device = None) -> None:
    """Validate a search file: what share of its space fits the budget, what a trial will cost. Trains nothing."""
    from autokd.console.check import print_check
    from autokd.engine.check import check_search

    print_check(file, check_search(_load(file, {}), directory=Path.cwd(), device=device))


@app.command(epilog="Example: `autokd run 3`")
def run(
    candidate: Annotated[
        str,
        typer.Argument(
            help="A trial's number in the latest study, STUDY/NUMBER, an MLflow run id, a candidate's hash, or a candidate.yaml."
        ),
    ],
    tracking_uri: TrackingUri = None,
    device: Device = None,
) -> None:
    """Train one candidate again from its record, and compare its val accuracy with the recorded one."""
    from autokd.console.candidate import print_rerun
    from autokd.engine.rerun import rerun
    from autokd.tracking.find import find_candidate
    from autokd.tracking.store import open_store

    if Path(candidate).is_file():
        text, source = Path(candidate).read_text(encoding="utf-8"), candidate
    else:
        text, source = find_candidate(open_store(tracking_uri, Path.cwd(), create=False), candidate)
    print_rerun(rerun(text, source=source, directory=Path.cwd(), device=device))


@app.command(
    epilog="Example: `autokd audit --predictions student.csv --teacher teacher.csv --metadata people.csv`"
)
def audit(
    predictions: Annotated[
        list[Path],
        typer.Option(help="CSV or Parquet: id, label, p_CLASS or prediction. May be repeated."),
    ],
    teacher: Annotated[
        Path | None, typer.Option(help="The same of the model it is compared with.")
    ] = None,
    metadata: Annotated[Path | None, typer.Option(help="CSV or Parquet: id and groups.")] = None,
    key: Annotated[str, typer.Option(help="The column that joins the files.")] = "id",
    groups: Annotated[
        str | None, typer.Option(help="Columns: sex,site; default: all of the metadata.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="The column that says which rows belong together: patient.")
    ] = None,
    bands: Annotated[
        list[str] | None, typer.Option(help="Cuts of a numeric column: age=18,40,65.")
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="A group may lose less than this share.")
    ] = 0.05,
    floor: Annotated[
        float | None, typer.Option(min=0, max=1, help="The least accuracy of the worst group.")
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(help="A group that must be decided: site=C; site: all of them."),
    ] = None,
    intersections: Annotated[
        int, typer.Option(min=1, max=3, help="Attributes crossed at most; 1: none.")
    ] = 2,
    accept_teacher_bias: Annotated[
        str | None, typer.Option(help="Why a teacher that fails is used all the same.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for audit.html, .json and .md.")] = Path(
        "audit"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print audit.json.")] = False,
) -> None:
    """Audit a model made elsewhere, group by group, against its teacher on the same images.

    Exit status: 0 pass or warn, 1 fail, 3 undecided in a required group, 2 bad input.
    """
    from autokd.console.audit import print_audit
    from autokd.fairness.audit import audit as audit_predictions
    from autokd.fairness.prediction_file import read_predictions
    from autokd.records import AuditPolicy

    read = read_predictions(
        predictions,
        teacher=teacher,
        metadata=metadata,
        key=key,
        groups=None if groups is None else [name.strip() for name in groups.split(",")],
        cluster=cluster,
        bands=dict(_parse_bands(text) for text in bands or []),
    )
    policy = AuditPolicy(
        margin=margin,
        floor=floor,
        required=tuple(require or ()),
        intersections=intersections,
        accept_teacher_bias=accept_teacher_bias,
        seed=seed,
    )
    done = audit_predictions(
        read.labels,
        read.student,
        teacher=read.teacher,
        groups=read.groups,
        cluster=read.cluster,
        class_names=read.class_names,
        ids=read.ids,
        teacher_seeds=read.teacher_seeds,
        student_seeds=read.student_seeds,
        policy=policy,
        about={
            "title": ", ".join(path.name for path in predictions),
            "join": read.join,
            "hashes": read.hashes,
        },
    )
    done.save(out)
    if as_json:
        print(json.dumps(done.to_dict(), indent=1, allow_nan=False))
    else:
        print_audit(done, out)
    raise typer.Exit(done.exit_code)


@app.command(epilog="Example: `autokd measure mobilenetv3_small_100 --image-size 224`")
def measure(
    model: Annotated[str, typer.Argument(help="A timm model.")],
    image_size: Annotated[int, typer.Option(min=1, help="Pixels; images are square.")] = 224,
    channels: Annotated[int, typer.Option(min=1)] = 3,
    classes: Annotated[int, typer.Option(min=2)] = 1000,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the latency.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The cost of a timm model: MACs, parameters, file size, latency at batch 1."""
    from dataclasses import asdict

    from autokd.api import measure as measure_model
    from autokd.console.candidate import print_cost

    cost = measure_model(
        model, (channels, image_size, image_size), classes=classes, threads=threads, device=device
    )
    if as_json:
        print(json.dumps(asdict(cost), indent=1))
    else:
        print_cost(model, image_size, cost)


@app.command(epilog="Example: `autokd schema > autokd.schema.json`")
def schema() -> None:
    """The JSON schema of search files, for editors that complete and check YAML."""
    from autokd.config import Config

    print(json.dumps(Config.model_json_schema(), indent=1))


@app.command(epilog="Example: `autokd ui --port 5001`")
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    tracking_uri: TrackingUri = None,
) -> None:
    """The MLflow UI over mlflow.db, on this machine's loopback address only."""
    from autokd.tracking.store import ui_command

    arguments, environment = ui_command(tracking_uri, Path.cwd(), port=port)
    try:
        sys.exit(subprocess.run(arguments, env=environment, check=False).returncode)
    except KeyboardInterrupt:
        sys.exit(0)


def _load(file: Path, overrides: dict[str, dict[str, Any]]) -> Any:
    """The search file with what the command line sets instead."""
    from autokd.config import load_config, override_config

    logging.getLogger("autokd").setLevel(logging.INFO)
    return override_config(load_config(file), overrides)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from None


def _parse_bands(text: str) -> tuple[str, list[float]]:
    column, _, cuts = text.partition("=")
    try:
        return column, [float(cut) for cut in cuts.split(",")]
    except ValueError:
        raise ConfigError(
            f"--bands '{text}': not a column and its cuts; write --bands age=18,40,65"
        ) from None


if __name__ == "__main__":
    main()
