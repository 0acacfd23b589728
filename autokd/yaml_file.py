"""YAML that a person wrote: read safely, and refused in one line that names the place."""

from __future__ import annotations

import reprlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from autokd.errors import ConfigError

SUFFIXES = (".yaml", ".yml")
MOST_BYTES = 1_000_000
MOST_NODES = 100_000  # with every alias written out; a search file has some hundred


class _Loader(yaml.SafeLoader):
    """PyYAML's, which keeps the last of two equal keys without a word, and follows aliases wherever they lead."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[Any, yaml.Node] = {}
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in first:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"key '{key.value}' is given twice, first in line {first[name].start_mark.line + 1}; "
                    "put both together or leave one out",
                    key.start_mark,
                )
            if name:
                first[name] = key
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError:
            problem = f"{reprlib.repr(node.value)} looks like a number or a date, and is none"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _count(node, {}) > MOST_NODES:
            raise yaml.YAMLError(
                f"more than {MOST_NODES:,} values, with its aliases (*name) written out"
            )
        return node


def _count(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Return how many nodes there would be without aliases; a node that is its own part is refused."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            problem = "an alias (*name) stands inside what it names"
            raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
        return count
    known[id(node)] = None
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    known[id(node)] = count = 1 + sum(_count(part, known) for part in parts)
    return count


def read_text(path: Path) -> str:
    """Read a text file. Raises ConfigError that names it."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ConfigError(f"{path}: is larger than {MOST_BYTES:,} bytes; give a YAML file")
        return content.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; give a YAML file") from None


def parse_yaml(text: str, *, source: str) -> Any:
    """Read one YAML document. Raises ConfigError with `source`, line and column where it can't be read."""
    try:
        return yaml.load(text, Loader=_Loader)  # of the safe kind
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        problem = where + what
    except yaml.YAMLError as error:
        problem = str(error).partition("\n")[0]
    except RecursionError:
        problem = "lists or keys are nested too deeply"
    raise ConfigError(f"{source}: is not valid YAML: {' '.join(problem.split())}")
