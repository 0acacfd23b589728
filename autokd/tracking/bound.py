"""Runs a command that ends with whoever started it: after Ctrl-C, a signal, or a kill that nobody can answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence


def run_bound(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Its exit status. A process between, `main`, ends the command and all that it has started when this one is gone."""
    between = [sys.executable, "-m", __name__, *command]
    with subprocess.Popen(
        between, env=environment, stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        return process.wait()


def main() -> None:
    """Its standard input is a pipe that nobody writes into; it closes however the other end's process ends."""
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_starter, daemon=True).start()
    sys.exit(process.wait())


def _end_with_starter() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
