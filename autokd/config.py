"""The search file: what may stand in it, read safely and refused with one line when it is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from autokd.errors import ConfigError, nearest_name
from autokd.parameters import (
    TAGS,
    Bytes,
    Count,
    FloatParameter,
    Fraction,
    IntParameter,
    Milliseconds,
    Parameter,
    Positive,
    Range,
    Seconds,
    Section,
    TextParameter,
    values_of,
    within,
)
from autokd.records import ACCURACIES, AuditPolicy, Budget
from autokd.targets import TARGETS, TargetName

Share = Annotated[float, Field(ge=0, le=1)]  # 0..1, never percent


class MetadataConfig(Section):
    """A table about the images, one row an image: who is on them, which camera made them."""

    path: Path | None = None  # CSV; None: columns that the set brings itself
    key: str = "index"  # the column that names an image: its file name, or its number from 0
    groups: tuple[str, ...] = ()  # columns that audits compare
    cluster: str | None = None  # column of what must not be split up: patient, writer, speaker
    # group columns of numbers -> where they are cut: age: [18, 40, 65]
    bands: dict[str, Annotated[tuple[float, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _check(self) -> MetadataConfig:
        for name, edges in self.bands.items():
            if name not in self.groups:
                raise ValueError(f"bands.{name} is no group; add '{name}' to groups")
            if name == self.cluster:
                raise ValueError(f"bands.{name} is the cluster, which must stay as it is")
            if not all(low < high for low, high in pairwise([-math.inf, *edges, math.inf])):
                shown = ", ".join(f"{edge:g}" for edge in edges)
                raise ValueError(f"bands.{name} must be rising numbers, got [{shown}]")
        return self


class DataConfig(Section):
    """A labelled image set. Val and test are cut from train where the set does not bring them."""

    source: Annotated[str, Field(min_length=1)]  # a key of autokd.data.SOURCES
    root: Path | None = None  # where the files are, or may be downloaded to
    name: str | None = None  # of a Hugging Face data set
    image_size: Positive | None = None  # pixels that images are loaded at; None: as they are stored
    channels: Literal[1, 3] | None = None  # None: as they are stored
    val_fraction: Fraction = 0.15
    test_fraction: Fraction = 0.15
    limit: Positive | None = None  # at most so many training images (val included), stratified
    flip: bool = True  # whether a mirrored image keeps its label; false for digits and text
    views: Positive = 4  # augmented versions of each image, drawn once and reused by all trials
    # further images without labels, a folder or an .npz: students learn what teachers say about them
    unlabelled: Path | None = None
    loader_processes: Annotated[int, Field(ge=0)] = 2  # for sets too large for memory
    metadata: MetadataConfig | None = None


class TeacherTrainConfig(Section):
    """Train the teacher on the search's train split, once; the next search finds it."""

    epochs: Positive = 20
    batch_size: Positive = 128
    optimizer: str = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augmentation: str = "light"
    patience: Positive | None = None


class TeacherConfig(Section):
    """A model that students learn from: a checkpoint, pretrained weights, one to be trained, or several of these."""

    model: str | None = None  # a timm name or a family
    arguments: dict[str, Any] = Field(default_factory=dict)
    image_size: Positive | None = None  # None: the data's
    checkpoint: Path | None = None
    pretrained: bool = False
    train: TeacherTrainConfig | None = None
    mean: tuple[float, ...] | None = None  # None: the data's own, or the pretrained weights'
    std: tuple[float, ...] | None = None
    ensemble: tuple[TeacherConfig, ...] = ()  # the mean of their probabilities is what they say
    weight: Annotated[float, Field(gt=0)] = 1.0  # in an ensemble
    # that it answers students in: auto is bf16 on a GPU that has it; some CPUs have it too
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @property
    def members(self) -> tuple[TeacherConfig, ...]:
        """Itself, unless it is an ensemble."""
        return self.ensemble or (self,)

    @model_validator(mode="after")
    def _check(self) -> TeacherConfig:
        ways = ("checkpoint", "pretrained", "train", "ensemble")
        given = [name for name in ways if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                "give exactly one of checkpoint, pretrained: true, train and ensemble, "
                f"got {' and '.join(given) or 'none'}"
            )
        if self.ensemble and self.model:
            raise ValueError("an ensemble has no model of its own; give each member one")
        if not self.ensemble and not self.model:
            raise ValueError("model is missing; give a timm name or a family")
        if self.ensemble and (len(self.ensemble) < 2 or any(m.ensemble for m in self.ensemble)):
            raise ValueError("an ensemble needs two members or more, none of them an ensemble")
        return self


