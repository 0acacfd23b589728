"""What needs no search: the cost of a model, the schema of search files."""

from __future__ import annotations

import json
from typing import Annotated

import typer


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


def schema() -> None:
    """The JSON schema of search files, for editors that complete and check YAML."""
    from autokd.config import Config

    print(json.dumps(Config.model_json_schema(), indent=1))
