"""The search space: a search file's parameters as Optuna distributions, and a Candidate from a value for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution

from autokd.choices import (
    DENSE,
    FEATURES,
    NO_LOSS,
    RANDOM,
    check_choices,
    check_names,
    may_pretrain,
)
from autokd.config import Config
from autokd.errors import ConfigError
from autokd.feature_losses import FEATURE_LOSSES
from autokd.losses import ARGUMENTS, NEED_HARD_LABELS
from autokd.mitigation import MFD, NONE
from autokd.parameters import Parameter, values_of
from autokd.records import HEIR, TEACHER, Candidate, Stage, StudentSpec, Training
from autokd.space.distributions import centre, centre_of, count_values, flat, to_distribution
from autokd.space.stages import (
    USUAL_FEATURE_LOSS,
    donor_stage,
    finetune_stage,
    pretrain_stage,
    prune_stage,
)
from autokd.space.starts import Start, Starts, Surroundings
from autokd.students import FAMILIES, expand_model_names

# Gives a value of the distribution for the parameter of that name; a name always has the same distribution.
Suggest = Callable[[str, BaseDistribution], Any]
# Gives so many models between teacher and this student in cost, dearest first; fewer where there are none.
ChooseAssistants = Callable[[StudentSpec, int], Sequence[StudentSpec]]
START = "students.start"


class Space:
    """What a search may choose. Refuses what makes no sense when it is made, before the first trial."""

    def __init__(
        self,
        config: Config,
        *,
        image_size: int,
        classes: int | None = None,
        around: Surroundings | None = None,
    ) -> None:
        """`image_size` is the data's, for students whose own is not set; so are `classes`, of which some losses need three."""
        self._config = config
        try:
            self.models = expand_model_names(values_of(config.students.model))
        except ConfigError as error:
            raise ConfigError(f"students.model: {error}") from None
        self._image_size: Parameter = config.students.image_size or image_size
        self._families = _family_parameters(config, self.models)
        check_choices(config, classes)
        self.starts = Starts(
            config,
            self.models,
            self._families,
            image_size=centre_of("students.image_size", self._image_size),
            around=around or Surroundings(),
        )
        self._parameters = self._collect_parameters()
        self.distributions = {
            name: distribution
            for name, parameter in self._parameters.items()
            if (distribution := to_distribution(name, parameter)) is not None
        }
        self._fixed = {
            name: values_of(parameter)[0]
            for name, parameter in self._parameters.items()
            if name not in self.distributions
        }

    def sample(
        self,
        suggest: Suggest,
        choose_assistants: ChooseAssistants | None = None,
        *,
        start: str | None = None,
    ) -> Candidate:
        """One candidate. Asks only for the parameters that this candidate has, and for no `start` where that is given."""
        student = self.sample_student(suggest, start=start)
        training = self._sample_training(suggest, epochs=self._pick("train.epochs", suggest))
        loss = self._pick("distill.loss", suggest)
        count = 0 if loss == NO_LOSS else self._pick("schedule.assistants", suggest)
        specs = choose_assistants(student, count) if count and choose_assistants else ()
        dense = bool(specs) and self._pick("schedule.guidance", suggest) == DENSE
        mitigation = NONE if loss == NO_LOSS else self._pick("distill.mitigation", suggest)
        training = replace(training, **self._sample_mixing(loss, mitigation, suggest))
        *larger, begun = self.starts.trace(student, self._as_assistants(specs, student))
        stages = self._assistant_stages(larger, mitigation, dense=dense)
        stages.append(
            Stage(
                name="student",
                student=replace(begun.student, pruned=0.0),
                start_from=begun.start_from,
                training=training,
                mitigation=mitigation,
                **self._sample_teachers(loss, stages, suggest, dense=dense),
                **self._sample_loss(loss, mitigation, suggest),
            )
        )
        if loss != NO_LOSS and (epochs := self._pick("schedule.pretrain_epochs", suggest)):
            on = loss if loss == FEATURES else self._pick("schedule.pretrain_on", suggest)
            first = pretrain_stage(stages[-1], epochs, on_features=on == FEATURES)
            stages[-1:] = [first, replace(stages[-1], start_from=first.name)]
        if student.pruned:
            epochs = self._prune_epochs(training.epochs)
            stages.append(prune_stage(stages[-1], begun.student, epochs))
        if epochs := self._pick("schedule.finetune_epochs", suggest):
            stages.append(finetune_stage(stages[-1], epochs))
        if donor := next((each.donor for each in (*larger, begun) if each.donor), None):
            stages.insert(0, self.donor_stage(donor))
        return Candidate(stages=tuple(stages))

    def sample_student(self, suggest: Suggest, *, start: str | None = None) -> StudentSpec:
        """An architecture alone: what cost depends on."""
        model = self._pick("students.model", suggest)
        arguments = {
            key: self._pick(f"students.{model}.{key}", suggest)
            for key in self._families.get(model, {})
        }
        size = self._pick("students.image_size", suggest)
        student = StudentSpec(
            model=model,
            arguments=arguments,
            image_size=size,
            precision=self._pick("students.precision", suggest),
            pruned=self._pick("students.prune", suggest),
        )
        if start is None and START in self._parameters:
            start = self._pick(START, suggest)
        return replace(student, start=self.starts.of(student, start))

    def buildable_choices(self) -> list[dict[str, Any]]:
        """Every model at every image size (at both ends of a range): what may turn out impossible to build."""
        sizes = values_of(self._image_size)
        return [{"students.model": m, "students.image_size": s} for m in self.models for s in sizes]

    def count_students(self, model: str) -> int | None:
        """How many different architectures of one model there are; None: without number, as a range is continuous."""
        own = (f"students.{model}.{key}" for key in self._families.get(model, {}))
        names = ["students.image_size", "students.precision", "students.prune", *own]
        counts = [
            count_values(self.distributions[name]) for name in names if name in self.distributions
        ]
        return None if None in counts else math.prod(count or 1 for count in counts)

    @property
    def drop_rates(self) -> dict[str, float]:
        """The highest rates of dropout and stochastic depth that a candidate may have."""
        highest = {}
        for name in ("drop_rate", "drop_path_rate"):
            highest[name] = float(max(values_of(self._parameters[f"train.{name}"])))
        return highest

    @property
    def most_epochs(self) -> int:
        """Of a candidate's own stages with labels, of which rungs are shares."""
        student, finetuned = (
            int(max(values_of(self._parameters[name])))
            for name in ("train.epochs", "schedule.finetune_epochs")
        )
        pruned = max(values_of(self._parameters["students.prune"])) > 0
        return student + finetuned + (self._prune_epochs(student) if pruned else 0)

    def _prune_epochs(self, epochs: int) -> int:
        return self._config.schedule.prune_epochs or max(1, epochs // 3)

    @property
    def features_needed(self) -> tuple[int, bool]:
        """How many maps a candidate may compare at most, and whether any compares pooled features."""
        distill, schedule = self._config.distill, self._config.schedule
        losses = {*values_of(distill.feature_loss)} - {NONE}
        if may_pretrain(self._config) and FEATURES in values_of(schedule.pretrain_on):
            losses |= {USUAL_FEATURE_LOSS} if NONE in values_of(distill.feature_loss) else set()
        of = {FEATURE_LOSSES[name].of for name in losses}
        taps = max(values_of(distill.taps)) if "maps" in of else 0
        return taps, "pooled" in of or MFD in values_of(distill.mitigation)

    @property
    def may_ask_live(self) -> bool:
        """Whether some candidates need their teacher at every step: for maps, or for mixed images."""
        mixed = any(
            max(values_of(self._parameters[f"train.{key}"])) > 0 for key in ("mixup", "cutmix")
        )
        taught = {*values_of(self._config.distill.loss)} != {NO_LOSS}
        taps, _ = self.features_needed
        return taught and (mixed or taps > 0)

    def _collect_parameters(self) -> dict[str, Parameter]:
        """Every parameter of the space under its path in the search file."""
        config = self._config
        parameters: dict[str, Parameter] = {
            "students.model": self.models if len(self.models) > 1 else self.models[0],
            "students.image_size": self._image_size,
            "students.precision": config.students.precision,
            "students.prune": config.students.prune,
        }
        if config.students.start is not None:
            parameters[START] = config.students.start
        for family, own in self._families.items():
            parameters |= {f"students.{family}.{key}": value for key, value in own.items()}
        for section in ("distill", "schedule", "train"):
            values = getattr(config, section)
            parameters |= flat(section, values)
        return parameters

    def _pick(self, name: str, suggest: Suggest) -> Any:
        if name in self._fixed:
            return self._fixed[name]
        return suggest(name, self.distributions[name])

    def _sample_training(self, suggest: Suggest, *, epochs: int) -> Training:
        searched = (
            "batch_size",
            "optimizer",
            "learning_rate",
            "weight_decay",
            "label_smoothing",
            "drop_rate",
            "drop_path_rate",
            "augmentation",
            "ema",
            "clip_norm",
        )
        return Training(
            epochs=epochs,
            patience=self._config.train.patience,
            precision=self._config.train.precision,
            **{key: self._pick(f"train.{key}", suggest) for key in searched},
        )

    def _sample_mixing(self, loss: str, mitigation: str, suggest: Suggest) -> dict[str, Any]:
        """A mixed image has no single label and no single group."""
        if loss in NEED_HARD_LABELS or mitigation != NONE:
            return {}
        return {key: self._pick(f"train.{key}", suggest) for key in ("mixup", "cutmix")}

    def _sample_loss(self, loss: str, mitigation: str, suggest: Suggest) -> dict[str, Any]:
        if loss == NO_LOSS:
            return {"loss_weights": {"ce": 1.0}, "temperature": 1.0}
        weights, temperature = {"ce": self._pick("distill.label_weight", suggest)}, 1.0
        if loss != FEATURES:
            weights[loss] = self._pick("distill.weight", suggest)
        if mitigation == MFD:
            weights[MFD] = self._pick("distill.mfd_weight", suggest)
        if loss != FEATURES:
            temperature = self._pick("distill.temperature", suggest)
        own = {key: self._pick(f"distill.{loss}.{key}", suggest) for key in ARGUMENTS.get(loss, ())}
        taps = 1
        if (feature := self._pick("distill.feature_loss", suggest)) != NONE:
            usual = FEATURE_LOSSES[feature].weight
            weights[feature] = usual * self._pick("distill.feature_weight", suggest)
            if FEATURE_LOSSES[feature].of == "maps":
                taps = self._pick("distill.taps", suggest)
        return {
            "loss_weights": {name: weight for name, weight in weights.items() if weight > 0},
            "temperature": temperature,
            "loss_arguments": {loss: own} if own else {},
            "taps": taps,
            "balance": self._pick("distill.balance", suggest),
            "teacher_warmup": self._pick("distill.warmup", suggest),
            "teacher_until": self._pick("distill.until", suggest),
        }

    def _sample_teachers(
        self, loss: str, larger: Sequence[Stage], suggest: Suggest, *, dense: bool
    ) -> dict[str, Any]:
        """Of a stage after `larger` ones: the last of them, or with dense guidance all and the teacher."""
        if loss == NO_LOSS:
            return {"teachers": ()}
        names = (TEACHER, *(stage.name for stage in larger))
        if not dense or len(names) == 1:
            return {"teachers": names[-1:]}
        return {
            "teachers": names,
            "teacher_drop": self._pick("schedule.teacher_drop", suggest),
        }

    def donor_stage(self, donor: StudentSpec) -> Stage:
        """Trained at the centre of the space, as assistants are; not at all if it is published, unless the search file says so."""
        epochs = self._config.schedule.donor_epochs
        if not donor.start:
            epochs = epochs or self._pick("train.epochs", centre)
        return donor_stage(donor, self._sample_training(centre, epochs=epochs or 0))

    def _as_assistants(
        self, specs: Sequence[StudentSpec], student: StudentSpec
    ) -> list[StudentSpec]:
        """They never ship, and start as the student does."""
        choice = None
        if self._config.students.start is not None:
            choice = HEIR if student.start else RANDOM
        return [
            replace(spec, precision="fp32", pruned=0.0, start=self.starts.of(spec, choice))
            for spec in specs
        ]

    def _assistant_stages(
        self, starts: Sequence[Start], mitigation: str, *, dense: bool
    ) -> list[Stage]:
        """Assistants are trained at the centre of the space, so that trials can share them.

        But for start, guidance and mitigation, which are the candidate's: what an assistant does to a group is handed down.
        """
        stages: list[Stage] = []
        for i, start in enumerate(starts, start=1):
            epochs = self._config.schedule.assistant_epochs or self._pick("train.epochs", centre)
            loss = next(
                (name for name in values_of(self._config.distill.loss) if name != NO_LOSS), "kd"
            )
            stages.append(
                Stage(
                    name=f"assistant_{i}",
                    student=start.student,
                    start_from=start.start_from,
                    training=replace(
                        self._sample_training(centre, epochs=epochs),
                        **self._sample_mixing(loss, mitigation, centre),
                    ),
                    mitigation=mitigation,
                    **self._sample_teachers(loss, stages, centre, dense=dense),
                    **self._sample_loss(loss, mitigation, centre),
                )
            )
        return stages


def _family_parameters(config: Config, models: Sequence[str]) -> dict[str, Mapping[str, Parameter]]:
    """For each family in the space its parameters, the search file's before the family's own."""
    for family, own in config.students.families.items():
        check_names("students.families", [family], [*FAMILIES])
        if family not in models:
            raise ConfigError(f"students.families.{family}: is not in students.model; add it there")
        check_names(f"students.families.{family}", [*own], [*FAMILIES[family].parameters])
    return {
        name: {**FAMILIES[name].parameters, **config.students.families.get(name, {})}
        for name in models
        if name in FAMILIES
    }
