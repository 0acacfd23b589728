"""The search file: its sections put together, read safely and refused with one line when it is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from autokd.errors import ConfigError, nearest_name
from autokd.parameters import TAGS, Range, Section, values_of
from autokd.sections.data import DataConfig, MetadataConfig
from autokd.sections.search import AuditConfig, SearchConfig
from autokd.sections.students import BudgetConfig, StudentsConfig
from autokd.sections.teacher import TeacherConfig, TeacherTrainConfig
from autokd.sections.training import DistillConfig, ScheduleConfig, TrainConfig
from autokd.yaml_file import parse_yaml, read_text

__all__ = [
    "Config",
    "DataConfig",
    "MetadataConfig",
    "SearchConfig",
    "TeacherConfig",
    "TeacherTrainConfig",
    "load_config",
    "override_config",
    "parse_config",
]


class Config(Section):
    """A whole search file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "search"
    """What the search is called in MLflow; by default the file's name."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """What all random numbers follow from."""
    data: DataConfig
    """The images."""
    teacher: TeacherConfig
    """What students learn from."""
    budget: BudgetConfig = BudgetConfig()
    """The most that a student may cost."""
    students: StudentsConfig
    """Which students there are."""
    distill: DistillConfig = DistillConfig()
    """Losses, their weights, and when they count."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Which stages a candidate has."""
    train: TrainConfig = TrainConfig()
    """Optimiser, augmentation and precision of students."""
    audit: AuditConfig = AuditConfig()
    """What audits judge."""
    search: SearchConfig = SearchConfig()
    """How long, how and towards what to search."""

    @property
    def latency_decides(self) -> bool:
        """Whether a limit or an objective needs every student's latency before it is trained."""
        limited = self.budget.to_budget().latency_ms is not None
        return limited or "latency_ms" in self.search.objectives

    @model_validator(mode="after")
    def _check(self) -> Config:
        int8 = "int8" in values_of(self.students.precision)
        if int8 and self.latency_decides and self.budget.runtime == "pytorch":
            raise ValueError(
                "budget.runtime: pytorch times no int8 students (students.precision); take onnxruntime"
            )
        return self


def load_config(path: Path) -> Config:
    """Read a search file. Raises ConfigError with one line that names file, key and what is allowed."""
    record = parse_yaml(read_text(path), source=str(path))
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: must hold keys such as data, teacher and students")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "search"
    return parse_config({"name": name} | record, source=str(path))


def parse_config(record: Mapping[str, Any], *, source: str) -> Config:
    """Validate a search file's content; `source` stands first in error messages."""
    try:
        return Config.model_validate(record)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """The first problem as ``path: what is wrong, what is allowed``, and how many more there are."""
    problems = error.errors()
    # a key that is misspelt is also missing under its right name: the misspelling says more
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    path = ".".join(str(part) for part in problem["loc"] if part not in TAGS)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        *parents, key = [part for part in problem["loc"] if part not in TAGS]
        known = _known_keys(parents)
        path = ".".join(map(str, parents)) or "top level"
        message = f"unknown key {_short(key)}; known keys: {', '.join(known)}.{nearest_name(str(key), known)}"
    elif problem["type"] == "missing":
        message = "is missing"
    elif problem["type"] == "union_tag_invalid":
        message = f"must be a value or a list of values, got {_short(problem['input'])}"
    elif not problem["type"].startswith("value_error"):
        message = f"{message[0].lower()}{message[1:]}, got {_short(problem['input'])}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {message}{more}" if path else f"{message}{more}"


def _short(value: object) -> str:
    """A value as it stands in a message: with its beginning and its end where it is a page long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:70]}...{text[-20:]}"


def _known_keys(parents: list[Any]) -> list[str]:
    section: type[BaseModel] = Config
    for parent in parents:
        if field := section.model_fields.get(str(parent)):  # else a name that the user gave
            candidates = _sections_in(field.annotation)
            section = candidates[0] if candidates else Range[float]
    return list(section.model_fields)


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _sections_in(part)]


def override_config(config: Config, overrides: Mapping[str, Mapping[str, Any]]) -> Config:
    """The search file with some values replaced: section -> key -> value; section "" is the top level.

    None leaves a value as it is. Values are checked as if they stood in the file.
    """
    record = config.model_dump(mode="json")
    for section, values in overrides.items():
        target = record[section] if section else record
        target.update({key: value for key, value in values.items() if value is not None})
    return parse_config(record, source="command line")
