"""What a search file means, before anything is trained: what fits the budget, and how long a trial will take."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from autokd.auditing import check_audit
from autokd.config import Config
from autokd.cost import with_threads
from autokd.data import load_data
from autokd.engine.executors import share_threads
from autokd.engine.place import CACHE, make_writable
from autokd.engine.strategies import least_share
from autokd.engine.survey import Sampled, Survey, survey_file, try_pretrained
from autokd.objective import loss_terms
from autokd.records import DataInfo, Stage
from autokd.space import centre
from autokd.students import InputFormat
from autokd.task import choose_device
from autokd.teachers import build_student, describe_teacher

STEPS = 3  # that are timed, after one to warm up


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The answer to: is this file right, and what am I in for?"""

    config: Config
    data: DataInfo
    join: str | None  # how images and rows of data.metadata.path met; None: no table
    parameters: int  # that are searched
    survey: Survey
    typical: Sampled  # the student of median MACs within budget
    trial_seconds: float  # to train it at the centre of the space, on this machine
    # to ask the teacher for all that such a trial shows it, on top; None: no trial asks it live
    live_seconds: float | None
    teacher_seconds: float | None  # None: there is nothing to train
    least_share: float  # of trials' epochs that the strategy trains, at least
    device: str


def check_search(config: Config, *, directory: Path, device: str | None = None) -> Check:
    """Everything that a search refuses is refused here too, but for the teacher's weights."""
    cache = directory / CACHE
    make_writable(cache)
    chosen = choose_device(device)
    data = load_data(config.data, seed=config.seed, cache=cache)
    data.say()
    check_audit(config.audit.to_policy(seed=config.seed), data)
    space, costs, found = survey_file(config, data)
    try_pretrained(found, data)
    typical = found.feasible[len(found.feasible) // 2]
    candidate = space.sample(lambda name, dist: typical.params.get(name, centre(name, dist)))
    members = [(each, describe_teacher(each, data)) for each in config.teacher.members]
    for _, stage in members:
        costs(stage.student)  # refuses a teacher that can't be built
    to_train = [stage for member, stage in members if member.train]

    def seconds(stage: Stage, *, frozen: bool = False) -> float:
        """To train on all images, or with `frozen` to ask for their logits."""
        model = build_student(stage.student, data).requires_grad_(not frozen)
        images = len(data.shown(taught=bool(stage.teachers) or frozen)) * stage.training.epochs
        inputs = InputFormat(image_size=stage.student.image_size, mean=data.mean, std=data.std)
        with with_threads(share_threads(config.search.workers)):
            return images * _seconds_per_image(model, stage, inputs, data.info, chosen)

    # a last stage of fine-tuning asks no teacher
    taught = next(stage for stage in candidate.stages if stage.name == "student")
    asked = [replace(taught, student=stage.student) for _, stage in members]
    return Check(
        config=config,
        data=data.info,
        join=data.join.describe() if data.join else None,
        parameters=len(space.distributions),
        survey=found,
        typical=typical,
        trial_seconds=sum(seconds(stage) for stage in candidate.stages),
        live_seconds=sum(seconds(stage, frozen=True) for stage in asked)
        if space.may_ask_live
        else None,
        teacher_seconds=sum(map(seconds, to_train)) if to_train else None,
        least_share=least_share(config.search, epochs=space.most_epochs),
        device=str(chosen),
    )


def _seconds_per_image(
    model: torch.nn.Module, stage: Stage, inputs: InputFormat, data: DataInfo, device: torch.device
) -> float:
    """Of a step on noise, with the teacher's logits at hand: they are cached after the first trial.

    Of training, or of a forward pass alone where nothing in the model is trained.
    """
    count = stage.training.batch_size
    shape = (count, data.channels, data.image_size, data.image_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    labels = torch.randint(0, len(data.class_names), (count,), device=device)
    teachers = [torch.randn(count, len(data.class_names), device=device) for _ in stage.teachers]
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train(any(parameter.requires_grad for parameter in model.parameters()))
    for step in range(STEPS + 1):
        if step == 1:
            start = time.perf_counter()
        terms = loss_terms(stage, model(inputs.prepare(pixels)), teachers, labels)
        total = torch.stack(list(terms.values())).sum()
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / (STEPS * count)
