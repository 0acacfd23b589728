"""The audit of a student against its teacher, as one function and one record. The figures come from the files beside."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autokd.errors import DataError, storage_errors
from autokd.fairness.by_attribute import attribute_record, make_cut, overall_change
from autokd.fairness.gate import Gate, overall_status
from autokd.fairness.gates import images_needed
from autokd.fairness.groups import (
    MISSING,
    class_attribute,
    cluster_codes,
    everyone,
    read_attributes,
)
from autokd.fairness.inputs import (
    Inputs,
    build_model,
    read_class_names,
    read_ids,
    read_labels,
    read_model,
    read_seeds,
)
from autokd.fairness.judgement import correction, judge
from autokd.fairness.provenance import data_record, left_out, limits, oddities, rows_hash, versions
from autokd.fairness.rates import ece_by_class, measure, rates_record
from autokd.fairness.reasons import reasons
from autokd.fairness.seeds import across_seeds
from autokd.fairness.shortlist import contested, uncertain
from autokd.fairness.words import summary
from autokd.records import AuditFigures, AuditPolicy

SCHEMA = "autokd.audit/1"
UNDEFINED = (  # audit.json has it figure by figure, as "reasons"
    "null = undefined: 0/0, a rate of no rows, a comparison of fewer than two groups, "
    "probabilities that were not given, a list by class where a group is one class, "
    "or a confusion matrix of more than 200,000 cells"
)
EXIT_CODES = {"pass": 0, "warn": 0, "fail": 1, "undecided": 3}


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that an audit found: `record` is audit.json."""

    record: Mapping[str, Any]

    @property
    def status(self) -> str:
        """pass, warn, undecided or fail."""
        return str(self.record["status"])

    @property
    def exit_code(self) -> int:
        """0: pass or warn; 1: fail; 3: undecided."""
        return int(self.record["exit_code"])

    def to_dict(self) -> dict[str, Any]:
        return dict(self.record)

    def to_html(self) -> str:
        from autokd.fairness.page import audit_html

        return audit_html(self.record)

    def to_markdown(self) -> str:
        from autokd.fairness.markdown import audit_markdown

        return audit_markdown(self.record)

    def figures(self) -> AuditFigures:
        """Of the student, or of the teacher where it was audited alone; over attributes and their crossings."""
        by = self.record["by"]
        name = "student" if self.record["overall"]["student"] else "teacher"
        between = {attr: values[name]["aggregates"]["judged_groups"] for attr, values in by.items()}
        worst = _least(
            (values[name]["groups"][group]["accuracy"], f"{attr}={group}")
            for attr, values in by.items()
            for group in values["judged"]
        )
        changed = _least(
            (values["student_vs_teacher"]["groups"][group]["accuracy_delta"], f"{attr}={group}")
            for attr, values in by.items()
            if values["student_vs_teacher"]
            for group in values["judged"]
        )
        grown = [v["amplification"]["accuracy_gap"] for v in by.values() if v["amplification"]]
        lines = self.record["summary"]
        return AuditFigures(
            status=self.status,
            sentence=lines[min(1, len(lines) - 1)],
            worst_group=worst[1],
            worst_group_accuracy=worst[0],
            worst_label_group_accuracy=_least(
                (each["worst_label_group_accuracy"], "") for each in between.values()
            )[0],
            accuracy_gap=_most(each["accuracy"]["difference"] for each in between.values()),
            gap_growth=_most(grown),
            worst_change_group=changed[1],
            worst_change=changed[0],
            undecided=sum(
                gate["id"] == "group_harmed" and gate["state"] == "undecided"
                for gate in self.record["gates"]
            ),
        )

    def save(self, folder: str | Path) -> None:
        """audit.json, audit.md and audit.html."""
        folder = Path(folder)
        text = json.dumps(self.record, indent=1, allow_nan=False, ensure_ascii=False)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "audit.json").write_text(text + "\n", encoding="utf-8")
            (folder / "audit.md").write_text(self.to_markdown(), encoding="utf-8")
            (folder / "audit.html").write_text(self.to_html(), encoding="utf-8")


