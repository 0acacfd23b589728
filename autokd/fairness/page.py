"""audit.html: one page from the record alone. It needs no network and no script to be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from autokd.fairness import display
from autokd.fairness.advice import advice
from autokd.fairness.record_tables import (
    attribution_table,
    contested_table,
    corruption_tables,
    gates_table,
    mapping_table,
    seed_tables,
    uncertain_table,
    worst_gates,
)
from autokd.fairness.sections import attributes
from autokd.fairness.tables import (
    Row,
    Table,
    attribute_titles,
    comparison,
    ece_by_class_table,
    models_of,
    worst_first,
)

Record = Mapping[str, Any]

NOT_PNG = re.compile(r"[^A-Za-z0-9+/=]")
EXIT_WORDS = {
    0: "no gate failed",
    1: "a gate failed",
    3: "what has to be decided could not be",
}


def audit_html(record: Record) -> str:
    titles = attribute_titles(record["by"])
    gates = worst_gates(record["gates"])
    open_gates = [gate for gate in gates if gate["state"] != "pass"]
    passed = [gate for gate in gates if gate["state"] == "pass"]
    html: str = _template().render(
        r=record,
        status=display.state(record["status"]),
        sentences=display.after_status(record),
        exit_words=EXIT_WORDS.get(record["exit_code"], ""),
        models=[model for model in ("teacher", "student") if record["overall"].get(model)],
        attributes=attributes(record),
        glance=_glance(record, titles),
        overall=_overall(record),
        gates_open=gates_table(open_gates, titles=titles, caption="Gates not passed"),
        gates_passed=gates_table(passed, titles=titles, caption="Gates passed"),
        accepted=record["overall"].get("teacher") and record["policy"].get("accept_teacher_bias"),
        join=_mapping(record["data"].get("join"), "Rows joined and lost"),
        seeds=_seeds(record, titles),
        generalisation=record.get("generalisation"),
        corruptions=_corruptions(record, titles),
        attribution=_attribution(record, titles),
        contested=contested_table(record["contested"])
        if record.get("contested")
        else uncertain_table(record.get("uncertain") or []),
        thumbnails=_thumbnails(record),
        advice=advice(record),
        by_class=ece_by_class_table(record),
        provenance=[
            _mapping(record.get("policy"), "Settings of this audit"),
            _mapping(record.get("versions"), "Versions"),
            _mapping(record.get("hashes"), "Hashes"),
        ],
    )
    return html


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("autokd", "fairness"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": display.percent,
        "percent_interval": display.percent_interval,
        "points": display.points,
        "number": display.number,
        "count": display.count,
        "plain": display.plain,
    }
    return environment.get_template("page.html.j2")


def _glance(record: Record, titles: Mapping[str, str]) -> Table:
    """A row an attribute: who is worst off, and how the gates of its groups stand."""
    rows = []
    for name, block in record["by"].items():
        compared, models = comparison(block), models_of(block)
        judged = [group for group in worst_first(block) if group in block["judged"]]
        worst = judged[0] if judged else None
        accuracies = [
            display.percent(block[m]["groups"][worst]["accuracy"]) if worst else display.DASH
            for m in models
        ]
        change = compared[worst]["accuracy_delta"] if worst and compared else None
        states = [g["state"] for g in compared.values()] if compared else []
        tally = [
            f"{states.count(s)} {s.replace('_', ' ')}" for s in display.WORST_FIRST if s in states
        ]
        cells = (
            titles[name],
            f"{len(judged)} of {len(block['judged']) + len(block['not_judged'])}",
            worst or display.DASH,
            *accuracies,
        )
        rows.append(
            Row(cells=(*cells, *((display.points(change), ", ".join(tally)) if compared else ())))
        )
    models = models_of(next(iter(record["by"].values())))
    paired = len(models) == 2
    columns = (
        "attribute",
        "groups judged",
        "most changed for the worse" if paired else "worst group",
        *models,
    )
    return Table(
        caption="At a glance",
        columns=(*columns, *(("change, pp", "states of its groups") if paired else ())),
        rows=tuple(rows),
        words=frozenset({0, 2, 6}),
    )  # fmt: skip


def _overall(record: Record) -> Table:
    """All images together."""
    rows = []
    ece = f"ece{record['policy']['ece_bins']}_l1"
    for model in ("teacher", "student"):
        if found := record["overall"].get(model):
            cells = (
                model,
                display.count(found["n"]),
                display.percent(found["accuracy"]),
                display.percent_interval(found["accuracy_wilson95"]),
                display.percent(found["balanced_accuracy"]),
                display.number(found.get(ece)),
                display.number(found.get("nll")),
                display.number(found.get("brier")),
            )
            rows.append(Row(cells=cells))
    columns = (
        "",
        "n",
        "accuracy",
        "95% Wilson interval",
        "balanced accuracy",
        "ECE",
        "NLL",
        "Brier",
    )
    return Table(caption="All images together", columns=columns, rows=tuple(rows))


def _mapping(found: Record | None, caption: str) -> Table | None:
    return mapping_table(found, caption=caption) if found else None


def _seeds(record: Record, titles: Mapping[str, str]) -> list[Table]:
    seeds = record.get("across_seeds")
    return seed_tables(seeds, titles=titles) if seeds else []


def _corruptions(record: Record, titles: Mapping[str, str]) -> list[Table]:
    found = (record.get("generalisation") or {}).get("corruptions")
    return corruption_tables(found, titles=titles) if found else []


def _attribution(record: Record, titles: Mapping[str, str]) -> Table | None:
    found = (record.get("generalisation") or {}).get("attribution")
    return attribution_table(found, titles=titles) if found else None


def _thumbnails(record: Record) -> list[dict[str, Any]]:
    """Of images that came with a PNG."""
    return [
        dict(image) | {"png": NOT_PNG.sub("", image["png"])}
        for image in record.get("contested") or record.get("uncertain") or []
        if image.get("png")
    ]
