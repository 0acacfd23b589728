"""What needs no search: the cost of a model, what is kept on disk, the schema of search files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


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
    published: Annotated[
        bool, typer.Option("--published", help="MACs by timm's convention too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The cost of a timm model in its deployed form: MACs, parameters, file size, memory, latency."""
    from dataclasses import asdict

    from autokd.api import measure as measure_model
    from autokd.api import published_macs
    from autokd.console.candidate import print_cost

    cost = measure_model(
        model,
        (channels, image_size, image_size),
        classes=classes,
        threads=threads,
        device=device,
        batch=batch,
        precision=precision,
        runtime=runtime,
    )
    shape = (channels, image_size, image_size)
    table = published_macs(model, shape, classes=classes) if published else None
    if as_json:
        print(json.dumps(asdict(cost) | ({"published_macs": table} if published else {}), indent=1))
    else:
        print_cost(model, image_size, cost, published=table)


def cache(
    clear: Annotated[
        list[str] | None,
        typer.Option(help="Remove all of a kind (views, logits, …), or all. May be repeated."),
    ] = None,
) -> None:
    """What searches keep in .autokd to use again, and how to be rid of it. Results are not touched."""
    from autokd.console.kept import print_cleared, print_kept
    from autokd.engine.place import CACHE
    from autokd.kept import KINDS, list_kept
    from autokd.kept import clear as clear_kinds

    folder = Path.cwd() / CACHE
    if clear:
        kinds = [*KINDS] if "all" in clear else clear
        print_cleared(kinds, clear_kinds(folder, kinds))
    else:
        print_kept(folder, list_kept(folder))


def schema() -> None:
    """The JSON schema of search files, for editors that complete and check YAML."""
    from autokd.config import Config

    print(json.dumps(Config.model_json_schema(), indent=1))