class BudgetConfig(Section):
    """The most that a student may cost. A candidate over any limit is never trained."""

    max_macs: Count | None = None  # multiply-accumulates of one image
    max_params: Count | None = None
    max_flops: Count | None = (
        None  # of one image, 2 for each multiply-accumulate: instead of max_macs
    )
    max_latency: Milliseconds | None = None  # that nine calls of ten keep
    max_size: Bytes | None = None  # of the weights as they ship
    max_activations: Bytes | None = None  # in memory at once beside the weights, for one image
    target: TargetName | None = None  # a kind of device: its limits, where none is given here
    # what runs students when they are timed: onnxruntime, on a CPU, or pytorch, on the search's device
    runtime: Literal["onnxruntime", "pytorch"] = "onnxruntime"
    threads: Positive = 1  # that it has
    batch: Positive = 1  # images a call
    device: Annotated[str, Field(pattern=r"^https?://")] | None = (
        None  # where `autokd latency-serve` runs; None: here
    )

    @model_validator(mode="after")
    def _check(self) -> BudgetConfig:
        if self.max_macs and self.max_flops:
            raise ValueError("give one of max_macs and max_flops; 1 MAC is 2 FLOPs")
        if self.device and self.runtime != "onnxruntime":
            raise ValueError(f"device {self.device} runs onnxruntime, not {self.runtime}")
        return self

    def to_budget(self) -> Budget:
        given = {
            "macs": self.max_macs or (self.max_flops and self.max_flops / 2),
            "params": self.max_params,
            "latency_ms": self.max_latency,
            "size_bytes": self.max_size,
            "activation_bytes": self.max_activations,
        }
        usual = TARGETS[self.target].limits if self.target else {}
        return Budget(**{name: limit or usual.get(name) for name, limit in given.items()})


class StudentsConfig(Section):
    """Architectures to search: timm names, wildcards over them, and parametric families."""

    model: TextParameter
    image_size: Annotated[IntParameter, within(1)] | None = None  # None: the data's
    # timm models start from their pretrained weights, from the hub, its cache or a file each; families start from random ones
    pretrained: bool | dict[str, Path] = False
    # share of channels that is removed after training; the student learns on for schedule.prune_epochs
    prune: Annotated[FloatParameter, within(0, 0.9)] = 0.0
    # the numbers that students ship in: fp32, fp16, or int8, quantised after training and measured so
    precision: TextParameter = "fp32"
    # a family's own parameters, where they are not to have the family's ranges
    families: dict[str, dict[str, Parameter]] = Field(default_factory=dict)


class DKDConfig(Section):
    """Decoupled KD's own weights, times `distill.weight`."""

    alpha: Annotated[FloatParameter, within(0)] = 1.0  # of the label's class against all others
    beta: Annotated[FloatParameter, within(0)] = 8.0  # of the others among themselves


class DISTConfig(Section):
    """DIST's own weights, times `distill.weight`."""

    beta: Annotated[FloatParameter, within(0)] = 1.0  # between the classes of an image
    gamma: Annotated[FloatParameter, within(0)] = 1.0  # between the images of a batch


class DistillConfig(Section):
    """How a student learns from its teacher."""

    loss: TextParameter = "kd"  # kd, dkd, dist or lskd, or none for labels alone
    temperature: Annotated[FloatParameter, within(0, above=True)] = 4.0
    weight: Annotated[FloatParameter, within(0, above=True)] = 0.9  # of the distillation loss
    label_weight: Annotated[FloatParameter, within(0)] = 0.1  # of the cross-entropy with labels
    dkd: DKDConfig = DKDConfig()
    dist: DISTConfig = DISTConfig()
    # beside it, on what teacher and student make of an image: none, hint, at, sp, rkd or pooled
    feature_loss: TextParameter = "none"
    feature_weight: Annotated[FloatParameter, within(0, above=True)] = 1.0  # times its usual weight
    taps: Annotated[IntParameter, within(1, 3)] = 1  # maps compared, from the last one back
    # labels against teacher: fixed, linear or cosine (the teacher's part falls to 0), or gradient
    balance: TextParameter = "fixed"
    warmup: Annotated[FloatParameter, within(0, 1)] = 0.0  # share of epochs; the teacher comes in
    until: Annotated[FloatParameter, within(0, 1, above=True)] = 1.0  # share; then labels alone
    # what is done for groups: none, balanced_sampling, adaptive_alpha, group_dro, mfd
    mitigation: TextParameter = "none"
    mfd_weight: Annotated[FloatParameter, within(0, above=True)] = (
        0.1  # of the loss mfd, where it is
    )


class ScheduleConfig(Section):
    """Which stages a candidate has: teacher → assistants → student → fine-tuning."""

    assistants: Annotated[IntParameter, within(0, 2)] = (
        0  # 0, 1 or 2 models between teacher and student in cost
    )
    assistant_epochs: Positive | None = None  # None: as many as the student
    # who teaches where there are assistants: chain (the next larger one) or dense (all that are larger)
    guidance: TextParameter = "chain"
    teacher_drop: Annotated[FloatParameter, within(0, 0.9)] = (
        0.0  # dense: of each teacher, at a step
    )
    prune_epochs: Positive | None = None  # of what is pruned; None: a third of the student's
    finetune_epochs: Annotated[IntParameter, within(0)] = 0  # a last stage on labels alone; 0: none


