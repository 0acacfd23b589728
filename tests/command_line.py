"""The command in the test's own process: importing torch anew for each would take minutes."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from autokd import cli

# For processes that tests start: what pytest's filter is for the others. The exception is pyproject's.
STRICT = (
    "error::DeprecationWarning,error::PendingDeprecationWarning,error::FutureWarning,"
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


def autokd(*arguments: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    saved, sys.argv = sys.argv, ["autokd", *arguments]
    status: Any = 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
    except SystemExit as stopped:
        status = stopped.code or 0
    finally:
        sys.argv = saved
    return Done(int(status), out.getvalue(), err.getvalue())
