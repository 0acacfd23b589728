"""What a search file means, before anything is trained: what fits the budget, and how long a trial will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import starmap
from pathlib import Path

from autokd.appraisal import Appraisal
from autokd.config import Config, TeacherConfig
from autokd.cost import with_threads
from autokd.engine.controls import control_proposals, crowding
from autokd.engine.database import ledger_url
from autokd.engine.executors import share_threads
from autokd.engine.gather import gather
from autokd.engine.pace import seconds_per_image
from autokd.engine.place import CACHE, TEACHER_AUDIT, make_writable
from autokd.engine.strategies import least_share
from autokd.engine.survey import Sampled, Survey
from autokd.engine.teacher import check_teacher
from autokd.needs import learns_unlabelled
from autokd.records import PRETRAIN, DataInfo, Stage
from autokd.space import centre
from autokd.students.parts import freeze_all_but_last
from autokd.task import choose_device
from autokd.teachers import build_student, describe_teacher, inputs_of, needs_training


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The answer to: is this file right, and what am I in for?"""

    config: Config
    data: DataInfo
    also_test: Mapping[str, int]  # images of each further set
    join: str | None  # how images and rows of data.metadata.path met; None: no table
    teacher: Appraisal | None  # None: it is to be trained first
    weights: tuple[str, ...]  # what the teacher takes of weights that others made, and is shown
    # what is taken of each file that students start from, and of heirs' donors
    starts: tuple[str, ...]
    parameters: int  # that are searched
    survey: Survey
    typical: Sampled  # the student of median MACs within budget
    trial_seconds: float  # to train it at the centre of the space, on this machine
    # to ask the teacher for all that such a trial shows it, on top; None: no trial asks it live
    live_seconds: float | None
    teacher_seconds: float | None  # None: there is nothing to train
    donor_seconds: float  # to train what they inherit from, once
    controls: int  # trials that the search begins with
    least_share: float  # of trials' epochs that the strategy trains, at least
    device: str

    @property
    def crowded(self) -> str:
        """What to say where controls leave few trials to search with; empty where they do not."""
        return crowding(self.controls, self.config.search.trials)


def check_search(
    config: Config, *, directory: Path, ledger: str | None = None, device: str | None = None
) -> Check:
    """Everything that a search refuses is refused here too."""
    cache = directory / CACHE
    make_writable(cache)
    chosen = choose_device(device)
    gathered = gather(config, cache=cache, ledger=ledger_url(ledger, cache), device=device)
    data, space, found = gathered.data, gathered.space, gathered.sample
    typical = found.feasible[len(found.feasible) // 2]
    candidate = space.sample(lambda name, dist: typical.params.get(name, centre(name, dist)))
    members = [(each, describe_teacher(each, data)) for each in config.teacher.members]
    teacher, weights = check_teacher(
        config, data, cache=cache, device=chosen, report=cache / "check" / TEACHER_AUDIT
    )
    to_train = [
        (member, stage)
        for place, (member, stage) in enumerate(members)
        if needs_training(member, data, cache=cache, seed=config.seed + place)
    ]

    def pace(stage: Stage, *, frozen: bool = False) -> float:
        """Seconds an image, to train or with `frozen` to ask for its logits."""
        model = build_student(stage.student, data).requires_grad_(not frozen)
        if not frozen and stage.training.trained_blocks is not None:
            freeze_all_but_last(model, stage.training.trained_blocks)
        inputs = inputs_of(stage.student, data)
        with with_threads(share_threads(config.search.workers)):
            return seconds_per_image(model, stage, inputs, data.info, chosen)

    def seconds(stage: Stage) -> float:
        """To train on all images, and to ask for val's after every epoch."""
        shown = len(data.shown(taught=learns_unlabelled(stage)))
        asked = len(data.val) * pace(stage, frozen=True)
        trained = stage.training.epochs and shown * pace(stage)
        return stage.training.epochs * (trained + asked)

    def teaching_seconds(member: TeacherConfig, stage: Stage) -> float:
        """Features of train come first where published weights are fine-tuned."""
        asked = len(data.train) + len(data.val)
        return seconds(stage) + (asked * pace(stage, frozen=True) if member.fine_tuned else 0.0)

    def live_seconds(stage: Stage) -> float:
        shown = len(data.shown(taught=learns_unlabelled(stage)))
        return stage.training.epochs * shown * pace(stage, frozen=True)

    # a last stage of fine-tuning asks no teacher
    taught = [stage for stage in candidate.stages if stage.name in (PRETRAIN, "student")]
    asked = [replace(each, student=stage.student) for each in taught for _, stage in members]
    donors = [each.donor for each in gathered.heirs if each.donor and each.donor.training.epochs]
    return Check(
        config=config,
        data=data.info,
        also_test={name: len(each.split) for name, each in data.also_test.items()},
        join=data.join.describe() if data.join else None,
        teacher=teacher,
        weights=weights,
        starts=gathered.starts,
        parameters=len(space.distributions),
        survey=found,
        typical=typical,
        trial_seconds=sum(seconds(stage) for stage in candidate.own_stages),
        live_seconds=sum(map(live_seconds, asked)) if space.may_ask_live else None,
        teacher_seconds=sum(starmap(teaching_seconds, to_train)) if to_train else None,
        donor_seconds=sum(map(seconds, donors)),
        controls=len(control_proposals(space, found)),
        least_share=least_share(
            config.search,
            epochs=space.most_epochs,
            first=candidate.pretrain_epochs / candidate.epochs,
        ),
        device=str(chosen),
    )
