"""To search, and to see what that would be."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.completion import complete_front, complete_studies
from autokd.cli.options import AsJson, Device, LedgerUrl, Quiet, SearchFile, TrackingUri, load
from autokd.cli.statuses import INTERRUPTED


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
    log_models: Annotated[
        bool | None,
        typer.Option(
            "--log-models/--no-log-models",
            help="In the end make each student of the front a model in MLflow, ready to register.",
        ),
    ] = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(
            help="Begin with the front of this earlier search. May be repeated.",
            autocompletion=complete_studies,
        ),
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
    max_latency: Annotated[
        str | None, typer.Option(help="Budget: 20ms, that nine calls of ten keep.")
    ] = None,
    max_size: Annotated[str | None, typer.Option(help="Budget: 10MB of weights.")] = None,
    max_activations: Annotated[
        str | None, typer.Option(help="Budget: 256kB in memory at once beside the weights.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Budget of a kind of device: micro, mobile, edge-gpu or server."),
    ] = None,
    tracking_uri: TrackingUri = None,
    ledger: LedgerUrl = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda, cuda:1; default: a GPU if there is one. http://…: times students there "
            "(`autokd latency-serve`)."
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search students, distil them, and leave their Pareto front in MLflow.

    The same command goes on with a search that was interrupted (Ctrl-C, a crash, a power cut). Exit status 130 if it was.
    """
    limits = {
        "max_macs": max_macs,
        "max_params": max_params,
        "max_latency": max_latency,
        "max_size": max_size,
        "max_activations": max_activations,
        "target": target,
    }
    if device and "://" in device:  # it times students, and trains none
        limits["device"], device = device, None
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
        "log_models": log_models,
        "warm_start": warm_start or None,
    }
    config = load(file, {"budget": limits, "search": length, "": {"seed": seed}})
    from autokd.api.search import search as run  # takes seconds, which a wrong file needs not wait
    from autokd.console.documents import search_document
    from autokd.console.front import print_result
    from autokd.console.output import answer, nothing_else_printed
    from autokd.console.watch import watch

    with nothing_else_printed(as_json), watch(config, quiet=quiet) as observe:
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
    answer(
        lambda: search_document(result),
        lambda: print_result(result, tracking_uri),
        as_json=as_json,
        quiet=quiet,
    )
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)


def check(
    file: SearchFile,
    ledger: LedgerUrl = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Validate a search file: what share of its space fits the budget, what a trial will cost. Trains nothing."""
    config = load(file, {})
    from autokd.console.check import print_check
    from autokd.console.documents import check_document
    from autokd.console.output import answer, nothing_else_printed
    from autokd.engine.check import check_search

    with nothing_else_printed(as_json):
        found = check_search(config, directory=Path.cwd(), ledger=ledger, device=device)
    answer(
        lambda: check_document(file, found),
        lambda: print_check(file, found),
        as_json=as_json,
        quiet=quiet,
    )


def space(
    file: SearchFile,
    students: Annotated[int, typer.Option(min=1, help="How many to sample.")] = 200,
    html: Annotated[
        Path | None, typer.Option(help="Write MACs against parameters as an interactive picture.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """What is in a search file's space: models, how many students, their costs, what fits the budget. Trains nothing."""
    config = load(file, {})
    from autokd.console.documents import outline_document
    from autokd.console.outline import print_outline
    from autokd.console.output import answer, nothing_else_printed
    from autokd.engine.outline import outline
    from autokd.errors import storage_errors
    from autokd.report.outline import outline_html

    with nothing_else_printed(as_json):
        found = outline(config, directory=Path.cwd(), students=students)
    answer(
        lambda: outline_document(file, found),
        lambda: print_outline(file, found),
        as_json=as_json,
        quiet=quiet,
    )
    if html:
        shown = {
            model: [(s.spec.describe(), s.cost, s.fits) for s in group]
            for model, group in found.survey.by_model().items()
        }
        with storage_errors(html):
            html.write_text(outline_html(shown, found.budget, title=file.stem), encoding="utf-8")


def run(
    candidate: Annotated[
        str,
        typer.Argument(
            help="A trial's number in the latest study, STUDY/NUMBER, an MLflow run id, a candidate's hash, or a candidate.yaml.",
            autocompletion=complete_front,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="A new folder for its weights, its audit and its record.")
    ] = None,
    tracking_uri: TrackingUri = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train one candidate again from its record, and compare its val accuracy with the recorded one.

    Under torchrun, all its processes train it together. Exit status 1 if it fails.
    """
    from autokd.tracking.find import find_candidate
    from autokd.tracking.store import open_store
    from autokd.yaml_file import SUFFIXES, read_text

    if Path(candidate).is_file() or Path(candidate).suffix in SUFFIXES:
        text, source = read_text(Path(candidate)), candidate
    else:
        text, source = find_candidate(open_store(tracking_uri, Path.cwd(), create=False), candidate)
    from autokd.console.candidate import print_rerun  # these take seconds
    from autokd.console.documents import rerun_document
    from autokd.console.output import answer, nothing_else_printed
    from autokd.engine.rerun import rerun

    with nothing_else_printed(as_json):
        done = rerun(text, source=source, directory=Path.cwd(), device=device, output=output)
    if done.first:
        answer(
            lambda: rerun_document(done),
            lambda: print_rerun(done),
            as_json=as_json,
            quiet=quiet,
        )
    if done.result.state != "complete":
        raise typer.Exit(1)
