"""The front as a table: one row a student, most accurate on val first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import pandas as pd

from autokd.pareto import is_on_distinct_front
from autokd.quantities import format_cost, share_of
from autokd.records import (
    ACCURACIES,
    ALSO_COLUMNS,
    COSTS,
    REMEASURED,
    FrontMember,
    TeacherInfo,
    TrialResult,
    Verdict,
    also_column,
    further_sets,
)

COLUMNS = (
    "rank",
    "trial",
    "student",
    "stages",
    "val_accuracy",
    "test_accuracy",
    "teacher_test_accuracy",
    "worst_group_accuracy",  # on val, of the judged groups
    "worst_change",  # on val: the accuracy change of the group that lost most against the teacher
    "gap_growth",  # on val: of the accuracy between best and worst group, against the teacher's
    "audit",  # the verdict on val
    "undecided",  # groups that val is too small to decide
    "test_audit",  # and on test
    "test_undecided",
    *REMEASURED,  # from further seeds, where the front was trained again
    "macs",
    "params",
    "latency_ms",
    "size_bytes",
    "activation_bytes",
    "accuracy_share",  # of the teacher's, on val
    "macs_share",  # of the teacher's
)

AUDIT_COLUMNS = ("worst_group_accuracy", "worst_change", "gap_growth")


def front_frame(
    front: Sequence[TrialResult], teacher: TeacherInfo, members: Sequence[FrontMember]
) -> pd.DataFrame:
    """The front in its order; `members` say what came of it on test and on further sets, once it has been tested."""
    rows = []
    further = further_sets(members)
    by_number = {member.number: member for member in members}
    for rank, result in enumerate(front, start=1):
        assert result.cost is not None
        member = by_number.get(result.number)
        audit, verdict = result.audit, member.verdict if member else None
        rows.append(
            {
                "rank": rank,
                "trial": result.number,
                "student": result.candidate.student.describe(),
                "stages": result.candidate.describe_stages(),
                "val_accuracy": result.val["accuracy"],
                "test_accuracy": verdict.accuracy if verdict else None,
                "teacher_test_accuracy": verdict.teacher_accuracy if verdict else None,
                **{name: getattr(audit, name, None) for name in AUDIT_COLUMNS},
                "audit": getattr(audit, "status", None),
                "undecided": getattr(audit, "undecided", None),
                "test_audit": verdict.audit.status if verdict else None,
                "test_undecided": verdict.audit.undecided if verdict else None,
                **{n: getattr(member.again if member else None, n, None) for n in REMEASURED},
                **{name: getattr(result.cost, name) for name in COSTS},
                "accuracy_share": share_of(result.val["accuracy"], teacher.val_accuracy),
                "macs_share": share_of(result.cost.macs, teacher.cost.macs),
            }
            | {
                also_column(name, key): also_figures(member.also.get(name) if member else None)[key]
                for name in further
                for key in ALSO_COLUMNS
            }
        )
    return pd.DataFrame(rows, columns=[*COLUMNS, *also_columns(further)])


def also_columns(names: Sequence[str]) -> list[str]:
    return [also_column(name, key) for name in names for key in ALSO_COLUMNS]


def also_in(frame: pd.DataFrame) -> list[str]:
    """The names of the further sets that a table has columns of."""
    return [
        c.split(".")[1]
        for c in frame.columns
        if c.startswith("also_test.") and c.endswith(".audit")
    ]


def also_figures(verdict: Verdict | None) -> dict[str, Any]:
    """By ALSO_COLUMNS."""
    return {
        "accuracy": verdict and verdict.accuracy,
        "teacher_accuracy": verdict and verdict.teacher_accuracy,
        "worst_group_accuracy": verdict and verdict.audit.worst_group_accuracy,
        "audit": verdict and verdict.audit.status,
    }


def stored_front(
    trials: pd.DataFrame, objectives: Sequence[str], teacher: Mapping[str, Any]
) -> pd.DataFrame:
    """The same table from a store's trials: also for a search that has not come to its end."""
    complete = trials[(trials["state"] == "complete") & trials["feasible"]]
    signs = [-1.0 if name in ACCURACIES else 1.0 for name in objectives]
    values = complete[list(objectives)].astype(float).to_numpy() * signs
    front = complete[is_on_distinct_front(values)].sort_values(
        ["val_accuracy", "number"], ascending=[False, True]
    )
    front = front.rename(columns={"number": "trial"}).reset_index(drop=True)
    return front.assign(
        rank=range(1, len(front) + 1),
        accuracy_share=front["val_accuracy"].map(
            partial(share_of, whole=float(teacher["val_accuracy"]))
        ),
        macs_share=front["macs"].map(partial(share_of, whole=float(teacher["macs"]))),
    )[[*COLUMNS, *also_columns(also_in(trials))]]


def front_page(frame: pd.DataFrame, title: str) -> str:
    """The table as a page of its own, for a browser, without columns that are empty; needs no network."""
    frame = frame.dropna(axis=1, how="all") if len(frame) else frame
    formatters: dict[Any, Any] = {name: partial(format_cost, name) for name in COSTS}
    shares = (
        "val_accuracy",
        "test_accuracy",
        "teacher_test_accuracy",
        "accuracy_share",
        "macs_share",
    )
    for name in (*shares, *AUDIT_COLUMNS, *(n for n in REMEASURED if n != "seeds")):
        formatters[name] = "{:.1%}".format
    for name in also_in(frame):
        for key in ALSO_COLUMNS[:-1]:
            formatters[also_column(name, key)] = "{:.1%}".format
    table = frame.to_html(index=False, na_rep="", border=0, formatters=formatters)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        "<style>body{font:15px/1.5 sans-serif;margin:2em}td,th{padding:.3em .8em;text-align:right}"
        "td:nth-child(3),td:nth-child(4){text-align:left}tr:nth-child(even){background:#f4f4f4}</style>\n"
        f"<h1>{escape(title)}</h1>\n{table}\n</html>\n"
    )
