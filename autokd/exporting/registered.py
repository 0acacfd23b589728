"""A finished trial's student as a version in the model registry: exported, held against itself, logged, named."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from autokd.errors import ParityError
from autokd.exporting.export import Exported, export_student
from autokd.exporting.parity import Parity
from autokd.tracking.find import StoredTrial, fetch_trial
from autokd.tracking.models import StudentFile, log_student
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
    audits: dict[str, str]  # val and test -> verdict, where there is one
    tracking_uri: str
    address: str  # the store's, without a password


def register_student(
    store: Store, candidate: str, *, name: str, alias: str | None, int8: bool, cache: Path
) -> Registered:
    """Raises ParityError, and registers nothing, where the exported file says something else than the student."""
    check_registry(store, name, alias)
    with tempfile.TemporaryDirectory(prefix="autokd-register-") as place:
        folder = Path(place) / "trial"
        folder.mkdir()
        trial = fetch_trial(store, candidate, folder)
        exported = export_student(
            folder,
            Path(place) / "student",
            source=trial.description,
            cache=cache,
            int8=int8,
            facts=trial.facts,
        )
        _refuse_difference(exported, trial)
        metrics = {
            "export/val_accuracy": exported.parity.accuracy,
            "export/agreement": exported.parity.agreement,
            "export/size_bytes": float(exported.size_bytes),
        }
        student = StudentFile(
            graph=exported.path,
            card=exported.card,
            precision=exported.precision,
            metrics=metrics,
        )
        model_id = log_student(store, trial, student)
        version = create_version(
            store,
            trial,
            model_id,
            name=name,
            alias=alias,
            card=exported.card.read_text(encoding="utf-8"),
            facts={
                "precision": exported.precision,
                "file_bytes": str(exported.size_bytes),
                "accuracy_val_of_file": f"{exported.parity.accuracy:.6g}",
            },
        )
    verdicts = {"val": trial.tags.get("autokd.audit"), "test": trial.tags.get("autokd.test_audit")}
    return Registered(
        version=version,
        model_id=model_id,
        student=trial.description,
        precision=exported.precision,
        size_bytes=exported.size_bytes,
        parity=exported.parity,
        audits={split: verdict for split, verdict in verdicts.items() if verdict},
        tracking_uri=store.uri,
        address=store.address,
    )


def _refuse_difference(exported: Exported, trial: StoredTrial) -> None:
    parity = exported.parity
    if not parity.holds:
        raise ParityError(
            f"{trial.description}: the {exported.precision} file gives the same answer for {parity.agreement:.2%} of "
            f"{parity.images:,} images (at least {parity.tolerance.agreement:.1%}) and logits that differ by "
            f"{parity.relative:.2g} of the largest; nothing was registered. `autokd export` writes the file to look at"
        )
