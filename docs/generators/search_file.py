"""The page on search files, from the JSON schema that `autokd schema` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from autokd.choices import known_names
from autokd.config import Config
from autokd.data import SOURCES
from autokd.parameters import Range
from autokd.students.families import FAMILIES
from autokd.targets import TARGETS

HEAD = """# The search file

Every key that a search file may have, made from the schema that `autokd schema` prints. An unknown key is refused, with the
nearest known one. Only `data.source`, `teacher` and `students.model` have no default.

Where the type says *value, list or range*, a single value is fixed, a list is a choice, and a range is searched between its ends:

```yaml
train:
  epochs: 12                                    # fixed
  augmentation: [light, none]                   # a choice
  learning_rate: {low: 3e-3, high: 3e-2, log: true}  # a range, by its logarithm
  drop_rate: {low: 0.0, high: 0.3, step: 0.1}   # every tenth of it
```

Numbers with units are written as people write them: `300M`, `20ms`, `10MB`, `2h`. Shares are 0..1, never per cent.
"""


def page() -> str:
    schema = Config.model_json_schema()
    parts = [HEAD, *_section("", schema, schema["$defs"], _names())]
    return "\n".join([*parts, *_optimisers(), *_families(), *_targets()])


def _section(
    path: str, section: Mapping[str, Any], defs: Mapping[str, Any], names: Mapping[str, str]
) -> Iterator[str]:
    """A heading and a table of its keys, then the sections within it."""
    if path:
        yield f"\n{'#' * (2 + path.count('.'))} {path}\n"
        yield section["description"].replace("\n", " ") + "\n"
    else:
        yield "\n## Top level\n"
    yield "| key | type | default | what it is |\n| --- | --- | --- | --- |"
    required = section.get("required", ())
    inner = []
    for key, value in section["properties"].items():
        full = f"{path}.{key}".lstrip(".")
        below = _below(value)
        nested = below and defs[below]
        if nested and "properties" in nested and nested is not section and below[:5] != "Range":
            inner.append((full, nested))
            named = "additionalProperties" in value
            shown = f"{'name: path or ' if named else ''}section, see [{full}](#{full.replace('.', '')})"
            default = "required" if key in required else "–" if named else "all defaults"
        else:
            shown = names.get(full) or _type(value, path)
            default = "required" if key in required else _default(value.get("default"))
        what = value["description"].replace("|", "\\|")
        yield f'| <a id="{full}"></a>`{key}` | {shown} | {default} | {what} |'
    for full, nested in inner:
        yield from _section(full, nested, defs, names)


def _below(value: Mapping[str, Any]) -> str:
    """The name of the record that a key holds, or nothing."""
    each = value.get("additionalProperties")  # of a mapping
    ways = [
        value,
        *value.get("anyOf", ()),
        *(each.get("anyOf", ()) if isinstance(each, dict) else ()),
    ]
    found = [str(way["$ref"]).rsplit("/", 1)[1] for way in ways if "$ref" in way]
    return found[0] if found else ""


def _default(value: Any) -> str:
    if value in (None, [], {}):
        return "–"
    return f"`{json.dumps(value)}`".replace('"', "")


def _type(value: Mapping[str, Any], path: str) -> str:
    ways = [way for way in value.get("anyOf", ()) if way.get("type") != "null"]
    if "examples" in value:
        return "number with a unit: " + ", ".join(f"`{one}`" for one in value["examples"])
    if len(ways) == 1:
        return _type(ways[0], path)
    if ways:
        return " or ".join(_type(way, path) for way in ways)
    if "oneOf" in value:
        return _parameter(value["oneOf"], path)
    if "enum" in value:
        return "one of " + ", ".join(f"`{one}`" for one in value["enum"])
    if "$ref" in value:
        return f"[{path}](#{path})"
    return _plain(value, path)


def _plain(value: Mapping[str, Any], path: str) -> str:
    match value.get("type"):
        case "array":
            items = value.get("items") or value.get("prefixItems", [{}])[0]
            return f"list: {_type(items, path)}, …"
        case "object":
            within = value.get("additionalProperties")
            if isinstance(within, dict):
                return f"name: {_type(within, path)}"
            return "mapping"
        case "string":
            return "path" if value.get("format") == "path" else "text"
        case "boolean":
            return "`true` or `false`"
        case "integer" | "number" as kind:
            name = "whole number" if kind == "integer" else "number"
            return f"{name}{_limits(value)}"
    return "any value"


def _limits(value: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {value[name]:g}" for name, sign in signs.items() if name in value]
    return " " + ", ".join(said) if said else ""


def _parameter(ways: list[Mapping[str, Any]], path: str) -> str:
    single = _type(ways[0], path)
    return f"{single}: value, list or range" if len(ways) > 2 else f"{single}: value or list"


def _names() -> dict[str, str]:
    """Types of keys that take names of parts, which the schema does not list."""

    def listed(names: Any) -> str:
        return ", ".join(f"`{name}`" for name in names)

    known = known_names()
    optimisers = f"one of timm's {len(known['train.optimizer'])} [optimisers](#optimisers)"
    found = {path: f"value or list of {listed(names)}" for path, names in known.items()}
    return found | {
        "data.source": f"one of {listed(SOURCES)}",
        "teacher.train.augmentation": f"one of {listed(known['train.augmentation'])}",
        "teacher.train.optimizer": optimisers,
        "train.optimizer": f"value or list: {optimisers}",
        "students.model": "value or list of [families](#families) and timm names, `*` is any text",
        "students.families": "mapping of [families](#families) to their parameters, each a value, list or range",
    }


def _optimisers() -> list[str]:
    names = ", ".join(f"`{name}`" for name in known_names()["train.optimizer"])
    return ["\n## Optimisers\n", f"As timm names them: {names}.\n"]


def _families() -> Iterator[str]:
    yield "\n## Families\n"
    yield "Parametric families, and what is searched where the file does not say:\n"
    yield "| family | parameters |\n| --- | --- |"
    for name, family in FAMILIES.items():
        shown = ", ".join(f"`{key}` {_value(value)}" for key, value in family.parameters.items())
        yield f"| `{name}` | {shown} |"


def _value(value: Any) -> str:
    if isinstance(value, Range):
        step = f", step {value.step:g}" if value.step else ""
        return f"{value.low:g} to {value.high:g}{step}"
    return " or ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _targets() -> Iterator[str]:
    yield "\n## Targets\n"
    yield "| target | limits | from |\n| --- | --- | --- |"
    for name, target in TARGETS.items():
        limits = ", ".join(f"{cost} {value:g}" for cost, value in target.limits.items())
        yield f"| `{name}` | {limits} | {target.source} |"