class TrainConfig(Section):
    """How students are optimised."""

    epochs: Annotated[IntParameter, within(1)] = 10
    batch_size: Annotated[IntParameter, within(2)] = 128
    optimizer: TextParameter = "adamw"
    learning_rate: Annotated[FloatParameter, within(0, above=True)] = 1e-3
    weight_decay: Annotated[FloatParameter, within(0)] = 0.05
    label_smoothing: Annotated[FloatParameter, within(0, 0.9)] = 0.0
    drop_rate: Annotated[FloatParameter, within(0, 0.9)] = 0.0
    drop_path_rate: Annotated[FloatParameter, within(0, 0.9)] = 0.0
    mixup: Annotated[FloatParameter, within(0)] = 0.0  # alpha; 0: none. Asks the teacher live
    cutmix: Annotated[FloatParameter, within(0)] = 0.0  # likewise
    ema: Annotated[FloatParameter, within(0, 0.99999)] = 0.0  # decay of averaged weights; 0: none
    clip_norm: Annotated[FloatParameter, within(0)] = 0.0  # of the gradient; 0: any
    augmentation: TextParameter = "light"
    patience: Positive | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class AuditConfig(Section):
    """What every audit of the search judges; groups are columns of data.metadata, or else the classes."""

    margin: Share = 0.05  # a group may lose less accuracy than this against the teacher
    floor: Share | None = None  # the least accuracy of the worst group
    required: tuple[str, ...] = ()  # groups that must be decided: "site=C", or "site" for all of it
    intersections: Literal[1, 2, 3] = 2  # attributes crossed at most; 1: none
    max_gap_growth: Share | None = None  # a student whose accuracy gap grows more is not feasible
    accept_teacher_bias: Annotated[str, Field(min_length=10)] | None = None  # why, in words
    thumbnails: bool = False  # the most contested images in the report
    robustness_images: Annotated[int, Field(ge=0)] = (
        1000  # of test, shown corrupted to front members; 0: none
    )

    def to_policy(self, *, seed: int) -> AuditPolicy:
        return AuditPolicy(
            margin=self.margin,
            floor=self.floor,
            required=self.required,
            intersections=self.intersections,
            accept_teacher_bias=self.accept_teacher_bias,
            seed=seed,
        )


class SearchConfig(Section):
    """How long, how and towards what to search. Whichever of trials, time, epochs and patience comes first ends it;
    final_seeds come on top."""

    trials: Positive = 50  # that are begun; with halving, few are trained to their end
    time: Seconds | None = None
    epochs: Positive | None = None  # of all students and assistants
    patience: Positive | None = None  # finished trials without a larger hypervolume
    workers: Positive = 1
    executor: Literal["local", "ray"] = "local"  # processes of this machine, or a Ray cluster
    ray_address: str | None = None  # "auto" or HOST:PORT; None: one that is started here
    gpus_per_trial: Annotated[float, Field(ge=0)] = 0.0  # ray: 0.5 shares a GPU between two
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0  # ray
    cache_limit: Bytes = 50e9  # of views and logits kept in .autokd, when a search begins
    shared: str | None = None  # URL for workers that don't see the driver's folder: s3://…
    strategy: Literal["halving", "full", "random", "one-epoch"] = "halving"
    reduction: Annotated[float, Field(gt=1)] = 3.0  # halving: one in so many goes on at each rung
    rungs: Positive = 3  # halving: at most so many, the end included
    objectives: tuple[
        Literal[
            "val_accuracy",
            "worst_group_accuracy",
            "macs",
            "params",
            "latency_ms",
            "size_bytes",
            "activation_bytes",
        ],
        ...,
    ] = (
        "val_accuracy",
        "macs",
    )
    resamples: Annotated[int, Field(ge=0)] = 4  # further proposals when one is over budget
    final_seeds: Annotated[int, Field(ge=0)] = 0  # further trainings of each member of the front
    warm_start: tuple[str, ...] = ()  # earlier searches whose fronts are tried first

    @model_validator(mode="after")
    def _check(self) -> SearchConfig:
        different = set(self.objectives)
        if not (2 <= len(self.objectives) == len(different) <= 3) or not different & {*ACCURACIES}:
            raise ValueError(
                "objectives must be two or three different ones, an accuracy among them, "
                f"got [{', '.join(self.objectives)}]"
            )
        return self


class Config(Section):
    """A whole search file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "search"
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig
    teacher: TeacherConfig
    budget: BudgetConfig = BudgetConfig()
    students: StudentsConfig
    distill: DistillConfig = DistillConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig = TrainConfig()
    audit: AuditConfig = AuditConfig()
    search: SearchConfig = SearchConfig()

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
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; give a YAML search file") from None
    try:
        record = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
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
        message = (
            f"unknown key '{key}'; known keys: {', '.join(known)}.{nearest_name(str(key), known)}"
        )
    elif problem["type"] == "missing":
        message = "is missing"
    elif problem["type"] == "union_tag_invalid":
        message = f"must be a value or a list of values, got {problem['input']!r}"
    elif not problem["type"].startswith("value_error"):
        message = f"{message[0].lower()}{message[1:]}, got {problem['input']!r}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {message}{more}" if path else f"{message}{more}"


def _known_keys(parents: list[Any]) -> list[str]:
    section: type[BaseModel] = Config
    for parent in parents:
        field = section.model_fields.get(str(parent))
        candidates = _sections_in(field.annotation) if field else []
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
