"""A first search file for a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.options import AsJson, Quiet


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Images: one folder a class, or train/ and test/ with such folders; or an .npz file."
        ),
    ],
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Weights of a teacher; of other classes, they are fine-tuned. Default: train one."
        ),
    ] = None,
    teacher_model: Annotated[
        str | None,
        typer.Option(
            help="What they are weights of, a timm name or module:function; default: the usual ones are tried. "
            "Without --teacher: fine-tune timm's published weights of it."
        ),
    ] = None,
    max_macs: Annotated[
        str | None, typer.Option(help="Budget: 30M multiply-accumulates an image.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Budget of a kind of device: micro, mobile, edge-gpu or server."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=8, help="Pixels; default: by the images.")
    ] = None,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("search.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite it if it is there.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Look at images and write a search file for them, with the reason beside each value. Trains nothing.

    Images are read as a search reads them: what is wrong with them is said now.
    """
    import logging

    from autokd.console.draft import print_drafted
    from autokd.console.output import answer, nothing_else_printed
    from autokd.drafting.draft import Wishes, draft
    from autokd.drafting.images import look
    from autokd.engine.place import CACHE
    from autokd.errors import ConfigError, storage_errors
    from autokd.students import has_pretrained
    from autokd.task import choose_device

    if output.exists() and not force:
        raise ConfigError(
            f"{output}: is there already; give another --output, or --force to overwrite it"
        )
    if teacher_model and not teacher and not has_pretrained(teacher_model):
        raise ConfigError(
            f"--teacher-model {teacher_model}: timm has no published weights of it; give --teacher FILE too"
        )
    wishes = Wishes(
        teacher=teacher,
        teacher_model=teacher_model,
        image_size=image_size,
        limits={"max_macs": max_macs, "target": target},
    )
    log = logging.getLogger("autokd")
    with nothing_else_printed(as_json):
        found = look(folder, cache=Path.cwd() / CACHE)
        for note in found.notes:
            log.warning("%s", note)
        text = draft(found, wishes, gpu=choose_device().type == "cuda")
    with storage_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    answer(
        lambda: {"file": output, "images": found},
        lambda: print_drafted(output, text),
        as_json=as_json,
        quiet=quiet,
    )
