"""What a search file means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from autokd.console.columns import print_table
from autokd.console.costs import COST_COLUMNS, LEAVING, cost_ranges
from autokd.console.output import console
from autokd.quantities import count_of, format_seconds

if TYPE_CHECKING:
    from autokd.engine.check import Check


def print_check(file: Path, check: Check) -> None:
    out = console()
    found = check.survey
    out.print(
        f"{file}: valid. {check.data.name}: {check.data.train_count} train, {check.data.val_count} val, "
        f"{check.data.test_count} test images of {len(check.data.class_names)} classes, "
        f"{check.data.image_size} px, {'grey' if check.data.channels == 1 else 'colour'}."
        + _without_labels(check)
    )
    for name, count in check.also_test.items():
        out.print(
            f"In the end the front is also tested on {name}: {count_of(count, 'image')}.",
            markup=False,
        )
    if check.join:
        out.print(f"Metadata: {check.join}.", markup=False)
    for note in check.weights:
        out.print(f"Teacher: {note}.", markup=False)
    if check.teacher:
        out.print(f"Teacher: {check.teacher.sentence()}.", markup=False)
        for doubt in check.teacher.doubts:
            out.print(f"[yellow]Teacher: {escape(doubt)}.[/]")
    for start in check.starts:
        out.print(f"{start}.", markup=False)
    out.print(
        f"{count_of(check.parameters, 'parameter')} {'is' if check.parameters == 1 else 'are'} searched. {found.feasible_share:.0%} of {len(found.sampled)} sampled "
        "students fit the budget."
    )
    table = Table("model", "sampled", "within\nbudget", *COST_COLUMNS)
    for model, group in found.by_model().items():
        fit = sum(s.fits for s in group)
        ranges = cost_ranges([s.cost for s in group])
        table.add_row(model, str(len(group)), str(fit) if fit else "[red]none[/red]", *ranges)
    print_table(table, text=("model",), leaving=LEAVING, elsewhere="--json has all")
    search = check.config.search
    controls = min(1.0, check.controls / search.trials)  # trained to their end
    in_turn = search.trials / search.workers
    least = in_turn * check.trial_seconds * (controls + (1 - controls) * check.least_share)
    most = in_turn * (check.trial_seconds + (check.live_seconds or 0.0))
    once = (check.teacher_seconds or 0.0) + check.donor_seconds
    out.print(
        f"On this machine ({check.device}): {_describe_teacher(check)}{_describe_donors(check)}a trial about {format_seconds(check.trial_seconds)} "
        f"({check.typical.spec.describe()}), {count_of(search.trials, 'trial')} {_between(once + least, once + most)}."
    )
    if check.crowded:
        out.print(f"[yellow]{check.crowded}.[/]")
    if check.live_seconds is not None:
        out.print(
            "Trials that mix images (mixup, cutmix) or compare maps (hint, at, sp) ask the teacher at every step: "
            f"such a trial takes about {format_seconds(check.live_seconds)} more."
        )


def _without_labels(check: Check) -> str:
    """``10 images of each class keep their labels. 400 more without labels.``"""
    kept, count = check.config.data.per_class, check.data.unlabelled_count
    said = f" {count_of(kept, 'image')} of each class of train keep their labels." if kept else ""
    return said + (f" {count} more without labels." if count else "")


def _describe_teacher(check: Check) -> str:
    """What there is to train of it, as the beginning of a list; empty for one that was made elsewhere."""
    if check.teacher_seconds is not None:
        return f"training the teacher about {format_seconds(check.teacher_seconds)} (once), "
    made_here = any(member.train for member in check.config.teacher.members)
    return "the teacher is there already, " if made_here else ""


def _describe_donors(check: Check) -> str:
    if not check.donor_seconds:
        return ""
    return f"training what heirs inherit from about {format_seconds(check.donor_seconds)} (once), "


def _between(least: float, most: float) -> str:
    """``1.5 to 4 min``, as most trials are stopped early; ``about 4 min`` where none is."""
    low, high = format_seconds(least), format_seconds(most)
    return (
        f"about {high}"
        if low == high
        else f"{low} to {high}, depending on how many are stopped early"
    )
