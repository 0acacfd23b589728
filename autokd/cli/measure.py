"""What needs no search: the cost of a model, what is kept on disk, the schema of search files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.options import AsJson


def measure(
    model: Annotated[str, typer.Argument(help="A timm model.")],
    image_size: Annotated[int, typer.Option(min=1, help="Pixels; images are square.")] = 224,
    channels: Annotated[int, typer.Option(min=1)] = 3,
    classes: Annotated[int, typer.Option(min=2)] = 1000,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the latency.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Images a call of the latency.")] = 1,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    runtime: Annotated[str, typer.Option(help="onnxruntime or pytorch.")] = "onnxruntime",
    device: Annotated[
        str,
        typer.Option(help="cpu; cuda with pytorch; http://… of a device that runs latency-serve."),
    ] = "cpu",
    latency: Annotated[
        bool,
        typer.Option(
            "--latency/--no-latency",
            help="Time it; without, exact costs in a fraction of a second.",
        ),
    ] = True,
    published: Annotated[
        bool, typer.Option("--published", help="MACs by timm's convention too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The cost of a timm model in its deployed form: MACs, parameters, file size, memory, latency."""
    from dataclasses import asdict

    from autokd.api.measure import measure as measure_model
    from autokd.api.measure import published_macs
    from autokd.console.candidate import print_cost
    from autokd.console.output import answer

    cost = measure_model(
        model,
        (channels, image_size, image_size),
        classes=classes,
        threads=threads,
        device=device,
        batch=batch,
        precision=precision,
        runtime=runtime,
        latency=latency,
    )
    shape = (channels, image_size, image_size)
    table = published_macs(model, shape, classes=classes) if published else None
    answer(
        lambda: asdict(cost) | ({"published_macs": table} if published else {}),
        lambda: print_cost(model, image_size, cost, published=table),
        as_json=as_json,
    )


def cache(
    clear: Annotated[
        list[str] | None,
        typer.Option(help="Remove all of a kind (views, logits, …), or all. May be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What searches keep in .autokd to use again, and how to remove it. Results are not touched."""
    from autokd.console.documents import cleared_document, kept_document
    from autokd.console.kept import print_cleared, print_kept
    from autokd.console.output import answer
    from autokd.engine.place import CACHE
    from autokd.kept import KINDS, list_kept
    from autokd.kept import clear as clear_kinds

    folder = Path.cwd() / CACHE
    if clear:
        kinds = [*KINDS] if "all" in clear else clear
        freed = clear_kinds(folder, kinds)
        answer(
            lambda: cleared_document(kinds, freed),
            lambda: print_cleared(kinds, freed),
            as_json=as_json,
        )
    else:
        kept = list_kept(folder)
        answer(
            lambda: kept_document(folder, kept), lambda: print_kept(folder, kept), as_json=as_json
        )


def schema() -> None:
    """The JSON schema of search files, for editors that complete and check YAML."""
    from autokd.config import Config
    from autokd.console.output import to_json

    print(to_json(Config.model_json_schema()))