def audit(
    labels: Any,
    student: Any = None,
    *,
    teacher: Any = None,
    assistants: Mapping[str, Any] | None = None,
    groups: Any = None,
    cluster: Any = None,
    class_names: Sequence[str] | None = None,
    ids: Any = None,
    teacher_seeds: Any = None,
    student_seeds: Any = None,
    policy: AuditPolicy = AuditPolicy(),  # noqa: B008 - frozen
    about: Mapping[str, Any] | None = None,
) -> Audit:
    """Audit a student against its teacher on the same rows, group by group; either of them alone works too.

    `labels` are (N,) from 0; a model is (N, C) probabilities or (N,) predicted labels. `groups` is a mapping or
    DataFrame of columns with N values each; None: the classes are the groups. `cluster` says which rows belong
    together (patient, writer). `*_seeds` are (K, N) predicted labels of K trainings. `about` goes into the record:
    title, split, join, notes, hashes, generalisation, thumbnails. Raises DataError for input that can't be audited.
    """
    about = about or {}
    inputs = _read_inputs(
        labels, student, teacher, assistants or {}, groups, cluster, class_names, ids, policy
    )
    times = correction(inputs)
    # So many draws that the least p there is stays below 5% after correction.
    draws = max(policy.resamples, 40 * times)
    by = {
        each.name: attribute_record(make_cut(inputs, each, draws=draws, policy=policy))
        for each in inputs.attributes
    }
    overall = _overall(inputs, policy)
    gates = judge(by, overall, inputs, policy=policy)
    _write_states(by, gates, policy)
    trained = read_seeds(inputs, teacher_seeds, student_seeds)
    seeds = trained and across_seeds(
        inputs.labels,
        *trained,
        inputs.attributes,
        inputs.class_names,
        ids=inputs.ids,
        min_group_n=policy.min_group_n,
    )
    caveats = limits(inputs, gates, by=by, about=about, seeds=seeds, times=times, policy=policy)
    record = {
        "schema": SCHEMA,
        **_verdict(inputs, gates, policy),
        "title": about.get("title"),
        "n": len(inputs.labels),
        "data": data_record(inputs, about, by=by, policy=policy),
        "policy": asdict(policy) | {"missing_label": MISSING},
        "overall": overall,
        "by": by,
        "gates": [gate.to_dict() for gate in gates],
        "across_seeds": seeds,
        "generalisation": about.get("generalisation"),
        "contested": contested(inputs, about),
        "uncertain": uncertain(inputs, about),
        "limits": caveats,
        "versions": versions(),
        "hashes": {**about.get("hashes", {}), "rows": rows_hash(inputs)},
        "undefined": UNDEFINED,
    }
    written = plain(record)
    return Audit(written | {"reasons": reasons(written)})


def plain(value: Any) -> Any:
    """Arrays and numpy's numbers as JSON has them; what is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int)) or value is None else str(value)


def _read_inputs(
    labels: Any,
    student: Any,
    teacher: Any,
    assistants: Mapping[str, Any],
    groups: Any,
    cluster: Any,
    class_names: Sequence[str] | None,
    ids: Any,
    policy: AuditPolicy,
) -> Inputs:
    truth = read_labels(labels, "labels")
    rows = len(truth)
    given = {"teacher": teacher, "student": student, **assistants}
    read = {
        name: read_model(values, name, rows=rows)
        for name, values in given.items()
        if values is not None
    }
    if not {"teacher", "student"} & set(read):
        raise DataError("nothing to audit: give a student, a teacher or both")
    widths = {name: width for name, (_, width) in read.items()}
    exact = {name: width for name, width in widths.items() if read[name][0].ndim == 2}
    names = read_class_names(class_names, truth, widths, exact=exact)
    models = {name: build_model(array, classes=len(names)) for name, (array, _) in read.items()}
    attributes = (
        () if groups is None else read_attributes(groups, rows, intersections=policy.intersections)
    )
    return Inputs(
        labels=truth,
        models={name: models[name] for name in ("teacher", "student") if name in models},
        assistants={name: models[name] for name in assistants if name in models},
        attributes=attributes or (class_attribute(truth, names),),
        clusters=None if cluster is None else cluster_codes(cluster, rows),
        class_names=names,
        ids=read_ids(ids, rows),
    )


def _verdict(inputs: Inputs, gates: Sequence[Gate], policy: AuditPolicy) -> dict[str, Any]:
    status = overall_status(gates)
    sentences = summary(
        gates,
        {each.name: each for each in inputs.attributes},
        status=status,
        models=list(inputs.models),
        policy=policy,
        odd=[*left_out(inputs, policy), *oddities(inputs)],
    )
    return {"status": status, "exit_code": EXIT_CODES[status], "summary": sentences}


def _overall(inputs: Inputs, policy: AuditPolicy) -> dict[str, Any]:
    record: dict[str, Any] = {"teacher": None, "student": None, "student_vs_teacher": None}
    for name, model in inputs.models.items():
        rates = measure(model, inputs.labels, everyone(len(inputs.labels)), policy=policy)
        record[name] = rates_record(rates, 0, policy=policy)
        key = f"ece{policy.ece_bins}_l1_by_class"
        record[name][key] = ece_by_class(model, inputs.labels, bins=policy.ece_bins)
    if inputs.is_comparison:
        record["student_vs_teacher"] = overall_change(inputs, policy)
    return record


def _write_states(by: Mapping[str, Any], gates: Sequence[Gate], policy: AuditPolicy) -> None:
    """Each group's entry in the comparison says how its own gate went."""
    for figures in by.values():
        for values in (figures["student_vs_teacher"] or {"groups": {}})["groups"].values():
            needed = images_needed(values, margin=policy.margin) or 0
            values |= {"state": "not_judged", "needed_n": max(needed, policy.min_group_n)}
    for gate in gates:
        if gate.id == "group_harmed":
            values = by[str(gate.attr)]["student_vs_teacher"]["groups"][gate.group]
            values |= {"state": gate.state, "needed_n": gate.needed_n}


def _least(pairs: Any) -> tuple[float | None, str | None]:
    return min(((value, name) for value, name in pairs if value is not None), default=(None, None))


def _most(values: Any) -> float | None:
    return max((value for value in values if value is not None), default=None)
