"""The tables of an audit's report that are not about one attribute: gates, seeds, images, corruptions, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autokd.fairness.display import (
    DASH,
    count,
    gap,
    number,
    p_value,
    percent,
    percent_interval,
    plain,
    points,
    points_interval,
    signed,
    state,
)
from autokd.fairness.gate import SEVERITY
from autokd.fairness.tables import SHOWN, Row, Table

Record = Mapping[str, Any]

GATE_NAMES = {
    "guessing": "better than guessing",
    "accuracy_change": "accuracy of all images",
    "group_harmed": "group harmed",
    "harm_uneven": "harm uneven",
    "worst_group_floor": "worst group's floor",
    "recall_ratio": "recall ratio",
    "calibration": "calibration",
    "coverage": "coverage",
    "teacher": "teacher, before distillation",
    "accuracy_gap": "accuracy gap",
}
MOST_OPEN = 100  # gates not passed that are shown without opening anything
CHANGES = {
    "group_harmed",
    "accuracy_change",
    "calibration",
}  # gates whose figures are differences with a sign
GAPS = {"harm_uneven", "teacher", "accuracy_gap"}  # and without one


def gate_subject(gate: Record, titles: Mapping[str, str]) -> str:
    """``site=C, class dent``, or "all"."""
    parts = []
    if gate.get("attr") is not None:
        title = titles.get(gate["attr"], gate["attr"])
        parts.append(title if gate.get("group") is None else f"{title} = {gate['group']}")
    if gate.get("class") is not None:
        parts.append(f"class {gate['class']}")
    return ", ".join(str(part) for part in parts) or "all"


def worst_gates(gates: Sequence[Record]) -> list[Record]:
    """As they weigh: fail, undecided where required, warn, undecided, pass."""

    def weight(gate: Record) -> tuple[int, bool]:
        required = bool(gate.get("required"))
        if gate["state"] == "undecided" and required:
            return SEVERITY["warn"] + 1, required
        return SEVERITY[gate["state"]] + (gate["state"] == "fail"), required

    return sorted(gates, key=weight, reverse=True)


def gate_figures(gate: Record) -> tuple[str, str, str]:
    """Value, interval and threshold in the gate's own unit."""
    value, interval, threshold = gate.get("value"), gate.get("ci"), gate.get("threshold")
    if gate["id"] in CHANGES:
        return _pp(points(value)), _pp(points_interval(interval)), _pp(points(threshold))
    if gate["id"] in GAPS:
        return gap(value), DASH, gap(threshold)
    if gate["id"] == "recall_ratio":
        return number(value, 2), DASH, number(threshold, 2)
    if gate["id"] == "coverage" and gate.get("group") is not None:  # images of a required group
        return count(value), DASH, count(threshold)
    return percent(value), percent_interval(interval), percent(threshold)


def _pp(text: str) -> str:
    return text if text == DASH else f"{text} pp"


def gates_table(gates: Sequence[Record], *, titles: Mapping[str, str], caption: str) -> Table:
    rows = []
    for gate in gates:
        cells = (
            GATE_NAMES.get(gate["id"]) or str(gate["id"]),
            gate_subject(gate, titles),
            state(gate["state"]),
            *gate_figures(gate),
            count(gate.get("needed_n")),
            "yes" if gate.get("required") else "no",
            str(gate.get("why") or ""),
        )
        rows.append(Row(cells=cells, state=gate["state"]))
    return Table(
        caption=caption,
        columns=("gate", "of", "state", "value", "95% interval", "threshold", "images needed", "required", "why"),
        rows=tuple(rows),
        words=frozenset({0, 1, 2, 7, 8}),
        shown=SHOWN if all(gate["state"] == "pass" for gate in gates) else MOST_OPEN,
    )  # fmt: skip


def seed_tables(seeds: Record, *, titles: Mapping[str, str]) -> list[Table]:
    """Hooker's test for every class and group, images on which seeds disagree, and churn."""
    tables = [_seed_accuracies(seeds["accuracy"])] if seeds.get("accuracy") else []
    for key, found in seeds.items():
        if key == "per_class" or key.startswith("per_group_"):
            attribute = key.removeprefix("per_group_")
            title = "class" if key == "per_class" else titles.get(attribute, attribute)
            tables.append(_welch_table(found, title))
    if churn := seeds.get("churn"):
        rows = [Row(cells=(k.replace("_", " "), percent(v))) for k, v in churn.items()]
        columns = ("between", "images with another label")
        tables.append(Table(caption="Churn: the noise floor", columns=columns, rows=tuple(rows)))
    if pie := seeds.get("pie"):
        tables += _pie_tables(pie, titles)
    return tables


def _seed_accuracies(found: Record) -> Table:
    rows = [
        Row(
            cells=(f"{model}s", percent(sum(values) / len(values)), ", ".join(map(percent, values)))
        )
        for model, values in found.items()
        if values
    ]
    columns = ("", "mean accuracy", "of each seed")
    return Table(
        caption="Accuracy across seeds", columns=columns, rows=tuple(rows), words=frozenset({0, 2})
    )


def _welch_table(found: Record, title: str) -> Table:
    rows = []
    ordered = sorted(found.items(), key=lambda item: item[1].get("normalized_difference") or 0.0)
    for name, figures in ordered:
        cells = (
            name.removeprefix("y=") if title == "class" else name,
            count(figures["n"]),
            _with_spread(figures, "teacher"),
            _with_spread(figures, "student"),
            points(figures.get("normalized_difference")),
            p_value(figures.get("welch_p")),
            p_value(figures.get("welch_p_bh")),
        )
        rows.append(Row(cells=cells))
    return Table(
        caption=f"Across seeds by {title}",
        columns=("", "n", "teachers", "students", "change against all, pp", "Welch p", "BH p"),
        rows=tuple(rows),
    )


