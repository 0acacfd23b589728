"""The search space: a search file's parameters as Optuna distributions, and a Candidate from a value for each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autokd.choices import (
    DENSE,
    FEATURES,
    NO_LOSS,
    check_choices,
    check_names,
    may_pretrain,
)
from autokd.config import Config
from autokd.errors import ConfigError, nearest_name
from autokd.feature_losses import FEATURE_LOSSES
from autokd.losses import ARGUMENTS, NEED_HARD_LABELS
from autokd.mitigation import BALANCED_SAMPLING, GROUP_DRO, MFD, NONE
from autokd.parameters import Parameter, Range, Section, values_of
from autokd.pretraining import USUAL_FEATURE_LOSS, pretrain_stage
from autokd.records import PRETRAINED, TEACHER, Candidate, Stage, StudentSpec, Training
from autokd.students import FAMILIES, expand_model_names, has_pretrained

# Gives a value of the distribution for the parameter of that name; a name always has the same distribution.
Suggest = Callable[[str, BaseDistribution], Any]
# Gives so many models between teacher and this student in cost, dearest first; fewer where there are none.
ChooseAssistants = Callable[[StudentSpec, int], Sequence[StudentSpec]]


class Space:
    """What a search may choose. Refuses what makes no sense when it is made, before the first trial."""

    def __init__(self, config: Config, *, image_size: int, classes: int | None = None) -> None:
        """`image_size` is the data's, for students whose own is not set; so are `classes`, of which some losses need three."""
        self._config = config
        try:
            self.models = expand_model_names(values_of(config.students.model))
        except ConfigError as error:
            raise ConfigError(f"students.model: {error}") from None
        self._starts = _starts(config, self.models)
        self._image_size: Parameter = config.students.image_size or image_size
        self._families = _family_parameters(config, self.models)
        check_choices(config, classes)
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
        self, suggest: Suggest, choose_assistants: ChooseAssistants | None = None
    ) -> Candidate:
        """One candidate. Asks only for the parameters that this candidate has."""
        student = self.sample_student(suggest)
        training = self._sample_training(suggest, epochs=self._pick("train.epochs", suggest))
        loss = self._pick("distill.loss", suggest)
        count = 0 if loss == NO_LOSS else self._pick("schedule.assistants", suggest)
        specs = choose_assistants(student, count) if count and choose_assistants else ()
        dense = bool(specs) and self._pick("schedule.guidance", suggest) == DENSE
        mitigation = NONE if loss == NO_LOSS else self._pick("distill.mitigation", suggest)
        training = replace(training, **self._sample_mixing(loss, mitigation, suggest))
        stages = self._assistant_stages(specs, mitigation, dense=dense)
        stages.append(
            Stage(
                name="student",
                student=replace(student, pruned=0.0),
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
            stages.append(_prune_stage(stages[-1], student, self._prune_epochs(training.epochs)))
        if epochs := self._pick("schedule.finetune_epochs", suggest):
            stages.append(_finetune_stage(stages[-1], epochs))
        return Candidate(stages=tuple(stages))

    def sample_student(self, suggest: Suggest) -> StudentSpec:
        """An architecture alone: what cost depends on."""
        model = self._pick("students.model", suggest)
        arguments = {
            key: self._pick(f"students.{model}.{key}", suggest)
            for key in self._families.get(model, {})
        }
        size = self._pick("students.image_size", suggest)
        return StudentSpec(
            model=model,
            arguments=arguments,
            image_size=size,
            precision=self._pick("students.precision", suggest),
            pruned=self._pick("students.prune", suggest),
            start=self._starts.get(model),
        )

    def buildable_choices(self) -> list[dict[str, Any]]:
        """Every model at every image size (at both ends of a range): what may turn out impossible to build."""
        sizes = values_of(self._image_size)
        return [{"students.model": m, "students.image_size": s} for m in self.models for s in sizes]

    def count_students(self, model: str) -> int | None:
        """How many different architectures of one model there are; None: without number, as a range is continuous."""
        own = (f"students.{model}.{key}" for key in self._families.get(model, {}))
        names = ["students.image_size", "students.precision", "students.prune", *own]
        counts = [_count(self.distributions[name]) for name in names if name in self.distributions]
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
        for family, own in self._families.items():
            parameters |= {f"students.{family}.{key}": value for key, value in own.items()}
        for section in ("distill", "schedule", "train"):
            values = getattr(config, section)
            parameters |= _flat(section, values)
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

    def _assistant_stages(
        self, specs: Sequence[StudentSpec], mitigation: str, *, dense: bool
    ) -> list[Stage]:
        """Assistants are trained at the centre of the space, so that trials can share them.

        But for guidance and mitigation, which are the candidate's: what an assistant does to a group is handed down.
        """
        stages: list[Stage] = []
        for i, spec in enumerate(specs, start=1):
            epochs = self._config.schedule.assistant_epochs or self._pick("train.epochs", centre)
            loss = next(
                (name for name in values_of(self._config.distill.loss) if name != NO_LOSS), "kd"
            )
            stages.append(
                Stage(
                    name=f"assistant_{i}",
                    student=replace(spec, precision="fp32", pruned=0.0),  # it never ships
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


def to_distribution(name: str, parameter: Parameter | None) -> BaseDistribution | None:
    """The parameter as Optuna sees it; None where there is nothing to choose."""
    if isinstance(parameter, tuple) and len(set(parameter)) > 1:
        return CategoricalDistribution(parameter)
    if not isinstance(parameter, Range) or parameter.low == parameter.high:
        return None
    kind: Any = IntDistribution if isinstance(parameter.low, int) else FloatDistribution
    options: dict[str, Any] = {"log": parameter.log}
    if parameter.step is not None:
        options["step"] = parameter.step
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna only warns of a range that its step does not divide
        try:
            distribution: BaseDistribution = kind(parameter.low, parameter.high, **options)
            return distribution
        except (ValueError, UserWarning) as error:
            raise ConfigError(f"{name}: {error}") from None


def centre(_name: str, distribution: BaseDistribution) -> Any:
    """A `Suggest` that takes the first of a list and the middle of a range, geometric where it is logarithmic."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    low, high = distribution.low, distribution.high
    middle = math.sqrt(low * high) if distribution.log else (low + high) / 2
    if distribution.step:
        middle = low + round((middle - low) / distribution.step) * distribution.step
    return round(middle) if isinstance(distribution, IntDistribution) else middle


def _count(distribution: BaseDistribution) -> int | None:
    if isinstance(distribution, CategoricalDistribution):
        return len(set(distribution.choices))
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    if not distribution.step:
        return None
    return round((distribution.high - distribution.low) / distribution.step) + 1


def _prune_stage(student: Stage, pruned: StudentSpec, epochs: int) -> Stage:
    """The same lesson once more for what is left of the student, three times slower."""
    rate = student.training.learning_rate / 3
    training = replace(student.training, epochs=epochs, learning_rate=rate)
    return replace(
        student, name="prune", student=pruned, training=training, start_from=student.name
    )


def _finetune_stage(student: Stage, epochs: int) -> Stage:
    """A last stage on labels alone, from the student's weights, ten times slower: the usual choice for fine-tuning.

    It keeps a mitigation that needs no teacher: without it, it would undo what that did.
    """
    kept = student.mitigation in (BALANCED_SAMPLING, GROUP_DRO)
    rate = student.training.learning_rate / 10
    training = replace(student.training, epochs=epochs, learning_rate=rate)
    return Stage(
        name="finetune",
        student=student.student,
        teachers=(),
        loss_weights={"ce": 1.0},
        temperature=1.0,
        training=training,
        start_from=student.name,
        mitigation=student.mitigation if kept else NONE,
    )


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


def _starts(config: Config, models: Sequence[str]) -> dict[str, str]:
    """Model -> the weights that it starts from, where it does."""
    wanted = config.students.pretrained
    if isinstance(wanted, bool):
        found = {model: PRETRAINED for model in models if wanted and has_pretrained(model)}
        if wanted and not found:
            raise ConfigError(
                f"students.pretrained: timm has no weights of {', '.join(models)}; set it to false, or add a model that "
                "timm has weights of"
            )
        return found
    for model, file in wanted.items():
        if model not in models or not has_pretrained(model):
            raise ConfigError(
                f"students.pretrained: '{model}' is none of timm's models in students.model"
                f"{nearest_name(model, models)}"
            )
        if not file.is_file():
            raise ConfigError(f"students.pretrained.{model}: there is no file {file}")
    return {model: str(file) for model, file in wanted.items()}


def _flat(path: str, values: Section) -> dict[str, Parameter]:
    """Parameters of a section and of the sections in it by their paths."""
    found: dict[str, Parameter] = {}
    for key in type(values).model_fields:
        value = getattr(values, key)
        inner = isinstance(value, Section) and not isinstance(value, Range)
        found |= _flat(f"{path}.{key}", value) if inner else {f"{path}.{key}": value}
    return found
