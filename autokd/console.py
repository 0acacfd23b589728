"""What the commands print: tables, a progress bar, a few sentences. Reads records, decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.logging import RichHandler
from rich.markdown import Markdown
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.table import Table

from autokd.quantities import format_cost, format_seconds
from autokd.records import COSTS, Cost, TeacherInfo, TrialResult

if TYPE_CHECKING:
    import pandas as pd

    from autokd.config import Config
    from autokd.engine.check import Check
    from autokd.engine.finish import SearchResult
    from autokd.engine.progress import Progress
    from autokd.engine.rerun import Rerun
    from autokd.engine.search import Observe
    from autokd.engine.status import Status
    from autokd.fairness.audit import Audit
    from autokd.tracking.read import StoredStudy

VERDICTS = {"pass": "green", "warn": "yellow", "undecided": "cyan", "fail": "bold red"}
MOST_GATES = 12  # that are printed
WIDTH = 176  # of output that goes to a file or a pipe


def console() -> Console:
    """For standard output. A pipe gets whole lines, not those of an imagined narrow terminal."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=WIDTH)


@contextmanager
def watch(config: Config) -> Iterator[Observe]:
    """A progress bar in a terminal, log lines elsewhere, while a search runs."""
    errors = Console(stderr=True, highlight=False)
    if not errors.is_terminal:
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    else:
        handler = RichHandler(console=errors, show_path=False, show_level=False, markup=False)
    logger = logging.getLogger("autokd")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    bar = Bar(*columns, console=errors, transient=True, disable=not errors.is_terminal)
    line = bar.add_task("trials", total=config.search.trials, note="")
    seen = -1

    def observe(progress: Progress) -> None:
        nonlocal seen
        bar.update(line, completed=progress.trained, note=_note(progress))
        if seen < 0 and progress.results:
            logger.info("going on with a search of %d trials", len(progress.results))
        elif progress.latest is not None:
            logger.info("%s", describe_trial(progress))
        seen = len(progress.results)

    try:
        with bar:
            yield observe
    finally:
        logger.removeHandler(handler)


def describe_trial(progress: Progress) -> str:
    """The latest trial in one line: ``7 complete: resnet …, val 97.2 %, 345k MACs, 3 s, on the front``."""
    result = progress.latest
    assert result is not None
    became = result.state
    if became == "stopped":  # for now: it may go on
        became = f"after {len(result.history)} of {result.candidate.epochs} epochs"
    parts = [f"trial {result.number} {became}: {result.candidate.student.describe()}"]
    if result.val:
        assert result.cost is not None
        parts.append(f"{result.candidate.describe_stages()}")
        parts.append(f"val {result.val['accuracy']:.2%}")
        parts.append(f"{format_cost('macs', result.cost.macs)} MACs")
        parts.append(format_seconds(result.seconds))
        if result.number in _numbers(progress.front):
            parts.append("on the front")
    elif result.reason:
        parts.append(result.reason)
    if result.control:
        parts.append(f"control: {result.control}")
    return ", ".join(parts) + f" [{progress.trained}/{progress.target}, {_note(progress)}]"


def print_result(result: SearchResult, tracking_uri: str | None) -> None:
    """What a search came to: its front, a few sentences, and where to look further."""
    print_front(result.front, result.info.teacher, result.results)
    out = Console(soft_wrap=True, highlight=False)
    out.print(f"\n{result.summary}")
    out.print(f"Stopped: {result.stopped_because}. Study: {result.study}")
    if result.pending:
        out.print(
            f"MLflow was away: {result.pending} trials are not there yet; run the command again."
        )
    elif result.interrupted:
        out.print("The front so far is also shown by: autokd front")
    elif tracking_uri and tracking_uri.startswith("http"):
        out.print(f"See it at: {tracking_uri.rstrip('/')}/{result.links['view']}")
    else:
        out.print(f"See it with: autokd ui, then http://127.0.0.1:5000/{result.links['view']}")


def print_front(frame: pd.DataFrame, teacher: TeacherInfo, results: Sequence[TrialResult]) -> None:
    """The front beside the teacher and the controls without distillation."""
    table = _front_table("Pareto front", frame)
    _add_rows(table, frame)
    table.add_section()
    _add_teacher(
        table, teacher.name, teacher.val_accuracy, {n: getattr(teacher.cost, n) for n in COSTS}
    )
    for result in results:
        if result.control and result.control.startswith("no distillation") and result.cost:
            _add_control(
                table,
                result.control,
                result.candidate.student.describe(),
                result.val.get("accuracy"),
                {n: getattr(result.cost, n) for n in COSTS},
                teacher.val_accuracy,
                teacher.cost.macs,
            )
    console().print(table)


