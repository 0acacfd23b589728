"""Where a student's weights come from: nowhere, published weights of its own, or a larger relative's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
from torch import nn

from autokd.choices import RANDOM
from autokd.config import Config
from autokd.errors import ConfigError, nearest_name
from autokd.parameters import Parameter, values_of
from autokd.records import DONOR, HEIR, PRETRAINED, TEACHER, StudentSpec, content_hash
from autokd.students import (
    FAMILIES,
    Family,
    can_inherit,
    create_student,
    has_pretrained,
    published,
)

Figures = tuple[float, ...] | None  # of each channel

ENOUGH = 0.9  # share of a student's weights that a donor must be able to fill
GEOMETRY = ("stem_stride", "patch_size")  # parameters of families that make no member larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What of data and teacher matters to where students start."""

    channels: int = 3
    classes: int = 10
    mean: Figures = None  # of the data
    std: Figures = None
    teacher: StudentSpec | None = None  # None: one that no student can inherit from


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A student with where its weights come from and what its pixels are normalised by."""

    student: StudentSpec
    start_from: str | None = None  # the stage whose weights it inherits; None: nobody's
    donor: StudentSpec | None = None  # of the stage DONOR, where it is that one


class Starts:
    """The starts of a space's students. Refuses what can't be when it is made."""

    def __init__(
        self,
        config: Config,
        models: Sequence[str],
        families: Mapping[str, Mapping[str, Parameter]],
        *,
        image_size: int,
        around: Surroundings,
    ) -> None:
        """`families`: those among `models` with their parameters; `image_size`: what donors are trained at."""
        self._families, self._image_size, self._around = families, image_size, around
        self._weights = _weights(config, models, families)
        self._shares: dict[str, float] = {}
        self._large: dict[str, nn.Module] = {}  # donors on the meta device
        self._choices = values_of(config.students.start)
        if HEIR in self._choices:
            for model in models:
                self._refuse_without_donor(model)

    @property
    def teacher(self) -> StudentSpec | None:
        """The search's; None: one that no student can inherit from."""
        return self._around.teacher

    def of(self, student: StudentSpec, choice: str | None) -> str | None:
        """StudentSpec.start for a value of students.start; None: the search file has none, and published weights decide."""
        if choice == RANDOM:
            return None
        own = self._weights.get(student.model)
        is_heir = choice == HEIR or self._published(student) is not None
        return own or (HEIR if is_heir else None)

    def compared(self, student: StudentSpec) -> tuple[str | None, ...]:
        """The starts that a student is compared by, the space's first choice first; (None,): it has but one, which has no name."""
        first = self._choices[0]
        if first is None:
            return (HEIR, RANDOM) if self.of(student, None) == HEIR else (None,)
        if HEIR not in self._choices:
            return (None,)
        return (first, RANDOM if first == HEIR else HEIR)

    def trace(self, student: StudentSpec, assistants: Sequence[StudentSpec] = ()) -> list[Start]:
        """The starts of a candidate's assistants, dearest first, and of its student.

        A donor is the teacher, a larger assistant, a published model or one trained on labels, in this order. A candidate
        has one stage DONOR: an assistant that needs another one than the student starts from random weights.
        """
        named = {f"assistant_{i}": spec for i, spec in enumerate(assistants, start=1)}
        donor = self._first(student, named).donor
        starts: list[Start] = []
        earlier: dict[str, StudentSpec] = {}
        for name, spec in named.items():
            start = self._first(spec, earlier)
            if start.donor and start.donor != (donor or start.donor):
                start = Start(student=replace(spec, start=None))
            donor = donor or start.donor
            starts.append(start)
            earlier[name] = start.student
        return [*starts, self._first(student, earlier)]

    def _first(self, heir: StudentSpec, assistants: Mapping[str, StudentSpec]) -> Start:
        """`assistants` are dearest first. Raises ConfigError where there is no donor."""
        if heir.start is None:
            return Start(student=heir)
        if heir.start != HEIR:
            return Start(student=self._as_published(heir))
        relatives = {TEACHER: self._around.teacher, **dict(reversed([*assistants.items()]))}
        for name, relative in relatives.items():
            if relative is not None and self.share(heir, relative) >= ENOUGH:
                return Start(
                    student=self._shown(heir, relative.mean, relative.std), start_from=name
                )
        donor = self._published(heir) or self._largest(heir)
        if donor is None:
            raise ConfigError(
                f"students.start: {HEIR}: there is no larger relative that {heir.model} could inherit from: "
                "the teacher is none; give it weights of its own (students.pretrained: true, or "
                f"{{{heir.model}: FILE}}), leave it out, or set students.start to {RANDOM}"
            )
        student = self._shown(heir, donor.mean, donor.std)
        return Start(student=student, start_from=DONOR, donor=donor)

    def share(self, heir: StudentSpec, donor: StudentSpec) -> float:
        """Of the heir's weights that the donor can fill, 0..1."""
        key = content_hash([_whole(heir).architecture(), donor.architecture()])
        if key not in self._shares:
            name = content_hash(donor.architecture())
            if name not in self._large:
                self._large[name] = self._on_meta(donor)
            self._shares[key] = can_inherit(self._on_meta(_whole(heir)), self._large[name])
        return self._shares[key]

    def _on_meta(self, spec: StudentSpec) -> nn.Module:
        with torch.device("meta"):
            return create_student(
                spec, classes=self._around.classes, channels=self._around.channels
            )

    def _published(self, heir: StudentSpec) -> StudentSpec | None:
        """The fittest of the published models that its family can inherit from; None: no weights, or none that are enough."""
        family = FAMILIES.get(heir.model) if self._weights else None
        for name in family.donors(**heir.arguments) if family else ():
            if (weights := self._weights.get(name)) is not None:
                spec = StudentSpec(model=name, image_size=self._image_size, start=weights)
                if self.share(heir, spec) >= ENOUGH:
                    return self._as_published(spec)
        return None

    def _largest(self, heir: StudentSpec) -> StudentSpec | None:
        """The family's member of most weights, but for what makes another net of it; None: it is of no family."""
        if heir.model not in self._families:
            return None
        arguments = {
            name: heir.arguments[name]
            if name in GEOMETRY or isinstance(heir.arguments[name], str)
            else max(values_of(values))
            for name, values in self._families[heir.model].items()
        }
        return StudentSpec(model=heir.model, arguments=arguments, image_size=self._image_size)

    def _as_published(self, spec: StudentSpec) -> StudentSpec:
        """Shown its pixels as the images were that its weights are of, where those had as many channels."""
        known = published(spec.model, None if spec.start == PRETRAINED else Path(str(spec.start)))
        if known is None or len(known.mean) != self._around.channels:
            return spec
        return self._shown(spec, known.mean, known.std)

    def _shown(self, spec: StudentSpec, mean: Figures, std: Figures) -> StudentSpec:
        """Its pixels normalised by these; as the data's own they are not named."""
        if (mean, std) == (self._around.mean, self._around.std):
            mean = std = None
        return replace(spec, mean=mean, std=std)

    def _refuse_without_donor(self, model: str) -> None:
        if model in self._weights or model in self._families:
            return
        self._first(StudentSpec(model=model, image_size=self._image_size, start=HEIR), {})


