"""The Pareto front as a table, beside teacher and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autokd.console.columns import print_table
from autokd.console.output import VERDICTS, console
from autokd.masking import without_secrets
from autokd.quantities import count_of, format_cost, share_of
from autokd.records import TeacherInfo, TrialResult, also_column
from autokd.report.frame import also_in

if TYPE_CHECKING:
    import pandas as pd

    from autokd.engine.finish import SearchResult
    from autokd.engine.sync import Synced
    from autokd.tracking.read import StoredStudy


# A terminal has no room for more; `--csv` and MLflow have all costs.
COST_HEADINGS = {"MACs": "macs", "params": "params", "latency": "latency_ms", "size": "size_bytes"}
NOTES = {  # below the table, of the columns that it has
    "stages": "T teacher, A assistant, S student, pre: first without labels, labels: trained on labels alone.",
    "val": "val chose the students, test did not.",
    "worst": "worst: accuracy of the worst group on val.",
    "audit": "audit: the verdict on test, on val while there is none; open: groups with too few images to decide.",
}
_FURTHER = "on NAME: labelled images from elsewhere (data.also_test), which chose nothing either."
SHARES = ("of T's\nacc.", "of T's\nMACs")
# In a narrow terminal, in this order. Trial, student, val, MACs and audit stay.
LEAVING = ("latency", "size", *SHARES, "stages", "params", "worst", "rank", "test")


_STATES = {"KILLED": "stopped"}  # MLflow's word for a search that was interrupted and goes on


def print_result(result: SearchResult, tracking_uri: str | None) -> None:
    """What a search came to: its front, a few sentences, and where to look further."""
    print_front(result.front, result.info.teacher, result.results)
    out = Console(soft_wrap=True, highlight=False)
    console().print(f"\n{result.summary}", markup=False)
    if result.shortfall:
        print_shortfall(result.shortfall.text())
    out.print(f"Stopped: {result.stopped_because}. Study: {result.study}")
    if result.pending or not result.links:
        count = result.pending
        missing = f"{count_of(count, 'trial')} and the front are" if count else "the front is"
        out.print(
            f"MLflow was away: {missing} not there yet, and nothing is lost. When it is back: autokd sync {result.study}"
            + (f" --tracking-uri {without_secrets(tracking_uri)}" if tracking_uri else "")
        )
    elif result.interrupted:
        out.print("The front so far is also shown by: autokd front")
    else:
        out.print(_see(tracking_uri, result.links["view"]))


def print_shortfall(text: str) -> None:
    """Why nothing here is to be shipped, and what to try instead."""
    sentence, _, advice = text.partition("\n")
    out = console()
    out.print(f"\n[bold yellow]{escape(sentence)}[/]")
    out.print(f"What to try:\n{escape(advice.strip())}\n")


def print_synced(synced: Synced, tracking_uri: str | None) -> None:
    """What the store has after `autokd sync`."""
    out = Console(soft_wrap=True, highlight=False)
    front = "the search has not ended" if synced.front is None else f"front of {synced.front}"
    out.print(
        f"{synced.study}: {count_of(synced.trials, 'trial')} and {front} are in {synced.address}"
    )
    out.print(_see(tracking_uri, synced.view))


def _see(tracking_uri: str | None, view: str) -> str:
    if tracking_uri and tracking_uri.startswith("http"):
        return f"See it at: {without_secrets(tracking_uri).rstrip('/')}/{view}"
    return f"See it with: autokd ui, then http://127.0.0.1:5000/{view}"


def print_front(frame: pd.DataFrame, teacher: TeacherInfo, results: Sequence[TrialResult]) -> None:
    """The front beside the teacher and the controls without distillation."""
    table = _front_table("Pareto front", frame)
    _add_rows(table, frame)
    table.add_section()
    _add_teacher(
        table,
        frame,
        teacher.name,
        teacher.val_accuracy,
        {n: getattr(teacher.cost, n) for n in COST_HEADINGS.values()},
    )
    for result in results:
        if result.control and result.control.startswith("no distillation") and result.cost:
            _add_control(
                table,
                frame,
                result.control,
                result.candidate.student.describe(),
                result.candidate.describe_stages(),
                result.own_accuracy,
                {n: getattr(result.cost, n) for n in COST_HEADINGS.values()},
                teacher.val_accuracy,
                teacher.cost.macs,
            )
    _print(table, frame)


def print_stored_front(frame: pd.DataFrame, stored: StoredStudy) -> None:
    """The same table, of what the store holds."""
    state = _STATES.get(stored.status, stored.status.lower())
    table = _front_table(f"{stored.study} ({state})", frame)
    _add_rows(table, frame)
    table.add_section()
    teacher = stored.teacher
    _add_teacher(
        table,
        frame,
        teacher["name"],
        teacher["val_accuracy"],
        {n: teacher.get(n) for n in COST_HEADINGS.values()},
    )
    controls = stored.trials[stored.trials["control"].fillna("").str.startswith("no distillation")]
    for row in controls.to_dict("records"):
        _add_control(
            table,
            frame,
            row["control"],
            row["student"],
            row["stages"],
            row["val_accuracy"],
            {n: row[n] for n in COST_HEADINGS.values()},
            teacher["val_accuracy"],
            teacher["macs"],
        )
    _print(table, frame)
    if stored.shortfall:
        print_shortfall(stored.shortfall)


def _front_table(title: str, frame: pd.DataFrame) -> Table:
    table = Table(title=title)
    words = ("student", "stages", "audit")
    figures = ("val", "test", *_further(frame), "worst", *COST_HEADINGS, *SHARES)
    for heading in ("rank", "trial", "student", "stages", *figures, "audit"):
        table.add_column(heading, justify="left" if heading in words else "right")
    return table


def _further(frame: pd.DataFrame) -> list[str]:
    """The heading of each further set."""
    return [f"on {name}" for name in also_in(frame)]


def _print(table: Table, frame: pd.DataFrame) -> None:
    further = _further(frame)
    *early, test = LEAVING
    shown = print_table(
        table,
        text=("student",),
        leaving=(*early, *reversed(further), test),
        elsewhere="autokd front --csv FILE has all",
    )
    notes = [note for heading, note in NOTES.items() if heading in shown]
    if "stages" in shown and any("(from " in str(c) for each in table.columns for c in each.cells):
        notes.append("from: whose weights an heir began with.")
    if {*further} & {*shown}:
        notes.append(_FURTHER)
    if frame["seeds"].notna().any():
        notes.append(
            "Second lines: mean ± standard deviation of further seeds, none of which was chosen."
        )
    console().print(" ".join(notes), style="dim italic")


def _add_rows(table: Table, frame: pd.DataFrame) -> None:
    further = also_in(frame)
    for row in frame.to_dict("records"):
        table.add_row(
            str(row["rank"]),
            str(row["trial"]),
            row["student"],
            row["stages"],
            _percent(row["val_accuracy"]) + _spread(row, "val"),
            _percent(row["test_accuracy"]) + _spread(row, "test"),
            *(_percent(row[also_column(name, "accuracy")]) for name in further),
            _percent(row["worst_group_accuracy"]),
            *(_cost(name, row[name]) for name in COST_HEADINGS.values()),
            _percent(row["accuracy_share"]),
            _percent(row["macs_share"]),
            _verdict(row),
        )


def _add_teacher(
    table: Table, frame: pd.DataFrame, name: str, accuracy: float, costs: dict[str, Any]
) -> None:
    shown = [_cost(n, costs[n]) for n in COST_HEADINGS.values()]
    columns = [
        "teacher_test_accuracy",
        *(also_column(n, "teacher_accuracy") for n in also_in(frame)),
    ]
    known = [frame[column].dropna() for column in columns]
    tested = [_percent(each.iloc[0]) if len(each) else "" for each in known]
    table.add_row("", "", name, "T", _percent(accuracy), *tested, "", *shown, "100.0 %", "100.0 %")


def _add_control(
    table: Table,
    frame: pd.DataFrame,
    control: str,
    student: str,
    stages: str,
    accuracy: Any,
    costs: dict[str, Any],
    teacher_accuracy: float,
    teacher_macs: float,
) -> None:
    known = accuracy is not None and accuracy == accuracy
    table.add_row(
        "",
        "",
        f"{student} ({control.removeprefix('no distillation, ')})",
        stages,
        _percent(accuracy),
        "",
        *("" for _ in also_in(frame)),
        "",
        *(_cost(n, costs[n]) for n in COST_HEADINGS.values()),
        _percent(share_of(accuracy, teacher_accuracy) if known else None),
        _percent(share_of(costs["macs"], teacher_macs)),
    )


def _spread(row: Mapping[Any, Any], split: str) -> str:
    """A second line where there are further seeds: ``97.2 ± 0.4``; without a spread where there was one."""
    mean, std = row[f"{split}_mean"], row[f"{split}_std"]
    if mean is None or mean != mean:
        return ""
    return f"\n{100 * mean:.1f}" + ("" if std is None or std != std else f" ± {100 * std:.1f}")


def _verdict(row: Mapping[Any, Any]) -> str:
    """On test where there is one: that on val chose the student."""
    import pandas as pd

    for split in ("test_", ""):
        verdict, undecided = row[f"{split}audit"], row[f"{split}undecided"]
        if isinstance(verdict, str):
            more = "" if pd.isna(undecided) or not undecided else f", {undecided:.0f} open"
            return f"[{VERDICTS[verdict]}]{verdict}[/]{more}"
    return ""


def _percent(share: Any) -> str:
    return "" if share is None or share != share else f"{100 * share:.1f} %"


def _cost(name: str, value: Any) -> str:
    return "" if value is None or value != value else format_cost(name, float(value))