def print_stored_front(frame: pd.DataFrame, stored: StoredStudy) -> None:
    """The same table, of what the store holds."""
    table = _front_table(f"{stored.study} ({stored.status.lower()})", frame)
    _add_rows(table, frame)
    table.add_section()
    teacher = stored.teacher
    _add_teacher(
        table, teacher["name"], teacher["val_accuracy"], {n: teacher.get(n) for n in COSTS}
    )
    controls = stored.trials[stored.trials["control"].fillna("").str.startswith("no distillation")]
    for row in controls.to_dict("records"):
        _add_control(
            table,
            row["control"],
            row["student"],
            row["val_accuracy"],
            {n: row[n] for n in COSTS},
            teacher["val_accuracy"],
            teacher["macs"],
        )
    console().print(table)


def print_status(status: Status) -> None:
    out = console()
    counts = ", ".join(f"{count} {state}" for state, count in sorted(status.counts.items()))
    age = format_seconds(status.age)
    state = f"ended: {status.ended}" if status.ended else "running"
    out.print(f"{status.study} {state}; last heard of {age} ago")
    out.print(
        f"{status.begun} of {status.target} trials begun ({counts or 'none done'}), {status.epochs} epochs, "
        f"hypervolume {status.hypervolume:.3f}"
    )
    if status.ended is None and status.seconds_left is not None:
        out.print(f"about {format_seconds(status.seconds_left)} left")
    if status.running and status.ended is None:
        table = Table("trial", "student", "stages", "epochs", "val so far", title="Running")
        for each in status.running:
            accuracy = "–" if each.val_accuracy is None else f"{each.val_accuracy:.1%}"
            epochs = f"{each.epochs} → {each.until} of {each.total}"
            table.add_row(str(each.number), each.student, each.stages, epochs, accuracy)
        out.print(table)
    if status.front:
        table = Table("trial", "student", "val", "MACs", title="Front so far")
        for member in status.front:
            macs = format_cost("macs", member["macs"])
            table.add_row(
                str(member["number"]), member["student"], f"{member['val_accuracy']:.1%}", macs
            )
        out.print(table)


def print_markdown(text: str) -> None:
    console().print(Markdown(text))


def print_check(file: Path, check: Check) -> None:
    out = console()
    found = check.survey
    out.print(
        f"{file}: valid. {check.data.name}: {check.data.train_count} train, {check.data.val_count} val, "
        f"{check.data.test_count} test images of {len(check.data.class_names)} classes, "
        f"{check.data.image_size} px, {check.data.channels} channels."
    )
    out.print(
        f"{check.parameters} parameters are searched. {found.feasible_share:.0%} of {len(found.sampled)} sampled "
        "students fit the budget."
    )
    table = Table("model", "sampled", "within budget", "MACs", "params", "size")
    for model, group in check.by_model().items():
        fit = sum(s.fits for s in group)
        ranges = [
            _range(name, [s.cost for s in group]) for name in ("macs", "params", "size_bytes")
        ]
        table.add_row(model, str(len(group)), str(fit) if fit else "[red]none[/red]", *ranges)
    out.print(table)
    trials = check.config.search.trials
    total = trials * check.trial_seconds / check.config.search.workers + (
        check.teacher_seconds or 0
    )
    teacher = (
        f"training the teacher about {format_seconds(check.teacher_seconds)} (once), "
        if check.teacher_seconds is not None
        else ""
    )
    out.print(
        f"On this machine ({check.device}): {teacher}a trial about {format_seconds(check.trial_seconds)} "
        f"({check.typical.spec.describe()}), {trials} trials about {format_seconds(total)}."
    )


def print_rerun(rerun: Rerun) -> None:
    out = console()
    result, recorded = rerun.result, rerun.recorded
    out.print(f"{result.candidate.student.describe()}: {result.candidate.describe_stages()}")
    if result.state != "complete":
        out.print(f"{result.state}: {result.reason}")
        return
    new, old = result.val["accuracy"], recorded.val_accuracy
    known = f"recorded {old:.4%}" if old is not None else "none recorded"
    verdict = " (the same)" if old == new else ""
    out.print(f"val accuracy {new:.4%}, {known}{verdict}; {format_seconds(result.seconds)}")
    if not rerun.same_teacher:
        out.print(
            "The teacher is not the one of the record: it was trained anew, or its file has changed."
        )


def print_audit(audit: Audit, folder: Path) -> None:
    """The verdict, who lost what, what is not plainly passed, and where the report lies."""
    from autokd.fairness.record_tables import gate_subject, worst_gates
    from autokd.fairness.tables import attribute_titles

    out = console()
    record = audit.record
    for sentence in record["summary"]:
        out.print(sentence, markup=False, soft_wrap=True)
    asked = [gate for gate in record["gates"] if gate["threshold"] is not None]  # a floor may be
    open_gates = [gate for gate in asked if gate["state"] != "pass"]
    if open_gates:
        table = Table("gate", "of", "state", "why", box=SIMPLE_HEAD, pad_edge=False)
        for gate in worst_gates(open_gates)[:MOST_GATES]:
            table.add_row(
                gate["id"].replace("_", " "),
                escape(gate_subject(gate, attribute_titles(record["by"]))),
                f"[{VERDICTS[gate['state']]}]{gate['state']}[/]",
                escape(gate["why"]),
            )
        out.print(table)
    if (more := len(open_gates) - MOST_GATES) > 0:
        out.print(f"{more} more gates that are not passed are in the report.")
    out.print(f"Report: {folder / 'audit.html'}", markup=False, soft_wrap=True)


