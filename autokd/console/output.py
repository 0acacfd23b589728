"""Where it is printed, and in which colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown

if TYPE_CHECKING:
    pass


VERDICTS = {"pass": "green", "warn": "yellow", "undecided": "cyan", "fail": "bold red"}


WIDTH = 176  # of output that goes to a file or a pipe


def console() -> Console:
    """For standard output. A pipe gets whole lines, not those of an imagined narrow terminal."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=WIDTH)


def print_markdown(text: str) -> None:
    console().print(Markdown(text))
