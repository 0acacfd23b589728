"""Processes that train one student together: parts that make up the batches, and the same student in the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_task import make_data

from autokd.data.batches import count_batches, train_batches
from autokd.errors import ConfigError
from autokd.peers import ALONE, Peers, all_peers

TESTS = Path(__file__).parent
TOGETHER = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from tiny_task import make_data, make_task, stage
from autokd.peers import all_peers
from autokd.space.stages import pretrain_stage
from autokd.records import PRETRAIN, Candidate, StudentSpec
from autokd.trial import run_trial

torch.set_num_threads(1)
arguments = {"heads": 2, "head_dim": 8, "depth": 1, "patch_size": 4}
vit = StudentSpec(model="vit", arguments=arguments, image_size=8)  # no batch norm
student = stage(student=vit, epochs=3, optimizer="sgd", learning_rate=0.1)
first = pretrain_stage(student, 1, on_features=True)  # which leaves the classifier without a gradient
wanted = Candidate(stages=(first, replace(student, start_from=PRETRAIN)))
with all_peers() as peers:
    folder = Path(sys.argv[1]) / f"{peers.count}-{peers.rank}"
    task = make_task(make_data(), Path(sys.argv[1]) / "cache")
    result = run_trial(wanted, task, number=0, seed=0, folder=folder, peers=peers)
    assert result.state == "complete", result.reason
    lines = [f"{e.train_loss:.6f} {e.val_accuracy:.6f}" for e in result.history]
    (folder / "history.txt").write_text(chr(10).join(lines))
"""
DATA = make_data()


def run_together(folder: Path, *launcher: str) -> None:
    done = subprocess.run(
        [sys.executable, *launcher, str(folder / "together.py"), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_come_to_the_student_that_one_comes_to(tmp_path):
    (tmp_path / "together.py").write_text(TOGETHER)
    run_together(tmp_path)
    run_together(tmp_path, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    alone, first, second = (
        load_file(tmp_path / name / "last.safetensors") for name in ("1-0", "2-0", "2-1")
    )
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)
    histories = [(tmp_path / n / "history.txt").read_text() for n in ("1-0", "2-0", "2-1")]
    assert histories[1] == histories[2]
    values = [[float(x) for x in text.split()] for text in histories[:2]]
    assert values[1] == pytest.approx(values[0], abs=1e-4)


@given(st.integers(1, 4), st.integers(2, 8), st.integers(1, 128))
@settings(deadline=None, max_examples=30)
def test_parts_are_of_one_size_and_together_the_batches(count, each, images):
    data, size = make_data(images), count * each
    views = data.views("none", cache=TESTS)
    parts = [
        [
            batch.index.tolist()
            for batch in train_batches(
                views,
                view=0,
                batch_size=size,
                seed=1,
                epoch=1,
                device="cpu",
                peers=Peers(rank, count),
            )
        ]
        for rank in range(count)
    ]
    assert {len(batches) for batches in parts} == {count_batches(images, size, Peers(0, count))}
    for together in zip(*parts, strict=True):
        assert len({len(part) for part in together}) == 1
        assert len(together[0]) >= 2
    whole = [
        b.index
        for b in train_batches(views, view=0, batch_size=size, seed=1, epoch=1, device="cpu")
    ]
    for place, together in enumerate(zip(*parts, strict=True)):
        shared = [index for part in together for index in part]
        assert shared == whole[place].tolist()[: len(shared)]
        assert len(whole[place]) - len(shared) < count


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(
        ConfigError, match="batch_size 33 can't be shared by 2 processes; give a mult"
    ):
        Peers(0, 2).refuse_uneven(33)
    with pytest.raises(ConfigError, match="4 at least"):
        Peers(0, 2).refuse_uneven(2)
    ALONE.refuse_uneven(33)


def test_who_was_not_started_by_torchrun_is_alone():
    with all_peers() as peers:
        assert peers is ALONE