def print_cost(model: str, image_size: int, cost: Cost) -> None:
    table = Table("cost", "value", title=f"{model}, {image_size} px", show_header=False)
    table.add_row("MACs", f"{format_cost('macs', cost.macs)} ({cost.macs:,})")
    table.add_row("FLOPs (2 x MACs)", format_cost("macs", 2 * cost.macs))
    table.add_row("parameters", f"{format_cost('params', cost.params)} ({cost.params:,})")
    table.add_row(f"file size, {cost.weight_dtype}", format_cost("size_bytes", cost.size_bytes))
    if cost.latency_ms is not None and cost.latency_p90_ms is not None:
        busy = ", while the machine was busy" if cost.contended else ""
        table.add_row(
            "latency, batch 1",
            f"median {format_cost('latency_ms', cost.latency_ms)}, "
            f"p90 {format_cost('latency_ms', cost.latency_p90_ms)} ({cost.device}){busy}",
        )
    console().print(table)


def _front_table(title: str, frame: pd.DataFrame) -> Table:
    repeated = frame["seeds"].notna().any()
    caption = (
        "T teacher, A assistant, S student, labels: trained on labels alone. val chose the students, test did not. "
        "worst: accuracy of the worst group on val; audit: the verdict on test, on val while there is none; open: groups "
        "with too few images to decide."
    )
    if repeated:
        caption += (
            " Second lines: mean ± standard deviation of further seeds, none of which was chosen."
        )
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in ("rank", "trial"):
        table.add_column(heading, justify="right")
    table.add_column("student", overflow="fold", min_width=16)
    for heading in ("stages", "val", "test", "worst", "MACs", "params", "latency", "size"):
        table.add_column(heading, justify="left" if heading == "stages" else "right", no_wrap=True)
    for heading in ("of T's acc.", "of T's MACs"):
        table.add_column(heading, justify="right", max_width=7)
    table.add_column("audit", no_wrap=True)
    return table


def _add_rows(table: Table, frame: pd.DataFrame) -> None:
    for row in frame.to_dict("records"):
        table.add_row(
            str(row["rank"]),
            str(row["trial"]),
            row["student"],
            row["stages"],
            _percent(row["val_accuracy"]) + _spread(row, "val"),
            _percent(row["test_accuracy"]) + _spread(row, "test"),
            _percent(row["worst_group_accuracy"]),
            *(_cost(name, row[name]) for name in COSTS),
            _percent(row["accuracy_share"]),
            _percent(row["macs_share"]),
            _verdict(row),
        )


def _spread(row: Mapping[Any, Any], split: str) -> str:
    """A second line where there are further seeds: ``97.2 ± 0.4``; without a spread where there was one."""
    mean, std = row[f"{split}_mean"], row[f"{split}_std"]
    if mean is None or mean != mean:
        return ""
    return f"\n{100 * mean:.1f}" + ("" if std is None or std != std else f" ± {100 * std:.1f}")


def _add_teacher(table: Table, name: str, accuracy: float, costs: dict[str, Any]) -> None:
    shown = [_cost(n, costs[n]) for n in COSTS]
    table.add_row("", "", name, "T", _percent(accuracy), "", "", *shown, "100.0 %", "100.0 %")


def _add_control(
    table: Table,
    control: str,
    student: str,
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
        "labels→S",
        _percent(accuracy),
        "",
        "",
        *(_cost(n, costs[n]) for n in COSTS),
        _percent(accuracy / teacher_accuracy if known else None),
        _percent(costs["macs"] / teacher_macs),
    )


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


def _range(name: str, costs: Sequence[Cost]) -> str:
    values = [getattr(cost, name) for cost in costs]
    low, high = format_cost(name, min(values)), format_cost(name, max(values))
    return low if low == high else f"{low} – {high}"


def _numbers(results: Sequence[TrialResult]) -> set[int]:
    return {result.number for result in results}


def _note(progress: Progress) -> str:
    if not progress.front:
        return "no front yet"
    best = progress.front[0].val["accuracy"]
    note = f"front {len(progress.front)}, best {best:.1%}, hypervolume {progress.hypervolume:.3f}"
    left = progress.seconds_left
    return note + (f", {format_seconds(left)} left" if left is not None else "")
