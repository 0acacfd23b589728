"""A finished trial's student as a version in the model registry: exported, held against itself, logged, named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autokd.exporting.card import further_in
from autokd.exporting.export import Exported
from autokd.exporting.logged import logged_student
from autokd.exporting.parity import Parity
from autokd.records import COSTS, also_metric, also_tag
from autokd.tracking.find import StoredTrial
from autokd.tracking.registry import Version, check_registry, create_version
from autokd.tracking.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A student in the registry, and how to get at it."""

    version: Version
    model_id: str  # of the MLflow model that the version is of
    student: str  # which trial it is, in words
    precision: str
    size_bytes: int
    parity: Parity
    audits: dict[str, str]  # val, test and further sets -> verdict, where there is one
    tracking_uri: str
    address: str  # the store's, without a password


def register_student(
    store: Store, candidate: str, *, name: str, alias: str | None, int8: bool, cache: Path
) -> Registered:
    """Raises ParityError, and registers nothing, where the exported file says something else than the student."""
    check_registry(store, name, alias)
    with logged_student(store, candidate, int8=int8, cache=cache) as logged:
        exported, trial = logged.exported, logged.trial
        version = create_version(
            store,
            trial,
            logged.model_id,
            name=name,
            alias=alias,
            card=exported.card.read_text(encoding="utf-8"),
            tags=version_tags(exported, trial),
        )
    return Registered(
        version=version,
        model_id=logged.model_id,
        student=trial.description,
        precision=exported.precision,
        size_bytes=exported.size_bytes,
        parity=exported.parity,
        audits=_audits(exported, trial),
        tracking_uri=store.uri,
        address=store.address,
    )


def version_tags(exported: Exported, trial: StoredTrial) -> dict[str, str]:
    """What a pipeline may ask of a version, as numbers; the card has them for people.

    Of what was quantised for the export nobody knows accuracy on test, latency or audit: those are left out.
    """
    metrics = trial.metrics
    facts = {
        "val_accuracy": exported.parity.accuracy,
        "test_accuracy": metrics.get("test/accuracy"),
    }
    facts |= {
        f"{name}_accuracy": metrics.get(also_metric(name, "accuracy"))
        for name in further_in(trial.facts)
    }
    facts |= {name: metrics.get(f"cost/{name}") for name in COSTS} | dict(exported.costs)
    facts["size_bytes"] = float(exported.size_bytes)
    if exported.recorded is None:
        facts = {name: facts[name] for name in ("val_accuracy", "macs", "params", "size_bytes")}
    audits = {f"audit_{split}": verdict for split, verdict in _audits(exported, trial).items()}
    numbers = {name: f"{value:.6g}" for name, value in facts.items() if value is not None}
    known = {name: trial.tags[f"autokd.{name}"] for name in ("study", "trial")}
    return audits | numbers | {"precision": exported.precision} | known


def _audits(exported: Exported, trial: StoredTrial) -> dict[str, str]:
    """The verdict on each split; none where the file is in other numbers than what was audited."""
    if exported.recorded is None:
        return {}
    found = {"val": trial.tags.get("autokd.audit"), "test": trial.tags.get("autokd.test_audit")}
    found |= {name: trial.tags.get(also_tag(name, "audit")) for name in further_in(trial.facts)}
    return {split: verdict for split, verdict in found.items() if verdict}
