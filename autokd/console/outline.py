"""What is in a space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from autokd.console.columns import print_table
from autokd.console.costs import COST_COLUMNS, LEAVING, cost_ranges
from autokd.console.output import console
from autokd.quantities import count_of, format_cost

if TYPE_CHECKING:
    from autokd.engine.outline import Outline


def print_outline(file: Path, found: Outline) -> None:
    out = console()
    total = "students without number" if found.total is None else count_of(found.total, "student")
    sampled = sorted(found.survey.sampled, key=lambda each: each.cost.macs)
    fitting = len(found.survey.feasible)
    limits = ", ".join(
        f"{name} {format_cost(name, limit)}" for name, limit in found.budget.limits.items()
    )
    out.print(
        f"{file}: {total} of {count_of(len(found.students), 'model')}. Of {len(sampled)} sampled, {fitting} "
        f"({found.survey.feasible_share:.0%}) fit the budget ({limits or 'no limits'})."
    )
    table = Table("model", "students", "sampled", "within\nbudget", *COST_COLUMNS)
    for model, group in found.survey.by_model().items():
        students = found.students[model]
        count = "continuous" if students is None else f"{students:,}"
        fit = sum(each.fits for each in group)
        ranges = cost_ranges([each.cost for each in group])
        table.add_row(
            model, count, str(len(group)), str(fit) if fit else "[red]none[/red]", *ranges
        )
    print_table(table, text=("model",), leaving=LEAVING, elsewhere="--json has all")
    for name, each in (("smallest", sampled[0]), ("largest", sampled[-1])):
        cost = each.cost
        out.print(
            f"The {name} sampled: {each.spec.describe()}: {format_cost('macs', cost.macs)} MACs, "
            f"{format_cost('params', cost.params)} parameters."
        )
    values = Table("searched", "values")
    for name, distribution in found.parameters.items():
        values.add_row(name, _values(distribution))
    print_table(values, text=("searched", "values"))


def _values(distribution: Any) -> str:
    """``kd, dist, none``; ``8 to 32 in steps of 8``; ``0.001 to 0.1, logarithmic``."""
    if hasattr(distribution, "choices"):
        return ", ".join(str(choice) for choice in distribution.choices)
    text = f"{distribution.low:g} to {distribution.high:g}"
    if distribution.step and distribution.step != 1:
        text += f" in steps of {distribution.step:g}"
    return text + (", logarithmic" if distribution.log else "")
