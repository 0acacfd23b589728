"""The JSON schema of search files: what editors complete and the file reference is made from."""

from __future__ import annotations

from typing import Any

import pytest

from autokd.config import Config, parse_config
from autokd.errors import ConfigError

SCHEMA = Config.model_json_schema()
SECTIONS: dict[str, dict[str, Any]] = {"": SCHEMA, **SCHEMA["$defs"]}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_has_a_description_of_one_sentence_or_two(name: str) -> None:
    for key, value in SECTIONS[name]["properties"].items():
        text = value.get("description", "")
        assert text.endswith("."), f"{name}.{key}: {text!r}"
        assert "\n" not in text, f"{name}.{key}"


def test_limits_of_a_parameter_hold_for_a_value_and_for_each_of_a_list() -> None:
    until = SCHEMA["$defs"]["DistillConfig"]["properties"]["until"]
    value, choice, between = until["oneOf"]
    assert (value["exclusiveMinimum"], value["maximum"]) == (0, 1)
    assert choice["items"] == value
    assert set(between) == {"$ref"}  # a record of its own, which knows no limits


@pytest.mark.parametrize("until", [0, 1.5, [0.5, 0], {"low": 0.5, "high": 2}])
def test_what_the_schema_forbids_the_search_file_forbids_too(until: object) -> None:
    record = {
        "data": {"source": "digits"},
        "teacher": {"model": "resnet", "train": {}},
        "students": {"model": "resnet"},
        "distill": {"until": until},
    }
    with pytest.raises(ConfigError, match=r"distill\.until: must be > 0 and <= 1"):
        parse_config(record, source="test")
