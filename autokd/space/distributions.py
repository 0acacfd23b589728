"""Parameters of a search file as Optuna distributions."""

from __future__ import annotations

import math
import warnings
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autokd.errors import ConfigError
from autokd.parameters import Parameter, Range, Section, values_of


def flat(path: str, values: Section) -> dict[str, Parameter]:
    """Parameters of a section and of the sections in it by their paths."""
    found: dict[str, Parameter] = {}
    for key in type(values).model_fields:
        value = getattr(values, key)
        inner = isinstance(value, Section) and not isinstance(value, Range)
        found |= flat(f"{path}.{key}", value) if inner else {f"{path}.{key}": value}
    return found


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


def centre_of(name: str, parameter: Parameter) -> Any:
    """What `centre` takes of a parameter, whether there is anything to choose or not."""
    distribution = to_distribution(name, parameter)
    return values_of(parameter)[0] if distribution is None else centre(name, distribution)


def count_values(distribution: BaseDistribution) -> int | None:
    if isinstance(distribution, CategoricalDistribution):
        return len(set(distribution.choices))
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    if not distribution.step:
        return None
    return round((distribution.high - distribution.low) / distribution.step) + 1
