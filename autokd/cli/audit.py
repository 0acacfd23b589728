"""An audit of models made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.options import AsJson, Quiet
from autokd.errors import ConfigError


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
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Audit a model made elsewhere, group by group, against its teacher on the same images.

    Exit status: 0 pass or warn, 1 fail, 3 undecided, 2 bad input.
    """
    from autokd.console.audit import print_audit
    from autokd.console.output import answer
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
        bands=dict(parse_bands(text) for text in bands or []),
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
    answer(done.to_dict, lambda: print_audit(done, out), as_json=as_json, quiet=quiet)
    raise typer.Exit(done.exit_code)


def parse_bands(text: str) -> tuple[str, list[float]]:
    """``age=18,40,65``."""
    column, _, cuts = text.partition("=")
    try:
        return column, [float(cut) for cut in cuts.split(",")]
    except ValueError:
        raise ConfigError(
            f"--bands '{text}': not a column and its cuts; write --bands age=18,40,65"
        ) from None
