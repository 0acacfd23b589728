"""README and the pages of docs/, and what stands in them between fences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"(?:<!-- (?P<mark>[^\n]*?) -->\n+)?(?P<indent>[ ]*)```(?P<language>\S*)\n(?P<text>.*?)\n(?P=indent)```", re.DOTALL)  # fmt: skip
_OPERATORS = {";", "&&", "||", "|", "&", ">", "<", "(", ")"}


@dataclass(frozen=True)
class Block:
    """What stands between two fences. A comment in the line before may say why it is not run: `<!-- not run: … -->`."""

    page: Path
    line: int
    language: str
    text: str
    mark: str  # the comment before it

    @property
    def not_run(self) -> str | None:
        """Why, or None if it is run."""
        return self.mark.removeprefix("not run: ") if self.mark.startswith("not run: ") else None

    @property
    def exit_status(self) -> int:
        """That of its last command: `<!-- exit status 3 -->`."""
        found = re.fullmatch(r"exit status (\d)", self.mark)
        return int(found[1]) if found else 0

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[str]:
        """What a reader would type: in a console the lines after `$`, in a script all lines."""
        joined = self.text.replace("\\\n", " ")
        lines = [line.strip() for line in joined.splitlines()]
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path, *languages: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [
        Block(
            page=page,
            line=text.count("\n", 0, match.start("indent")) + 1,
            language=match["language"],
            text=dedent(match["text"]),
            mark=match["mark"] or "",
        )
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, *languages)]


def programs(command: str) -> Iterator[list[str]]:
    """The programs that a line of shell starts, each with its arguments. Variables count as 1."""
    command = re.sub(r"\$\(\(.*?\)\)|\$\{[^}]*\}|\$\w+", "1", command)
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.commenters, lexer.whitespace_split = "#", True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _OPERATORS:
            words.append(word)
            continue
        while words and (re.match(r"\w+=", words[0]) or words[0] == "export"):
            words.pop(0)
        if words:
            yield words
        words = []
