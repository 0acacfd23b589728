"""Versions of students in MLflow's model registry, each with its card, verdict and costs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.errors import ConfigError, TrackingError, first_line
from autokd.tracking.environment import mlflow_failures
from autokd.tracking.find import StoredTrial
from autokd.tracking.models import DATA
from autokd.tracking.store import Store, one_line_errors
from autokd.tracking.study_run import version_page

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_LONGEST = 250  # characters of a name or alias
_LONGEST_DESCRIPTION = 5000  # MLflow's column; SQLite takes more, other databases do not
_VERSIONS_TAG = "mlflow.modelVersions"
_VERSION = re.compile(r"models:/([^/@]+)(?:/(\d+)|@([\w-]+))")


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
    tags: Mapping[str, str],
) -> Version:
    """The model as a version of `name`, described by its card; found again where it is one. `alias` moves to it."""
    with one_line_errors(store):
        _ensure_name(store, name)
        # not models:/…, which MLflow would look for in its global store
        source = store.client.get_logged_model(model_id).artifact_location
        found = _find_version(store, name, source)
        version = found or store.client.create_model_version(
            name, source=source, run_id=trial.run_id, model_id=model_id, tags=dict(tags)
        )
        if found is None:
            text = _describe(f"models:/{name}/{version.version}", card)
            store.client.update_model_version(name, str(version.version), text)
            _link(store, model_id, name, int(version.version))
        if alias is not None:
            store.client.set_registered_model_alias(name, alias, str(version.version))
    number = int(version.version)
    return Version(
        name=name,
        number=number,
        alias=alias,
        is_new=found is None,
        page=version_page(name, number),
    )


def fetch_version(store: Store, uri: str, folder: Path) -> Path:
    """A version's files into `folder`; where among them the student lies, with its reference. Raises TrackingError."""
    named = _VERSION.fullmatch(uri)
    if named is None:
        raise TrackingError(
            f"'{uri}' names no version of a model; give models:/NAME/VERSION or models:/NAME@ALIAS"
        )
    name, number, alias = named.groups()
    with one_line_errors(store):
        from mlflow.artifacts import download_artifacts

        version = (
            store.client.get_model_version_by_alias(name, alias)
            if alias
            else store.client.get_model_version(name, number)
        )
        place = download_artifacts(
            artifact_uri=version.source, dst_path=str(folder), tracking_uri=store.uri
        )
    return Path(place) / DATA


def _ensure_name(store: Store, name: str) -> None:
    if not store.client.search_registered_models(f"name = '{name}'", max_results=1):
        text = (
            "Image classifiers distilled by autokd. Each version is a student of a search: its page has its model card "
            "and how to load it; its tags say how accurate it is (0 to 1, on val and test), what it costs, and what its "
            "fairness audit found."
        )
        store.client.create_registered_model(name, description=text)


def _describe(uri: str, card: str) -> str:
    """How it is used, and its card; MLflow's table of versions shows the first words."""
    text = (
        "Image files in, class names out: give it a table with a column `image`, the bytes of image files of any size; it "
        "answers with `prediction`, `probability` and `p_<class>`.\n\n"
        f'`mlflow.pyfunc.load_model("{uri}")` or `mlflow models serve -m {uri} --env-manager local`\n\n{card}'
    )
    if len(text) <= _LONGEST_DESCRIPTION:
        return text
    rest = "… (the rest is in MODEL_CARD.md among the model's files)"
    return text[: _LONGEST_DESCRIPTION - len(rest)] + rest


def _link(store: Store, model_id: str, name: str, number: int) -> None:
    """From the model's own page to its versions: MLflow's interface reads a tag, which a server writes and a database does not."""
    own = {"name": name, "version": number}
    known = json.loads(store.client.get_logged_model(model_id).tags.get(_VERSIONS_TAG, "[]"))
    if not any(entry["name"] == name and int(entry["version"]) == number for entry in known):
        tags = {_VERSIONS_TAG: json.dumps([*known, own])}
        store.client.set_logged_model_tags(model_id, tags)


def _find_version(store: Store, name: str, source: str) -> ModelVersion | None:
    versions = store.client.search_model_versions(f"name = '{name}'", max_results=1000)
    return next((version for version in versions if version.source == source), None)
