"""Processes that died with a trial: how, how often before the trial is given up, and what its result is then."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autokd.failure import OVER_MEMORY
from autokd.records import TrialResult

MOST_DEATHS = 2  # in the same part of a trial, after which it is not tried again
MEMORY = "out of memory"  # in the words for a death that is most likely due to it
UNKNOWN = f"killed, or {MEMORY}"
OWN = f"the search's own process, by a crash, a kill or {MEMORY}"
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")


@dataclass(frozen=True, slots=True)
class Died:
    """What an executor has in a result's place when the process that trained is gone."""

    how: str = UNKNOWN


def describe_exit(code: int | None) -> str:
    """``SIGKILL: killed, or out of memory`` of a process's exit code; None: not known."""
    if code is None:
        return UNKNOWN
    if code >= 0:
        return f"exit status {code}"
    name = signal.Signals(-code).name
    if name == "SIGKILL":
        return f"{name}: {UNKNOWN}"
    return f"{name}: a crash in native code" if name in _CRASHES else name


def given_up(blank: TrialResult, died: Sequence[str]) -> TrialResult:
    """The failure of a trial whose process died so often, `died` says how; with a limit broken where that may be memory's."""
    memory = {"memory": OVER_MEMORY} if any(MEMORY in how for how in died) else {}
    how = "; ".join(dict.fromkeys(died))
    return replace(
        blank,
        state="failed",
        excess={**blank.excess, **memory},
        reason=f"its process died {len(died)} times: {how}",
    )
