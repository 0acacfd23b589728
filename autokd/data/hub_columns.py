"""Which column of a hub set holds images, which one labels, and which are metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autokd.config import DataConfig
from autokd.errors import ConfigError, DataError, nearest_name

_LABEL = ("label", "labels")  # decides where several columns could be meant
_PLAIN = ("ClassLabel", "string", "large_string", "bool", "int", "uint", "float")

Features = Mapping[str, Any]  # of `datasets`, by column


def find_columns(config: DataConfig, features: Features) -> tuple[str, str]:
    """Image and label column: those that are named, or else the only ones that could be.

    Raises ConfigError for a name that is no column, DataError where there are none or several.
    """
    image = _choose(config, "image_column", "images", features, _image_columns(features))
    labels = [key for key, f in features.items() if _kind(f) == "ClassLabel"]
    if config.label_column or not labels:
        labels = plain_columns(features, used=(image,))
    return image, _choose(config, "label_column", "labels", features, labels)


def plain_columns(features: Features, *, used: Sequence[str]) -> list[str]:
    """Columns of numbers and texts."""
    return [
        key
        for key, feature in features.items()
        if key not in used and _kind(feature).startswith(_PLAIN)
    ]


def _image_columns(features: Features) -> list[str]:
    """Of type Image; where none is, of files as a table without types has them."""
    typed = [key for key, feature in features.items() if _kind(feature) == "Image"]
    return typed or [
        key
        for key, feature in features.items()
        if _kind(feature) in ("binary", "large_binary")
        or (isinstance(feature, Mapping) and set(feature) == {"bytes", "path"})
    ]


def _choose(
    config: DataConfig, key: str, what: str, features: Features, found: Sequence[str]
) -> str:
    given = getattr(config, key)
    has = ", ".join(f"{column} ({_kind(feature)})" for column, feature in features.items())
    if given and given not in features:
        raise ConfigError(
            f"data.{key}: '{given}' is no column of {config.name}, which has {has}."
            f"{nearest_name(given, features)}"
        )
    if given:
        if given not in found:
            raise DataError(f"data.{key}: '{given}' of {config.name} holds no {what}; it has {has}")
        return str(given)
    usual = [column for column in found if column.lower() in _LABEL]
    if len(found) == 1 or len(usual) == 1:
        return (usual or found)[0]
    if not found:
        raise DataError(f"{config.name}: has no column of {what}; it has {has}")
    raise DataError(
        f"{config.name}: {len(found)} columns could hold {what}; "
        f"set data.{key} to one of {', '.join(found)}"
    )


def _kind(feature: Any) -> str:
    """``Image``, ``ClassLabel``; of plain values their type, as ``string``."""
    name = type(feature).__name__
    return str(feature.dtype) if name == "Value" else name
