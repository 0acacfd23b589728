"""Writes the reference again: `make reference`, after a key of the search file or an option of a command has changed."""

from __future__ import annotations

from pathlib import Path

import commands
import search_file

PLACE = Path(__file__).parents[1] / "reference"

if __name__ == "__main__":
    for made in (commands, search_file):
        path = PLACE / f"{made.__name__}.md"
        path.write_text(made.page().strip() + "\n", encoding="utf-8")