def _whole(spec: StudentSpec) -> StudentSpec:
    """As it is before it is pruned, which is when it inherits."""
    return replace(spec, pruned=0.0, precision="fp32")


def _weights(
    config: Config, models: Sequence[str], families: Mapping[str, Mapping[str, Parameter]]
) -> dict[str, str]:
    """timm's model -> its published weights, where students.pretrained gives them: PRETRAINED, or a file.

    Of students and of what families in the space can inherit from.
    """
    wanted = config.students.pretrained
    donors = {
        name: name.partition(".")[0]  # as people call it
        for family, parameters in families.items()
        for name in _donors(FAMILIES[family], parameters)
    }
    known = {model: model for model in models if has_pretrained(model)} | donors
    if isinstance(wanted, bool):
        if wanted and not known:
            raise ConfigError(
                f"students.pretrained: timm has no weights of {', '.join(models)}; set it to false, or add a model that "
                "timm has weights of"
            )
        return dict.fromkeys(known, PRETRAINED) if wanted else {}
    for model, file in wanted.items():
        if model not in {*known, *known.values()}:
            raise ConfigError(
                f"students.pretrained: '{model}' is none of timm's models in students.model"
                + (
                    f", and its families inherit from {', '.join(donors.values())}"
                    if donors
                    else ""
                )
                + nearest_name(model, [*known.values()])
            )
        if not file.is_file():
            raise ConfigError(f"students.pretrained.{model}: there is no file {file}")
    return {
        name: str(wanted.get(name, wanted.get(short)))
        for name, short in known.items()
        if name in wanted or short in wanted
    }


def _donors(family: Family, parameters: Mapping[str, Parameter]) -> Iterator[str]:
    """All published models that some member can inherit from: how fit they are goes by numbers, which there are by words."""
    values = [
        values_of(value) if isinstance(values_of(value)[0], str) else values_of(value)[:1]
        for value in parameters.values()
    ]
    for member in product(*values):
        yield from family.donors(**dict(zip(parameters, member, strict=True)))
