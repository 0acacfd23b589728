"""Exit statuses, of every command alike. docs/exit_statuses.md says what each means command by command."""

from __future__ import annotations

from collections.abc import Mapping

DONE, VERDICT, BAD_INPUT, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 130

MEANINGS: Mapping[int, str] = {
    DONE: "done",
    VERDICT: "done, and the answer is no (an audit fails, an export differs, a training fails), or a bug, with its traceback",
    BAD_INPUT: "bad input or a store that does not work, in one line; nothing was begun",
    UNDECIDED: "undecided, by an audit or by monitor",
    INTERRUPTED: "interrupted with Ctrl-C; a search goes on with the same command",
}


def epilog() -> str:
    """For the help, in Markdown."""
    return "Exit status: " + "; ".join(f"**{status}** {text}" for status, text in MEANINGS.items())
