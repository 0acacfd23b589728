"""The front as text: which student to ship, a table with links to runs, and how to go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autokd.quantities import format_bytes, format_count
from autokd.records import (
    Cost,
    FrontMember,
    Places,
    Remeasured,
    SearchInfo,
    TrialResult,
    Verdict,
    further_sets,
)
from autokd.report.choice import choice_sentence, choose

# Heading, and how a cost is written; a column appears when some member has the cost.
_COSTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("macs", "MACs", format_count),
    ("params", "params", format_count),
    ("size_bytes", "size", format_bytes),
    ("activation_bytes", "activations", format_bytes),
    ("latency_ms", "latency", lambda value: f"{value:.3g} ms"),
)
NOTE_LENGTH = 7900  # characters of a run's description; MLflow cuts in silence at 8,000


def front_markdown(
    front: Sequence[TrialResult],
    members: Sequence[FrontMember],
    info: SearchInfo,
    places: Places,
    *,
    summary: str,
    shortfall: str = "",
) -> str:
    """The whole of it, as a file of the report. `shortfall`: why no student is good enough, and what to try."""
    advice = _emphasised(shortfall) or _advice(front, members, info, places)
    table = "\n".join(_table(front, members, places))
    return f"# Pareto front\n\n{advice}\n\n{summary.strip()}\n\n{table}\n\n{_how(members)}\n\n{_next(front, info, ship=not shortfall)}\n"


def front_note(
    front: Sequence[TrialResult],
    members: Sequence[FrontMember],
    info: SearchInfo,
    places: Places,
    *,
    summary: str,
    shortfall: str = "",
) -> str:
    """The description of the search's own run: as many rows of the table as it holds, the front's order."""
    links = " · ".join(
        (
            f"[Charts of all trials]({places.view})",
            *(f"[{words}]({places.report.format(name)})" for name, words in _FILES.items()),
        )
    )
    advice = _emphasised(shortfall) or _advice(front, members, info, places)
    table = _table(front, members, places)
    whole = len(table)
    while True:
        rest = "" if len(table) == whole else "\n\nThe rest is in report.md."
        note = "\n\n".join(
            (
                advice,
                summary.strip(),
                "\n".join(table) + rest,
                links,
                _next(front, info, ship=not shortfall),
            )
        ).strip()
        if len(note) <= NOTE_LENGTH or len(table) <= 2:
            return note[:NOTE_LENGTH]
        table.pop()


_FILES = {
    "pareto.html": "picture of all trials",
    "parallel.html": "their parameters",
    "insight.html": "what decided, what was rejected",
    "fairness.html": "who lost most",
    "report.md": "report",
}


def _advice(
    front: Sequence[TrialResult],
    members: Sequence[FrontMember],
    info: SearchInfo,
    places: Places,
) -> str:
    return "\n\n".join(
        choice_sentence(choice, info.teacher, link=places.trials[choice.result.number])
        for choice in choose(front, members, info.objectives)
    )


def _table(
    front: Sequence[TrialResult], members: Sequence[FrontMember], places: Places
) -> list[str]:
    """Its lines."""
    if not front:
        return []
    columns = [c for c in _COSTS if any(_value(r.cost, c[0]) is not None for r in front)]
    repeated = any(member.again for member in members)
    further = further_sets(members)
    heading = [
        "rank",
        "trial",
        "student",
        "val",
        _heading("test", [member.verdict for member in members]),
        *(("val, further seeds", "test, further seeds") if repeated else ()),
        *(_heading(f"on {name}", [m.also.get(name) for m in members]) for name in further),
        *(c[1] for c in columns),
        "audit",
    ]
    rows = [heading, ["---"] * len(heading)]
    for result, member in zip(front, members, strict=True):
        verdict = member.verdict
        audit = verdict.audit if verdict else result.audit
        row = [str(member.rank), f"[{result.name}]({places.trials[result.number]})"]
        row += [result.candidate.student.describe().replace("|", "\\|")]
        row += [
            _percent(result.val.get("accuracy")),
            _percent(verdict.accuracy if verdict else None),
            *(_spreads(member.again) if repeated else ()),
            *(_on(member.also.get(name)) for name in further),
        ]
        for name, _, written in columns:
            value = _value(result.cost, name)
            row.append("–" if value is None else written(value))
        rows.append([*row, audit.status if audit else "–"])
    return [f"| {' | '.join(row)} |" for row in rows]


def _heading(words: str, verdicts: Sequence[Verdict | None]) -> str:
    """``test (teacher 91.20%)``, once it has been asked."""
    known = [v.teacher_accuracy for v in verdicts if v and v.teacher_accuracy is not None]
    return f"{words} (teacher {_percent(known[0])})" if known else words


def _on(verdict: Verdict | None) -> str:
    """``54.10%, fail``"""
    return "–" if verdict is None else f"{_percent(verdict.accuracy)}, {verdict.audit.status}"


def _how(members: Sequence[FrontMember]) -> str:
    seeds = _SEEDS if any(member.again for member in members) else ""
    further = _FURTHER if any(member.also for member in members) else ""
    return " ".join(filter(None, (_NOTE, seeds, further)))


def _emphasised(shortfall: str) -> str:
    sentence, _, rest = shortfall.partition("\n")
    return f"**{sentence}**\n\nWhat to try:\n{rest}" if shortfall else ""


def _next(front: Sequence[TrialResult], info: SearchInfo, *, ship: bool) -> str:
    """Commands that go on from here; how to `ship` a student where one is good enough."""
    if not front:
        return ""
    name = f"{info.study}/{front[0].number}"
    text = (
        f"To search again: `autokd search search.yaml --seed {info.seed}` with `search.yaml` of this run's files. To train one again: "
        f"`autokd run {name}`"
    )
    if ship:
        text += f"; to ship it: `autokd export {name} --output DIR`; to put it into the model registry: `autokd register {name} --name NAME`"
    return f"{text}."


_NOTE = (
    "Val chose the students and so flatters them; test was looked at once, for these alone; audit: the verdict on test. "
    "`pareto.html` beside this file shows all trials; `front.csv` holds the table."
)

_SEEDS = (
    "Further seeds: mean ± standard deviation of trainings that were not chosen by their accuracy."
)

_FURTHER = "On NAME: accuracy and the audit's verdict on a further set (data.also_test), which chose nothing."


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
