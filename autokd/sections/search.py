"""`audit` and `search`: what is judged, how long and towards what is searched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from autokd.parameters import Bytes, Positive, Seconds, Section
from autokd.records import ACCURACIES, AuditPolicy

Share = Annotated[float, Field(ge=0, le=1)]  # 0..1, never percent


class AuditConfig(Section):
    """What every audit of the search judges; groups are columns of data.metadata, or else the classes."""

    margin: Share = 0.05
    """A group may lose less accuracy than this against the teacher."""
    floor: Share | None = None
    """The least accuracy of the worst group."""
    required: tuple[str, ...] = ()
    """Groups that must be decided: `site=C`, or `site` for all of it."""
    intersections: Literal[1, 2, 3] = 2
    """Attributes that are crossed at most; 1 for none."""
    max_gap_growth: Share | None = None
    """A student whose accuracy gap between groups grows by more is on no front."""
    accept_teacher_bias: Annotated[str, Field(min_length=10)] | None = None
    """Why a teacher that fails its audit will do, in words; printed in every report."""
    thumbnails: bool = False
    """Show the most contested images in the report."""
    robustness_images: Annotated[int, Field(ge=0)] = 1000
    """How many images of test front members are shown corrupted; 0 for none."""

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

    trials: Positive = 50
    """Students to begin with; with halving, few are trained to their end."""
    time: Seconds | None = None
    """Wall-clock time of the search."""
    epochs: Positive | None = None
    """Epochs of all students and assistants together."""
    patience: Positive | None = None
    """Stop after so many finished students that made the front no better."""
    workers: Positive = 1
    """Trials at a time."""
    executor: Literal["local", "ray"] = "local"
    """Processes of this machine, or a Ray cluster."""
    ray_address: str | None = None
    """`auto` or `HOST:PORT`; by default a Ray that is started here."""
    gpus_per_trial: Annotated[float, Field(ge=0)] = 0.0
    """Ray: 0.5 shares a GPU between two trials."""
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    """Ray: cores of a trial."""
    cache_limit: Bytes = 50e9
    """The most that views and logits may take in `.autokd` when a search begins."""
    shared: str | None = None
    """Folder or URL (`s3://…`) for workers that don't see the driver's folder."""
    strategy: Literal["halving", "full", "random", "one-epoch"] = "halving"
    """How students are proposed and who is trained to the end."""
    reduction: Annotated[float, Field(gt=1)] = 3.0
    """Halving: one in so many goes on at each rung."""
    rungs: Positive = 3
    """Halving: at most so many, the end included."""
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
    """Two or three that span the front, an accuracy among them."""
    resamples: Annotated[int, Field(ge=0)] = 4
    """Further proposals when one is over budget."""
    final_seeds: Annotated[int, Field(ge=0)] = 0
    """Further trainings of each member of the finished front, with other seeds."""
    log_models: bool = False
    """In the end make each student of the front a model in MLflow, held against the student on val: seconds each, or minutes where val is large."""
    warm_start: tuple[str, ...] = ()
    """Earlier searches whose fronts are tried first."""

    @property
    def starts_processes(self) -> bool:
        """Whether trials run in processes of this machine: neither in the search's own nor on a cluster."""
        return self.executor == "local" and self.workers > 1

    @model_validator(mode="after")
    def _check(self) -> SearchConfig:
        different = set(self.objectives)
        if not (2 <= len(self.objectives) == len(different) <= 3) or not different & {*ACCURACIES}:
            raise ValueError(
                "objectives must be two or three different ones, an accuracy among them, "
                f"got [{', '.join(self.objectives)}]"
            )
        return self
