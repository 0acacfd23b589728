"""audit.md: the audit on a page, for a pull request or a terminal. The figures of all groups are in audit.json."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from autokd.fairness.advice import advice
from autokd.fairness.display import DASH, SYMBOLS, after_status
from autokd.fairness.record_tables import gates_table, worst_gates
from autokd.fairness.sections import class_names
from autokd.fairness.tables import (
    Table,
    attribute_titles,
    change_table,
    comparison,
    model_table,
    models_of,
)

Record = Mapping[str, Any]

WORST = 12  # rows of a table
KEPT = ("group", "state", "n", "teacher", "student", "change", "95% interval", "regressed / fixed", "Holm p", "images needed")  # fmt: skip
SPECIAL = re.compile(r"([\\`*_{}\[\]|#~$]|<(?=[A-Za-z/!?]))")


def audit_markdown(record: Record) -> str:
    title = f": {escape(record['title'])}" if record.get("title") else ""
    lines = [f"# Fairness audit{title}", ""]
    lines += [
        f"**{SYMBOLS[record['status']]} {record['status'].upper()}** (exit code {record['exit_code']})",
        "",
    ]
    lines += [line for sentence in after_status(record) for line in (escape(sentence), "")]
    lines += ["What to do (numbers in brackets are sections of audit.html):", ""]
    lines += [*(f"- {escape(sentence)}" for sentence in advice(record)), ""]
    if reason := record["policy"].get("accept_teacher_bias"):
        lines += [f"**The teacher's bias was accepted in writing.** Reason: {escape(reason)}", ""]
    lines += _data(record)
    titles = attribute_titles(record["by"])
    for name, block in record["by"].items():
        lines += [f"## {escape(titles[name])}", "", *_attribute(record, name, block), ""]
    lines += ["## Gates that are not passed", "", *_gates(record, titles), ""]
    lines += ["## Limits", "", *(f"- {escape(limit)}" for limit in record["limits"])]
    lines += [
        "",
        f"{DASH}: undefined (0/0) or not applicable; why is in audit.json under reasons, with all figures.",
    ]
    return "\n".join(lines) + "\n"  # fmt: skip


def escape(text: Any) -> str:
    """Text that stands for itself, on one line, in a table's cell too."""
    return SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def _data(record: Record) -> list[str]:
    data = record["data"]
    split = f" of {escape(data['split'])}" if data.get("split") else ""
    lines = [f"- {data['rows']:,} images{split}, {data['classes']} classes"]
    if clusters := data.get("clusters"):
        lines.append(
            f"- {clusters['count']:,} clusters, the largest with {clusters['largest']:,} images"
        )
    if join := data.get("join"):
        rows = (f"{escape(k.replace('_', ' '))} {escape(v)}" for k, v in join.items())
        lines.append("- rows joined and lost: " + ", ".join(rows))
    lines += [
        f"- {escape(name)}: {n:,} images without a value"
        for name, n in data["missing"].items()
        if n
    ]
    return [*lines, *(f"- {escape(note)}" for note in data.get("notes") or []), ""]  # fmt: skip


def _attribute(record: Record, name: str, block: Record) -> list[str]:
    if comparison(block):
        table = change_table(block, attribute=name)
    else:
        model = models_of(block)[-1]
        table = model_table(block, model, attribute=name, class_names=class_names(record))
    return _table(table, kept=KEPT if comparison(block) else table.columns, what="groups")


def _gates(record: Record, titles: Mapping[str, str]) -> list[str]:
    asked = [gate for gate in record["gates"] if gate["threshold"] is not None]  # a floor may be
    open_gates = [gate for gate in worst_gates(asked) if gate["state"] != "pass"]
    if not open_gates:
        return ["None."]
    kept = ("gate", "of", "state", "value", "threshold", "images needed", "why")
    return _table(gates_table(open_gates, titles=titles, caption=""), kept=kept, what="gates")


def _table(table: Table, *, kept: Sequence[str], what: str) -> list[str]:
    """The first rows, which are the worst, of the columns whose name begins as one that is kept."""
    places = [i for i, column in enumerate(table.columns) if column.startswith(tuple(kept))]
    head = [escape(table.columns[i]) for i in places]
    rule = [":--" if i in table.words else "--:" for i in places]
    lines = [_line(head), _line(rule)]
    for row in table.rows[:WORST]:
        lines.append(_line([escape(row.cells[i]) for i in places]))
    if (left := len(table.rows) - WORST) > 0:
        lines += ["", f"{left} more {what} are in audit.json; these are the {WORST} worst."]
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
