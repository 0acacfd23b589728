"""A command that ends with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# The command starts a process of its own, as a server does, and both say who they are.
COMMAND = "echo $$; sleep 100 & echo $!; wait"
STARTER = (
    "import os, sys; from autokd.tracking.bound import run_bound\n"
    "sys.exit(run_bound(['sh', '-c', sys.argv[1]], os.environ))"
)


def hear_every_signal() -> None:
    """Also where the tests run under nohup, which ignores some."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def is_there(pid: int) -> bool:
    """And no zombie, which nobody may have asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux who is there")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_of_it_is_left_however_its_starter_ends(kind):
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, COMMAND],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=hear_every_signal,
    )
    pids = [int(starter.stdout.readline()) for _ in range(2)]
    assert all(map(is_there, pids))
    starter.send_signal(kind)
    starter.communicate(timeout=20)
    end = time.monotonic() + 5
    while any(map(is_there, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(is_there, pids))


def test_its_exit_status_is_passed_on():
    done = subprocess.run([sys.executable, "-c", STARTER, "exit 7"], env=os.environ, check=False)
    assert done.returncode == 7
