"""A trial that runs out of memory: it ends alone, and what broke is a limit that proposals learn from."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_training import AtOnce, make_driver

from autokd.engine.ledger import Ledger
from autokd.failure import OVER_MEMORY, is_out_of_memory

TESTS = Path(__file__).parent
TOO_LARGE = """
import json, resource, sys
from dataclasses import replace
from pathlib import Path
import torch
from tiny_task import SMALL, candidate, make_data, make_task
from autokd.trial import run_trial

torch.set_num_threads(1)
folder = Path(sys.argv[1])
task = make_task(make_data(), folder)
small = run_trial(candidate(), task, number=0, seed=0, folder=folder / "0")
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400_000_000, resource.RLIM_INFINITY))
large = candidate(student=replace(SMALL, image_size=768))
results = [run_trial(large, task, number=1, seed=0, folder=folder / "1")]
results.append(run_trial(candidate(), task, number=0, seed=0, folder=folder / "2"))
found = [[r.state, r.reason, dict(r.excess), dict(r.val) == dict(small.val)] for r in results]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_a_trial_too_large_for_the_machine_fails_alone(tmp_path):
    """The limit is the kernel's; the next trial in the same process is not touched by it."""
    done = subprocess.run(
        [sys.executable, "-c", TOO_LARGE, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=TESTS,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (state, reason, excess, _), (next_state, _, _, same) = json.loads(done.stdout.splitlines()[-1])
    assert state == "failed"
    assert reason.startswith("out of memory at batch size 32: ")
    assert reason.endswith("; fewer workers or smaller batches need less")
    assert "\n" not in reason
    assert excess["memory"] == OVER_MEMORY > 0
    assert (next_state, same) == ("complete", True)


@pytest.mark.parametrize("ask", [lambda: torch.empty(10**15), lambda: bytearray(10**18)])
def test_it_is_known_however_it_is_said(ask):
    with pytest.raises((MemoryError, RuntimeError), match=r"allocate|^$") as raised:
        ask()
    assert is_out_of_memory(raised.value)


def test_cuda_says_it_by_a_type_and_other_errors_are_none():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


class WideIsTooMuch(AtOnce):
    """Memory ends at a width; nothing but width matters."""

    def next_result(self):
        number, result = super().next_result()
        if result.candidate.student.arguments["width"] > 24:
            excess = {**result.excess, "memory": OVER_MEMORY}
            result = replace(result, state="failed", excess=excess, val={}, history=())
        return number, result


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["halving", "full"])
def test_what_ran_out_of_memory_is_proposed_less(strategy):
    """Of proposals that a model made; a share is random whatever happens."""

    def share_of_wide(executor):
        ledger = Ledger("sqlite://", "made-up")
        driver = make_driver(ledger, strategy=strategy, trials=60, resamples=0, seed=1)
        driver.run(executor)
        late = [e for e in ledger.entries if not e.proposal.control][20:]
        by_model = [e for e in late if not is_random(e.result.seed, driver.proposer.random_share)]
        wide = [e for e in by_model if e.proposal.candidate.student.arguments["width"] > 24]
        return len(wide) / len(by_model)

    def is_random(seed, share):
        return np.random.default_rng(seed).random() < share

    assert share_of_wide(WideIsTooMuch()) < share_of_wide(AtOnce()) / 2
