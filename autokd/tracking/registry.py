"""Versions of students in MLflow's model registry, each with its card, verdict and costs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from autokd.errors import ConfigError, TrackingError
from autokd.records import COSTS
from autokd.tracking.environment import first_line, mlflow_failures
from autokd.tracking.find import StoredTrial
from autokd.tracking.store import Store, one_line_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_LONGEST = 250  # characters of a name or alias
_FACTS = {  # name of a version's tag -> the run's tag or metric
    "study": "autokd.study",
    "trial": "autokd.trial",
    "student": "autokd.student",
    "audit_val": "autokd.audit",
    "audit_test": "autokd.test_audit",
    "accuracy_val": "val/accuracy",
    "accuracy_test": "test/accuracy",
    "latency_device": "autokd.latency_device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A student in the registry."""

    name: str
    number: int
    alias: str | None
    is_new: bool  # False: this student was a version of that name already
    page: str  # in MLflow's interface, behind its address and a slash

    @property
    def uri(self) -> str:
        return f"models:/{self.name}{f'@{self.alias}' if self.alias else f'/{self.number}'}"


def check_registry(store: Store, name: str, alias: str | None) -> None:
    """Before minutes are spent: raises ConfigError for a name that can't be, TrackingError where there is no registry."""
    if not re.fullmatch(r"\w[\w .-]*", name) or len(name) > _LONGEST or name.endswith(" "):
        raise ConfigError(
            f"--name '{name}' can't be a registered model's; use letters, digits, spaces and . _ -, "
            f"a letter or digit first, at most {_LONGEST} characters"
        )
    reserved = alias is not None and re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE)
    if alias is not None and (
        reserved or not re.fullmatch(r"[\w-]+", alias) or len(alias) > _LONGEST
    ):
        raise ConfigError(
            f"--alias '{alias}' can't be an alias; use letters, digits, _ and -, but neither 'latest' nor v and a number"
        )
    try:
        store.client.search_registered_models(max_results=1)
    except mlflow_failures() as error:
        raise TrackingError(
            f"MLflow store {store.address} has no model registry that answers: {first_line(error)}; "
            "`autokd export` writes the student as a file instead"
        ) from error


def create_version(
    store: Store,
    trial: StoredTrial,
    model_id: str,
    *,
    name: str,
    alias: str | None,
    card: str,
    facts: Mapping[str, str],
) -> Version:
    """The model as a version of `name`, described by its card; found again where it is one. `alias` moves to it.

    `facts` are tags beside those that the trial's run gives.
    """
    with one_line_errors(store):
        _ensure_name(store, name, trial)
        # not models:/…, which MLflow would look for in its global store
        source = store.client.get_logged_model(model_id).artifact_location
        found = _find_version(store, name, source)
        version = found or store.client.create_model_version(
            name,
            source=source,
            run_id=trial.run_id,
            model_id=model_id,
            description=card,
            tags=_version_tags(trial) | dict(facts),
        )
        if alias is not None:
            store.client.set_registered_model_alias(name, alias, str(version.version))
    number = int(version.version)
    return Version(
        name=name,
        number=number,
        alias=alias,
        is_new=found is None,
        page=f"#/models/{quote(name)}/versions/{number}",
    )


def _ensure_name(store: Store, name: str, trial: StoredTrial) -> None:
    if not store.client.search_registered_models(f"name = '{name}'", max_results=1):
        text = (
            "Image classifiers distilled by autokd. Each version is a student of a search: its page has the model "
            "card, its tags say how good it is and what its audit found.\n\n"
            f'Input: a column `image` with the bytes of image files. Load it: `mlflow.pyfunc.load_model("models:/{name}/1")`; '
            f"serve it: `mlflow models serve -m models:/{name}/1 --env-manager local`."
        )
        store.client.create_registered_model(name, description=text)


def _find_version(store: Store, name: str, source: str) -> ModelVersion | None:
    versions = store.client.search_model_versions(f"name = '{name}'", max_results=1000)
    return next((version for version in versions if version.source == source), None)


def _version_tags(trial: StoredTrial) -> dict[str, str]:
    """Numbers as they are, for scripts; the card has them for people."""
    known: Mapping[str, float | str] = trial.facts
    tags = {tag: str(known[key]) for tag, key in _FACTS.items() if key in known}
    costs = {name: known[f"cost/{name}"] for name in COSTS if f"cost/{name}" in known}
    return tags | {f"cost_{name}": f"{float(value):.6g}" for name, value in costs.items()}