def _with_spread(figures: Record, model: str) -> str:
    """``70.2% ± 1.1``: mean and standard deviation over seeds."""
    spread = figures.get(f"{model}_std")
    mean = percent(figures.get(f"{model}_mean"))
    return mean if spread is None else f"{mean} ± {100 * spread:.1f}"


def _pie_tables(pie: Record, titles: Mapping[str, str]) -> list[Table]:
    rows = [
        Row(cells=("images", count(pie.get("count")))),
        Row(cells=("share of all", percent(pie.get("share")))),
    ]
    for place in ("on", "off"):
        for model in ("teacher", "student"):
            text = f"accuracy of the {model}s' usual label {place} these images"
            rows.append(Row(cells=(text, percent(pie.get(f"{model}_modal_accuracy_{place}_pie")))))
    if ids := pie.get("taxicab_top5_ids"):
        rows.append(Row(cells=("images whose labels changed most", ", ".join(map(str, ids)))))
    tables = [
        Table(caption="Images whose usual label changes (PIE)", columns=("", ""), rows=tuple(rows))
    ]
    for attribute, shares in (pie.get("share_by_group") or {}).items():
        over = (pie.get("over_index_by_group") or {}).get(attribute, {})
        lines = [
            Row(cells=(name, percent(share), number(over.get(name), 2)))
            for name, share in sorted(shares.items(), key=lambda item: -(item[1] or 0.0))
        ]
        columns = ("group", "share of its images", "over-index")
        tables.append(
            Table(
                caption=f"PIE by {titles.get(attribute, attribute)}",
                columns=columns,
                rows=tuple(lines),
            )
        )
    return tables  # fmt: skip


def contested_table(contested: Sequence[Record]) -> Table:
    rows = []
    for image in contested:
        groups = ", ".join(f"{k}={v}" for k, v in (image.get("groups") or {}).items())
        cells = (
            str(image["id"]),
            str(image["label"]),
            str(image["teacher"]),
            str(image["student"]),
            percent(image.get("p_teacher")),
            percent(image.get("p_student")),
            groups,
        )
        rows.append(Row(cells=cells))
    return Table(
        caption="Images that the student lost, most contested first",
        columns=("image", "label", "teacher says", "student says", "P(label), teacher", "P(label), student", "groups"),
        rows=tuple(rows),
        words=frozenset({0, 1, 2, 3, 6}),
        shown=24,
    )  # fmt: skip


def uncertain_table(uncertain: Sequence[Record]) -> Table:
    """Of a teacher alone."""
    rows = [
        Row(
            cells=(
                str(image["id"]),
                str(image["label"]),
                str(image["teacher"]),
                percent(image["p_teacher"]),
                signed(image["margin"], 2),
                ", ".join(f"{k}={v}" for k, v in image["groups"].items()),
            )
        )
        for image in uncertain
    ]
    return Table(
        caption="Images of which the teacher is least sure",
        columns=("image", "label", "teacher says", "P(label)", "margin", "groups"),
        rows=tuple(rows),
        words=frozenset({0, 1, 2, 5}),
        shown=24,
    )


def corruption_tables(corruptions: Sequence[Record], *, titles: Mapping[str, str]) -> list[Table]:
    """Overall, then the groups of every attribute."""
    rows = [
        Row(
            cells=(
                c["name"].replace("_", " "),
                str(c["severity"]),
                percent(c.get("teacher")),
                percent(c.get("student")),
                points(c.get("change")),
            )
        )
        for c in corruptions
    ]
    columns = ("corruption", "severity", "teacher", "student", "change, pp")
    tables = [Table(caption="Accuracy on corrupted images", columns=columns, rows=tuple(rows))]
    for attribute in dict.fromkeys(a for c in corruptions for a in c.get("by") or {}):
        lines = []
        for c in corruptions:
            for name, figures in ((c.get("by") or {}).get(attribute) or {}).items():
                t, s = figures.get("teacher"), figures.get("student")
                change = points(None if t is None or s is None else s - t)
                cells = (name, c["name"].replace("_", " "), str(c["severity"]))
                lines.append(Row(cells=(*cells, percent(t), percent(s), change)))
        lines.sort(key=lambda row: row.cells[0])
        caption = f"Accuracy on corrupted images by {titles.get(attribute, attribute)}"
        words = frozenset({0, 1})
        tables.append(
            Table(caption=caption, columns=("group", *columns), rows=tuple(lines), words=words)
        )
    return tables


def attribution_table(attribution: Record, *, titles: Mapping[str, str]) -> Table:
    rows = [Row(cells=("all images", number(attribution.get("mean"))))]
    for attribute, groups in (attribution.get("by") or {}).items():
        ordered = sorted(groups.items(), key=lambda item: 2.0 if item[1] is None else item[1])
        rows += [
            Row(cells=(f"{titles.get(attribute, attribute)} = {name}", number(value)))
            for name, value in ordered
        ]
    rows.append(Row(cells=("expected by chance", number(attribution.get("chance")))))
    return Table(
        caption="Agreement of attributions of teacher and student",
        columns=("", "mean agreement"),
        rows=tuple(rows),
    )


def mapping_table(found: Record, *, caption: str) -> Table:
    """Settings, versions or hashes."""
    rows = [Row(cells=(key.replace("_", " "), plain(value))) for key, value in found.items()]
    return Table(caption=caption, columns=("", "value"), rows=tuple(rows), words=frozenset({0, 1}))
