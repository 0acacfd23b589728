"""The front as text: a table with links to its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from autokd.quantities import format_bytes, format_count
from autokd.records import Cost, FrontMember, Remeasured, TrialResult
from autokd.tracking.trial_run import run_name

# Heading, and how a cost is written; a column appears when some member has the cost.
_COSTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("macs", "MACs", format_count),
    ("params", "params", format_count),
    ("size_bytes", "size", format_bytes),
    ("activation_bytes", "activations", format_bytes),
    ("latency_ms", "latency", lambda value: f"{value:.3g} ms"),
)


def front_markdown(
    front: Sequence[FrontMember],
    trials: Mapping[int, TrialResult],
    pages: Mapping[int, str],
    *,
    summary: str,
) -> str:
    """`pages` are the runs' places in MLflow's interface, by the trial's number."""
    costs = [(trials[member.number].cost, member) for member in front]
    columns = [c for c in _COSTS if any(_value(cost, c[0]) is not None for cost, _ in costs)]
    repeated = any(member.again for member in front)
    heading = [
        "rank",
        "trial",
        "student",
        "val accuracy",
        "test accuracy",
        *(("val, further seeds", "test, further seeds") if repeated else ()),
        *(c[1] for c in columns),
    ]
    rows = [heading, ["---"] * len(heading)]
    for member in sorted(front, key=lambda member: member.rank):
        result = trials[member.number]
        row = [str(member.rank), f"[{run_name(result)}]({pages[member.number]})"]
        row += [result.candidate.student.describe().replace("|", "\\|")]
        row += [
            _percent(result.val.get("accuracy")),
            _percent(member.verdict.accuracy if member.verdict else None),
            *(_spreads(member.again) if repeated else ()),
        ]
        for name, _, written in columns:
            value = _value(result.cost, name)
            row.append("–" if value is None else written(value))
        rows.append(row)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    note = f"{_NOTE} {_SEEDS}" if repeated else _NOTE
    return f"# Pareto front\n\n{summary.strip()}\n\n{table}\n\n{note}\n"


_NOTE = (
    "Val chose the students and so flatters them; test was looked at once, for these alone. "
    "`pareto.html` beside this file shows all trials; `front.csv` holds the table."
)

_SEEDS = (
    "Further seeds: mean ± standard deviation of trainings that were not chosen by their accuracy."
)


def _spreads(again: Remeasured | None) -> tuple[str, str]:
    """Mean ± standard deviation on val and on test."""
    if again is None:
        return "–", "–"
    pairs = ((again.val_mean, again.val_std), (again.test_mean, again.test_std))
    shown = [_percent(mean) + (f" ± {std:.2%}" if std is not None else "") for mean, std in pairs]
    return shown[0], shown[1]


def _value(cost: Cost | None, name: str) -> float | None:
    return None if cost is None else getattr(cost, name)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
