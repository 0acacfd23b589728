"""Where it is printed: a table for people, or one JSON document for scripts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, MarkdownElement, TableElement
from rich.table import Table

VERDICTS = {"pass": "green", "warn": "yellow", "undecided": "cyan", "fail": "bold red"}


WIDTH = 176  # of output that goes to a file or a pipe


def console() -> Console:
    """For standard output. A pipe gets whole lines, not those of an imagined narrow terminal, also where FORCE_COLOR has
    it coloured; COLUMNS in the environment says how wide anything is."""
    told = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(highlight=False, width=None if told else WIDTH)


class _FoldedTable(TableElement):
    """A table whose words are folded where rich would cut them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"
            yield table


class _Text(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements, "table_open": _FoldedTable,
    }  # fmt: skip


def print_markdown(text: str) -> None:
    console().print(_Text(text))


def answer(
    document: Callable[[], Any], people: Callable[[], None], *, as_json: bool, quiet: bool = False
) -> None:
    """What a command has found: one JSON document, what people read, or nothing."""
    if as_json:
        print(to_json(document()))
    elif not quiet:
        people()


def to_json(document: Any) -> str:
    """Of records, tables' rows, paths and numpy's numbers. What is not a number, or infinite, is null: JSON has neither."""
    from pydantic_core import to_json as written

    return written(document, indent=1, inf_nan_mode="null", fallback=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()
    if type(value).__name__ == "NAType":  # pandas' missing value
        return None
    raise TypeError(f"{type(value).__name__} has no form in JSON")


@contextmanager
def nothing_else_printed(when: bool) -> Iterator[None]:
    """Whatever a library, a teacher of one's own or a worker prints meanwhile goes to standard error."""
    if not when:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)  # workers inherit it
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
