"""One parameter of a search file: a scalar is fixed, a list is a choice, {low, high, log, step} is a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from autokd.quantities import BYTES, COUNT, MILLISECONDS, SECONDS, parse_quantity

T = TypeVar("T", int, float, str)
N = TypeVar("N", int, float)


class Section(BaseModel):
    """Keys that belong together. The line under a key is its description in the JSON schema."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_flag(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's yes and no are no numbers, though Python counts with them."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        allowed = (wanted, *get_args(wanted))
        if isinstance(value, bool) and bool not in allowed:
            is_section = any(isinstance(a, type) and issubclass(a, Section) for a in allowed)
            cure = "; {} is all defaults" if is_section else ""
            raise ValueError(f"must not be yes or no, got {str(value).lower()}{cure}")
        return value


class Range(Section, Generic[N]):
    """Every value between two bounds, both included."""

    low: N
    """The least."""
    high: N
    """The most."""
    log: bool = False
    """Sample the logarithm: for values that span orders of magnitude."""
    step: N | None = None
    """Only every so much, from `low` on."""

    @model_validator(mode="after")
    def _check(self) -> Range[N]:
        if self.low > self.high:
            raise ValueError(f"low must be <= high, got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low > 0, got low={self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step can't be used together; leave one out")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be > 0, got step={self.step}")
        return self


def _kind(value: object) -> str:
    if isinstance(value, (Mapping, Range)):
        return "range"
    return "choice" if isinstance(value, (list, tuple)) else "value"


def _kind_and_number(value: object) -> str:
    """As `_kind`, with whole numbers kept whole: a family's width is an int, its ratio may be a float."""
    kind = _kind(value)
    if kind == "range":
        bounds = value if isinstance(value, Mapping) else dict(value)  # type: ignore[call-overload]
        numbers = (bounds.get("low"), bounds.get("high"), bounds.get("step"))
        kind = "range" if any(isinstance(n, (float, str)) for n in numbers) else "int_range"
    return kind


_Choice = Annotated[tuple[T, ...], Field(min_length=1)]
_by_kind = Discriminator(_kind)
# A scalar is fixed, a list is a choice, {low, high, log, step} is a range.
FloatParameter = Annotated[
    Annotated[float, Tag("value")]
    | Annotated[_Choice[float], Tag("choice")]
    | Annotated[Range[float], Tag("range")],
    _by_kind,
]
IntParameter = Annotated[
    Annotated[int, Tag("value")]
    | Annotated[_Choice[int], Tag("choice")]
    | Annotated[Range[int], Tag("range")],
    _by_kind,
]
TextParameter = Annotated[
    Annotated[str, Tag("value")] | Annotated[_Choice[str], Tag("choice")], _by_kind
]


def _number_if_it_is_one(value: object) -> object:
    """PyYAML reads 3e-4 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Scalar = Annotated[int | float | str, BeforeValidator(_number_if_it_is_one)]
Parameter = Annotated[
    Annotated[Scalar, Tag("value")]
    | Annotated[Annotated[tuple[Scalar, ...], Field(min_length=1)], Tag("choice")]
    | Annotated[Range[int], Tag("int_range")]
    | Annotated[Range[float], Tag("range")],
    Discriminator(_kind_and_number),
]


def values_of(parameter: Any) -> tuple[Any, ...]:
    """All that a parameter may be; of a range both ends."""
    if isinstance(parameter, Range):
        return parameter.low, parameter.high
    return parameter if isinstance(parameter, tuple) else (parameter,)


@dataclass(frozen=True)
class Limits:
    """Every value that a parameter can take lies in [low, high], or in (low, high] with `above`."""

    low: float
    high: float
    above: bool

    def check(self, parameter: Any) -> Any:
        for value in values_of(parameter):
            if not (self.low <= value <= self.high) or (self.above and value == self.low):
                allowed = f"> {self.low:g}" if self.above else f">= {self.low:g}"
                limit = f" and <= {self.high:g}" if self.high < float("inf") else ""
                raise ValueError(f"must be {allowed}{limit}, got {value:g}")
        return parameter

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Of the single value and of each in a list; JSON has no way to say it of a range's ends."""
        found = handler(schema)
        limits = {"exclusiveMinimum" if self.above else "minimum": self.low}
        if self.high < float("inf"):
            limits["maximum"] = self.high
        for way in found["oneOf"]:
            way.get("items", way).update({} if "$ref" in way else limits)
        return found


def within(low: float, high: float = float("inf"), *, above: bool = False) -> Limits:
    return Limits(low, high, above)


def _written(*examples: str) -> WithJsonSchema:
    """A number, or one with a unit as people write it."""
    return WithJsonSchema(
        {"anyOf": [{"type": "number"}, {"type": "string"}], "examples": [*examples]}
    )


Count = Annotated[
    float, BeforeValidator(lambda v: parse_quantity(v, COUNT)), _written("300M", "200k")
]
Milliseconds = Annotated[
    float, BeforeValidator(lambda v: parse_quantity(v, MILLISECONDS)), _written("20ms", "0.5s")
]
Bytes = Annotated[
    float, BeforeValidator(lambda v: parse_quantity(v, BYTES)), _written("10MB", "256kB")
]
Seconds = Annotated[
    float, BeforeValidator(lambda v: parse_quantity(v, SECONDS)), _written("90s", "15m", "2h")
]


def _class_name(value: object) -> object:
    """YAML reads 3 as a number, and no, 1.10, ~ and 2024-05-01 as what can't be turned back."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"YAML reads it as {value!r}; put the class's name in quotes")
    return value


def _once_each(names: tuple[str, ...]) -> tuple[str, ...]:
    if double := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"'{double[0]}' stands {names.count(double[0])} times; name each class once"
        )
    return names


ClassNames = Annotated[
    tuple[
        Annotated[
            str,
            BeforeValidator(_class_name),
            WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ],
        ...,
    ],
    Field(min_length=2),
    AfterValidator(_once_each),
]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]

# Of the unions above and the teacher's `what`; no part of a key's path.
TAGS = ("value", "choice", "range", "int_range", "part", "last_blocks")
