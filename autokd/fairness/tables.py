"""The tables of one attribute in an audit's report: text cells made from the record, worst group first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autokd.fairness.display import (
    DASH,
    count,
    number,
    p_value,
    percent,
    percent_interval,
    points,
    points_interval,
    state,
)

Record = Mapping[str, Any]

CLASSES = "class"  # the attribute of an audit without metadata
SHOWN = 20  # groups of a chart, and rows of a table before the rest is folded away
MOST_ROWS = 400  # rows of a table, folded ones included; all are in audit.json


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    cells: tuple[str, ...]  # the first names the row
    state: str | None = None  # one of display.SYMBOLS
    judged: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str | None = None
    shown: int = SHOWN  # rows before the rest is folded away
    words: frozenset[int] = frozenset({0})  # columns of text; the others are numbers

    @property
    def first(self) -> tuple[Row, ...]:
        return self.rows[: self.shown]

    @property
    def rest(self) -> tuple[Row, ...]:
        return self.rows[self.shown : MOST_ROWS]

    @property
    def unshown(self) -> int:
        return max(0, len(self.rows) - MOST_ROWS)

    @property
    def has_dash(self) -> bool:
        return any(cell == DASH for row in self.rows for cell in row.cells)


def attribute_titles(by: Record) -> dict[str, str]:
    """How attributes are written: their name, intersections as ``sex × site``."""
    return {name: " × ".join(block.get("parts") or [name]) for name, block in by.items()}


def models_of(block: Record) -> list[str]:
    """Of teacher and student, those that an attribute was audited for."""
    return [model for model in ("teacher", "student") if block.get(model)]


def comparison(block: Record) -> dict[str, Record] | None:
    """Group -> student against teacher; None: only one of them is there."""
    compared = block.get("student_vs_teacher")
    return compared["groups"] if compared else None


def worst_first(block: Record) -> list[str]:
    """Judged groups before others; the largest loss first, or the lowest accuracy of a model alone."""
    compared, model = comparison(block), models_of(block)[-1]
    groups = block[model]["groups"]

    def place(name: str) -> tuple[bool, float, str]:
        value = compared[name]["accuracy_delta"] if compared else groups[name]["accuracy"]
        return not groups[name]["judged"], 0.0 if value is None else value, name

    return sorted(groups, key=place)


def most_changed(block: Record) -> list[str]:
    """The groups of a chart, worst first: all, or the SHOWN that changed most in either direction."""
    order = worst_first(block)
    compared = comparison(block)
    if len(order) <= SHOWN or not compared:
        return order[:SHOWN]
    judged = [name for name in order if compared[name]["state"] != "not_judged"] or order
    largest = sorted(judged, key=lambda name: -abs(compared[name]["accuracy_delta"] or 0.0))
    return [name for name in judged if name in set(largest[:SHOWN])]


def counts_table(groups: Record, class_names: Sequence[str], *, attribute: str) -> Table:
    """Images of every group and class."""
    names = list(class_names) if len(class_names) <= SHOWN else ["fewest of a class"]
    if attribute == CLASSES:
        names = []
    columns = ("group", "images", *names, "judged")
    rows = []
    for name, group in sorted(groups.items(), key=lambda item: (-item[1]["n"], item[0])):
        each = group["n_class"]
        counts = [] if not names else each if len(names) == len(each) else [min(each)]
        judged = "yes" if group["judged"] else "no: too few"
        cells = (name, count(group["n"]), *(count(n) for n in counts), judged)
        rows.append(Row(cells=cells, judged=group["judged"]))
    return Table(
        caption=f"Images by {attribute}" + ("" if attribute == CLASSES else " and class"),
        columns=columns,
        rows=tuple(rows),
        words=frozenset({0, len(columns) - 1}),
    )


def model_table(block: Record, model: str, *, attribute: str, class_names: Sequence[str]) -> Table:
    groups = block[model]["groups"]
    order = sorted(groups, key=lambda g: (not groups[g]["judged"], groups[g]["accuracy"] or 0.0, g))
    rows = []
    for name in order:
        group = groups[name]
        cells = (
            name,
            count(group["n"]),
            percent(group["accuracy"]),
            percent_interval(group["accuracy_wilson95"]),
            *_of_classes(group, class_names),
            number(group.get("mean_margin"), 2),
            "yes" if group["judged"] else "no",
        )
        rows.append(Row(cells=cells, judged=group["judged"]))
    each = () if attribute == CLASSES else ("balanced accuracy", "lowest recall", "of class")
    columns = ("group", "n", "accuracy", "95% Wilson interval", *each, "mean margin", "judged")
    return Table(
        caption=f"Accuracy of the {model} by {attribute}, lowest first",
        columns=columns,
        rows=tuple(rows),
        words=frozenset({0, len(columns) - 1, *([6] if each else [])}),
    )


def _of_classes(group: Record, class_names: Sequence[str]) -> tuple[str, ...]:
    """Nothing where the group is one class."""
    if group["recall"] is None:
        return ()
    recalls = [(recall, c) for c, recall in enumerate(group["recall"]) if recall is not None]
    lowest, of = min(recalls, default=(None, 0))
    name = DASH if lowest is None else class_names[of]
    return percent(group["balanced_accuracy"]), percent(lowest), name


def change_table(block: Record, *, attribute: str) -> Table:
    """Student against teacher on the same images."""
    compared = block["student_vs_teacher"]["groups"]
    rows = []
    for name in worst_first(block):
        group = compared[name]
        cells = (
            name,
            state(group["state"]),
            count(group["n"]),
            percent(block["teacher"]["groups"][name]["accuracy"]),
            percent(block["student"]["groups"][name]["accuracy"]),
            points(group["accuracy_delta"]),
            points_interval(group["accuracy_delta_ci95"]),
            points(group["normalized_accuracy_delta"]),
            f"{group['regressed']} / {group['fixed']}",
            p_value(group.get("gate_p_holm", group.get("mcnemar_exact_p_holm"))),
            percent(group["disagreement"]),
            number(group["regression_over_index"], 2),
            count(group.get("needed_n")),
        )
        judged = group["state"] != "not_judged"
        rows.append(Row(cells=cells, state=group["state"], judged=judged))
    first = next(iter(compared.values()))
    test = next((m for group in compared.values() if (m := group.get("gate_p_method"))), None)
    return Table(
        caption=f"Student against teacher by {attribute}, largest loss first",
        columns=("group", "state", "n", "teacher", "student", "change, pp", f"95% interval ({first['ci_method']}), pp", "against all, pp", "regressed / fixed", "Holm p", "disagree", "over-index", "images needed"),
        rows=tuple(rows),
        note=None if test is None else f"Holm p: {test}, adjusted for all judged groups of the attribute.",
        words=frozenset({0, 1}),
    )  # fmt: skip


def assistant_table(block: Record, name: str, *, attribute: str) -> Table:
    groups = block["assistants"][name]["groups"]
    compared = ((block.get("assistants_vs_teacher") or {}).get(name) or {}).get("groups", {})
    rows = []
    for group in worst_first(block):
        change = compared.get(group, {})
        cells = (
            group,
            count(groups[group]["n"]),
            percent(groups[group]["accuracy"]),
            points(change.get("accuracy_delta")),
            points_interval(change.get("accuracy_delta_ci95")),
            f"{change['regressed']} / {change['fixed']}" if change else DASH,
        )
        rows.append(Row(cells=cells, judged=groups[group]["judged"]))
    return Table(
        caption=f"{name} against the teacher by {attribute}",
        columns=("group", "n", "accuracy", "change, pp", "95% interval, pp", "regressed / fixed"),
        rows=tuple(rows),
    )


def calibration_table(block: Record, *, attribute: str, bins: int) -> Table:
    models = models_of(block)
    columns = ["group", "n"]
    for figure in ("ECE", "mean confidence", "accuracy", "NLL", "Brier"):
        columns += [f"{figure}, {model}" for model in models]
    rows = []
    for name in worst_first(block):
        groups = [block[model]["groups"][name] for model in models]
        cells = [name, count(groups[0]["n"])]
        for key, show in (
            (f"ece{bins}_l1", number),
            ("mean_confidence", percent),
            ("accuracy", percent),
            ("nll", number),
            ("brier", number),
        ):
            cells += [show(group.get(key)) for group in groups]
        rows.append(Row(cells=tuple(cells), judged=groups[0]["judged"]))
    return Table(
        caption=f"Calibration by {attribute}",
        columns=tuple(columns),
        rows=tuple(rows),
        note="ECE is biased upward in small groups: compare the two models of a row, not the rows.",
    )


def ece_by_class_table(record: Record) -> Table | None:
    """None where classes are the groups, which has the same figures, or where there are no probabilities."""
    key = f"ece{record['policy']['ece_bins']}_l1_by_class"
    found = {m: values for m, values in record["overall"].items() if values and values.get(key)}
    if not found or CLASSES in record["by"]:
        return None
    names = record["data"]["class_names"]
    rows = [
        Row(cells=(str(name), *(number(values[key][c]) for values in found.values())))
        for c, name in enumerate(names)
    ]
    return Table(
        caption="Calibration by class",
        columns=("class", *(f"ECE, {model}" for model in found)),
        rows=tuple(rows),
    )


def reliability_table(block: Record, order: Sequence[str], *, attribute: str) -> Table:
    """The figures of the reliability chart."""
    rows = []
    for name in order:
        for model in models_of(block):
            for b in block[model]["groups"][name].get("reliability") or []:
                cells = (name, model, f"{b['low']:.2f} to {b['high']:.2f}", count(b["n"]))
                figures = (number(b["confidence"]), number(b["accuracy"]))
                rows.append(Row(cells=(*cells, *figures)))
    return Table(
        caption=f"Bins of the reliability chart by {attribute}",
        columns=("group", "model", "bin", "n", "mean confidence", "accuracy"),
        rows=tuple(rows),
        words=frozenset({0, 1}),
    )
