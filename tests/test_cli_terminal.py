"""Colours and progress are for terminals: what a pipe, a file and a real (pseudo) terminal get."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from audit_files import write_reference
from test_cli import ROOT, place, search_file

pytestmark = pytest.mark.slow

__all__ = ["place"]  # a fixture

COMMAND = (sys.executable, "-m", "autokd.cli")
COLOUR = re.compile(r"\x1b\[[0-9;]*[34]\d[0-9;]*m")
CONTROL = re.compile(r"[\x1b\r]")  # any control code; a carriage return moves a bar
PLAIN = {"COLUMNS": "160", "TERM": "xterm-256color"}
UNSET = ("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CLICOLOR", "GITHUB_ACTIONS", "TTY_COMPATIBLE")
AUDIT = ("audit", "--predictions", "student.csv", "--teacher", "teacher.csv", "--metadata")
AUDIT = (*AUDIT, "people.csv", "--groups", "site")


def environment(changes: dict[str, str]) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if name not in UNSET}
    return {**known, "PYTHONPATH": str(ROOT), **PLAIN, **changes}


def in_a_pipe(*arguments: str, folder: Path, **changes: str) -> tuple[str, str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(changes),
        capture_output=True,
        timeout=300,
        check=False,
    )
    return done.stdout.decode(), done.stderr.decode()


def in_a_terminal(*arguments: str, folder: Path, **changes: str) -> str:
    """Both streams, as somebody before it would get them."""
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(changes),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        read = b""
        while True:
            try:
                part = os.read(mine, 65536)
            except OSError:  # Linux's way to say that nobody writes any more
                break
            if not part:
                break
            read += part
    os.close(mine)
    return read.decode()


@pytest.fixture
def audited(tmp_path: Path) -> Path:
    write_reference(tmp_path)
    return tmp_path


def test_a_pipe_gets_no_control_codes(audited: Path) -> None:
    out, err = in_a_pipe(*AUDIT, folder=audited)
    assert "site C loses" in out
    assert not CONTROL.search(out + err)


def test_a_terminal_gets_colours(audited: Path) -> None:
    assert COLOUR.search(in_a_terminal(*AUDIT, folder=audited))


def test_no_color_turns_them_off_in_a_terminal(audited: Path) -> None:
    out = in_a_terminal(*AUDIT, folder=audited, NO_COLOR="1")
    assert "site C loses" in out
    assert not COLOUR.search(out)


def test_force_color_turns_them_on_in_a_pipe_and_lines_stay_whole(audited: Path) -> None:
    out, _ = in_a_pipe(*AUDIT, folder=audited, FORCE_COLOR="1")
    plain, _ = in_a_pipe(*AUDIT, folder=audited)
    assert COLOUR.search(out)
    assert re.sub(r"\x1b\[[0-9;]*m", "", out) == plain


def test_a_dumb_terminal_gets_neither_colours_nor_other_codes(audited: Path) -> None:
    out = in_a_terminal(*AUDIT, folder=audited, TERM="dumb")
    assert "site C loses" in out
    assert "\x1b" not in out


@pytest.mark.slow
def test_a_search_moves_a_bar_in_a_terminal_alone(place: Path) -> None:
    """Four runs of one search: the first trains, the others go on with what is there."""
    file = search_file(place)
    seen = in_a_terminal("search", file, folder=place)
    assert "\x1b[2K" in seen  # a line that is drawn again
    assert "trial 1 " in re.sub(r"\x1b\[[0-9;]*m", "", seen)  # numbers are coloured
    piped = "".join(in_a_pipe("search", file, "--trials", "3", folder=place))
    assert "trial 2 " in piped
    assert not CONTROL.search(piped)
    forced = "".join(in_a_pipe("search", file, "--trials", "4", folder=place, FORCE_COLOR="1"))
    assert not re.search(r"\r|\x1b\[[0-9;]*[A-HJKlh]", forced)  # colours perhaps, no movement
    dumb = in_a_terminal("search", file, "--trials", "5", folder=place, TERM="dumb")
    assert "\x1b" not in dumb


@pytest.mark.slow
def test_an_error_is_one_line_without_codes_in_a_pipe_and_in_a_terminal(tmp_path: Path) -> None:
    out, err = in_a_pipe("front", folder=tmp_path)
    shown = in_a_terminal("front", folder=tmp_path)
    assert out == ""
    assert shown.replace("\r\n", "\n") == err
    assert err.count("\n") == 1
