"""One trial: what goes wrong ends it and is its result, and its seed decides the rest."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, replace

import pytest
import tiny_task
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_task import LARGE, SMALL, candidate, make_data, make_task, stage

from autokd.cost import count_with_fvcore
from autokd.errors import StorageError
from autokd.on_test import evaluate_on_test
from autokd.records import Budget, Candidate, Cost, Verdict
from autokd.trial import describe_excess, run_trial, time_student, trial_seed

pytestmark = pytest.mark.usefixtures("quick_latency")
DATA = make_data()


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return make_task(DATA, tmp_path_factory.mktemp("cache"))


def run(task, wanted, folder, *, seed=7, number=0):
    return run_trial(wanted, task, number=number, seed=seed, folder=folder)


def test_a_complete_trial_knows_its_cost_its_accuracy_and_every_epoch(task, tmp_path):
    result = run(task, candidate(epochs=3), tmp_path / "0", number=4)
    assert (result.state, result.reason, result.number, result.seed) == ("complete", None, 4, 7)
    assert result.cost is not None
    assert result.cost.macs > 0
    assert result.cost.latency_ms is None  # which decides nothing here
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
    best = max(result.history, key=lambda epoch: epoch.val_accuracy)
    assert result.val == {"accuracy": best.val_accuracy, "loss": best.val_loss}
    assert (tmp_path / "0" / "best.safetensors").exists()
    assert result.seconds > 0


def test_a_student_is_timed_once_and_its_other_costs_stay(task, tmp_path):
    result = run(task, candidate(epochs=1), tmp_path / "0")
    cost = time_student(result, task)
    assert cost is not None
    assert cost.latency_ms > 0
    assert cost.macs == result.cost.macs
    assert time_student(replace(result, cost=cost), task) is None


def test_a_student_of_which_two_counts_of_macs_disagree_fails(task, tmp_path, monkeypatch):
    def doubled(*arguments):
        count = count_with_fvcore(*arguments)
        return replace(count, macs=2 * count.macs)

    monkeypatch.setattr("autokd.cost.count_with_fvcore", doubled)
    result = run(task, candidate(epochs=1), tmp_path / "0")
    assert result.state == "failed"
    assert result.reason is not None
    assert "two counts of MACs disagree" in result.reason


def test_a_student_over_budget_is_rejected_untrained_with_its_reason(task, tmp_path):
    tight = replace(task, budget=Budget(macs=1000, params=1e9))
    result = run(tight, candidate(), tmp_path / "0")
    assert result.state == "rejected"
    assert result.reason is not None
    assert result.reason.startswith("over budget: macs ")
    assert result.reason.endswith(" > 1.00k")
    assert result.excess["macs"] > 0 >= result.excess["params"]
    assert result.history == ()
    assert not list((tmp_path / "0").iterdir())


def test_a_student_that_cannot_be_built_fails_with_one_line_and_no_traceback(task, tmp_path):
    odd = replace(SMALL, arguments=dict(SMALL.arguments) | {"stages": 7})
    result = run(task, candidate(student=odd), tmp_path / "0")
    assert result.state == "failed"
    assert result.reason is not None
    assert "stages must be one of 3, 4, got 7" in result.reason
    assert "\n" not in result.reason
    assert not (tmp_path / "0" / "traceback.txt").exists()


def test_a_loss_that_runs_away_fails_its_trial(task, tmp_path):
    wild = candidate(optimizer="sgd", learning_rate=1e6)
    result = run(task, wild, tmp_path / "0")
    assert result.state == "failed"
    assert result.reason is not None
    assert result.reason.startswith("student, epoch ")


def test_a_bug_fails_its_trial_with_one_line_and_leaves_its_traceback(task, tmp_path):
    unknown = candidate(loss_arguments={"kd": {"no_such_argument": 1.0}})
    result = run(task, unknown, tmp_path / "0")
    assert result.state == "failed"
    assert result.reason == "TypeError: kd() got an unexpected keyword argument 'no_such_argument'"
    assert "Traceback" in (tmp_path / "0" / "traceback.txt").read_text()


class FullDisk:
    """A teacher's model whose answers nobody can keep."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, pixels):
        raise OSError(self.number, "No space left on device", "logits.npy")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_ends_the_search_not_the_trial(task, tmp_path, number):
    failing = task_with_teacher(task, tmp_path, FullDisk(number))
    with pytest.raises(StorageError, match="can't be written: No space left on device"):
        run(failing, candidate(), tmp_path / "0")


def task_with_teacher(task, cache, forward):
    teacher = tiny_task.make_teacher(DATA, seed=5)
    teacher.model.forward = forward
    return replace(task, teacher=teacher, cache=cache)


def test_weights_that_cannot_be_written_end_the_search_not_the_trial(task, tmp_path):
    folder = tmp_path / "0"
    (folder / "best.safetensors").mkdir(parents=True)  # where the file should go
    with pytest.raises(StorageError, match=r"best\.safetensors: can't be written: "):
        run(task, candidate(), folder)


def test_the_same_candidate_and_seed_give_the_same_student_alone_and_after_others(task, tmp_path):
    wanted = candidate(drop_rate=0.2, augmentation="light")
    torch.manual_seed(1)
    alone = run(task, wanted, tmp_path / "0")
    with_another_seed = run(task, wanted, tmp_path / "1", seed=8)
    torch.randn(10)
    after_another = run(task, wanted, tmp_path / "2")
    assert alone.val == after_another.val
    assert without_seconds(alone) == without_seconds(after_another)
    assert alone.val["loss"] != with_another_seed.val["loss"]


def test_a_trial_says_what_its_seconds_went_into_over_all_its_parts(task, tmp_path):
    whole = run(task, candidate(epochs=2), tmp_path / "whole")
    assert whole.spent.keys() == {
        "measure", "assistants", "train", "load", "build", "ship", "evaluate", "audit",
    }  # fmt: skip
    assert min(whole.spent.values()) > 0
    assert sum(whole.spent.values()) <= whole.seconds
    first = run_trial(
        candidate(epochs=2), task, number=0, seed=7, folder=tmp_path / "parts", until=1
    )
    parts = run_trial(
        candidate(epochs=2), task, number=0, seed=7, folder=tmp_path / "parts", before=first
    )
    assert first.spent.keys() == whole.spent.keys() - {"audit", "ship"}
    assert all(parts.spent[activity] >= seconds for activity, seconds in first.spent.items())


def without_seconds(result):
    return [replace(epoch, seconds=0) for epoch in result.history]


ASSISTANT = stage(name="assistant_1", student=LARGE, epochs=1)
TAUGHT_BY_IT = stage(teachers=("assistant_1",), epochs=1)


def test_an_assistant_is_trained_once_for_all_trials_that_need_the_same(task, tmp_path):
    task = replace(task, cache=tmp_path / "cache")
    homes = task.cache / "assistants"
    first = run(task, Candidate(stages=(ASSISTANT, TAUGHT_BY_IT)), tmp_path / "0", seed=0)
    (weights,) = homes.glob("*/best.safetensors")
    written = weights.stat().st_mtime_ns
    another_student = stage(teachers=("assistant_1",), epochs=1, learning_rate=3e-2)
    run(task, Candidate(stages=(ASSISTANT, another_student)), tmp_path / "1", seed=1)
    assert [path.stat().st_mtime_ns for path in homes.glob("*/best.safetensors")] == [written]
    assert [epoch.stage for epoch in first.history] == ["student"]

    at_another_temperature = replace(ASSISTANT, temperature=5.0)
    run(task, Candidate(stages=(at_another_temperature, TAUGHT_BY_IT)), tmp_path / "2")
    assert len(list(homes.iterdir())) == 2
    of_another_teacher = replace(task, teacher=tiny_task.make_teacher(DATA, seed=1))
    run(of_another_teacher, Candidate(stages=(ASSISTANT, TAUGHT_BY_IT)), tmp_path / "3")
    assert len(list(homes.iterdir())) == 3


def test_a_student_learns_from_its_assistant_and_not_from_the_teacher(task, tmp_path):
    through = run(task, Candidate(stages=(ASSISTANT, TAUGHT_BY_IT)), tmp_path / "0")
    direct = run(task, candidate(epochs=1), tmp_path / "1")
    assert direct.val["loss"] != through.val["loss"]


LABELS_ALONE = tiny_task.labels_alone(epochs=8)  # the teacher of this task knows nothing


def test_fine_tuning_starts_from_the_students_best_weights(task, tmp_path):
    # so slow that the weights stay as they are, but for batch norm's statistics
    finetune = replace(
        LABELS_ALONE,
        name="finetune",
        start_from="student",
        training=replace(LABELS_ALONE.training, epochs=1, learning_rate=1e-12),
    )
    tuned = run(task, Candidate(stages=(LABELS_ALONE, finetune)), tmp_path / "0")
    assert [epoch.stage for epoch in tuned.history] == ["student"] * 8 + ["finetune"]
    assert tuned.history[-1].val_accuracy > 0.6  # from fresh weights: about 0.25
    assert tuned.val["accuracy"] == max(epoch.val_accuracy for epoch in tuned.history)


def in_steps(task, wanted, folder, *steps):
    """Trained with a pause after each number of epochs, every part by what a new process would know."""
    result = None
    for until in [*steps, None]:
        torch.randn(3)  # whatever else the process did meanwhile
        result = run_trial(
            wanted, task, number=0, seed=7, folder=folder, until=until, before=result
        )
        assert result.state == ("complete" if until is None else "stopped")
    return result


FINETUNE = replace(LABELS_ALONE, name="finetune", start_from="student")
MITIGATED = {"mitigation": "mfd", "loss_weights": {"ce": 1.0, "kd": 1.0, "mfd": 0.1}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "stages",
    [
        (stage(epochs=6, drop_rate=0.3, augmentation="light"),),
        (stage(epochs=6, patience=1, learning_rate=1e-12),),
        (stage(epochs=2), replace(FINETUNE, training=replace(FINETUNE.training, epochs=4))),
        (stage(epochs=6, mitigation="group_dro"),),
        (stage(epochs=6, **MITIGATED),),
        (ASSISTANT, stage(teachers=("assistant_1",), epochs=6, optimizer="sgd")),
        (ASSISTANT, stage(teachers=("teacher", "assistant_1"), epochs=6, teacher_drop=0.5)),
    ],
    ids=["dropout", "patience", "finetune", "group_dro", "mfd", "assistant", "dense"],
)
def test_a_trial_in_steps_is_the_trial_in_one_go(tmp_path, stages):
    task = make_task(make_data(grouped=True), tmp_path / "cache")
    whole = run(task, Candidate(stages=stages), tmp_path / "whole")
    parts = in_steps(task, Candidate(stages=stages), tmp_path / "parts", 1, 2, 3)
    assert whole.state == "complete", whole.reason
    assert without_seconds(parts) == without_seconds(whole)
    assert (parts.val, parts.audit) == (whole.val, whole.audit)
    for name in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "parts" / "checkpoint.pt").exists()


def test_a_pause_knows_what_the_best_epoch_so_far_came_to(task, tmp_path):
    paused = run_trial(candidate(epochs=4), task, number=0, seed=7, folder=tmp_path, until=3)
    assert (paused.state, len(paused.history), paused.audit) == ("stopped", 3, None)
    assert paused.val["accuracy"] == max(epoch.val_accuracy for epoch in paused.history)


def test_a_lost_checkpoint_costs_time_and_nothing_else(task, tmp_path):
    whole = run(task, candidate(epochs=4), tmp_path / "whole")
    folder = tmp_path / "parts"
    paused = run_trial(candidate(epochs=4), task, number=0, seed=7, folder=folder, until=2)
    (folder / "checkpoint.pt").unlink()
    again = run_trial(candidate(epochs=4), task, number=0, seed=7, folder=folder, before=paused)
    assert without_seconds(again) == without_seconds(whole)
    assert again.val == whole.val


def test_a_checkpoint_of_a_pause_that_nobody_heard_of_costs_time_and_nothing_else(task, tmp_path):
    """Its worker, or the driver, died between the checkpoint and the record of it."""
    whole = run(task, candidate(epochs=4), tmp_path / "whole")

    def go_on(until, before):
        return run_trial(
            candidate(epochs=4),
            task,
            number=0,
            seed=7,
            folder=tmp_path / "parts",
            until=until,
            before=before,
        )

    first = go_on(1, None)
    unheard = go_on(3, first)
    again = go_on(3, first)
    assert (again.state, dict(again.val)) == ("stopped", dict(unheard.val))
    assert [epoch.epoch for epoch in again.history] == [1, 2, 3]
    last = go_on(None, again)
    assert last.state == "complete"
    assert without_seconds(last) == without_seconds(whole)


def test_a_finished_student_is_tested_from_its_best_weights(task, tmp_path):
    result = run(task, Candidate(stages=(LABELS_ALONE,)), tmp_path / "0")
    tested = evaluate_on_test(result, task)
    assert tested.accuracy > 0.6
    assert tested == evaluate_on_test(result, task)
    assert Verdict.from_dict(json.loads(json.dumps(asdict(tested)))) == tested


def audit_of(folder) -> dict:
    return json.loads((folder / "audit.json").read_text())


def test_a_trial_leaves_an_audit_on_val_and_the_front_member_one_on_test(task, tmp_path):
    result = run(task, Candidate(stages=(LABELS_ALONE,)), tmp_path / "0")
    val = audit_of(tmp_path / "0" / "audit")
    assert (val["n"], val["data"]["split"], val["generalisation"]) == (60, "val", None)
    assert val["by"].keys() == {"class"}  # this task has no table of groups
    assert result.audit is not None
    assert result.audit.status == val["status"]
    assert result.audit.worst_change_group in {f"class={name}" for name in "abcd"} | {None}
    tested = evaluate_on_test(result, task)
    test = audit_of(tmp_path / "0" / "test_audit")
    assert (test["n"], test["data"]["split"]) == (40, "test")
    assert len(test["generalisation"]["corruptions"]) == 1 + 5 * 3
    assert test["status"] == tested.audit.status


def test_assistants_are_audited_beside_the_student(task, tmp_path):
    assistant = stage(name="assistant_1", student=LARGE, epochs=1)
    taught = stage(teachers=("assistant_1",), epochs=1)
    result = run(task, Candidate(stages=(assistant, taught)), tmp_path / "0")
    assert result.state == "complete"
    assistants = audit_of(tmp_path / "0" / "audit")["by"]["class"]["assistants"]
    assert assistants.keys() == {"assistant_1"}


def test_a_student_that_widens_the_gap_beyond_its_limit_is_not_feasible(tmp_path):
    data = make_data(grouped=True)
    limited = replace(make_task(data, tmp_path), max_gap_growth=0.0)
    result = run(limited, candidate(), tmp_path / "0")
    assert result.audit is not None
    assert result.audit.gap_growth is not None
    assert result.excess["gap_growth"] == result.audit.gap_growth
    assert result.feasible == (result.audit.gap_growth <= 0)


def test_excess_is_described_limit_by_limit():
    cost = Cost(macs=412_000_000, params=6_100_000, size_bytes=10**6)
    budget = Budget(macs=300e6, params=5e6, size_bytes=2e6)
    assert describe_excess(cost, budget) == "over budget: macs 412M > 300M, params 6.10M > 5.00M"


@given(st.integers(0, 2**31), st.integers(0, 2**31))
@settings(deadline=None)
def test_trial_seeds_differ_from_trial_to_trial_and_from_search_to_search(search, number):
    seeds = {
        trial_seed(search, number),
        trial_seed(search, number + 1),
        trial_seed(search + 1, number),
    }
    assert len(seeds) == 3
    assert trial_seed(search, number) in range(2**31)


def test_a_thousand_trials_have_a_thousand_seeds():
    assert len({trial_seed(0, number) for number in range(1000)}) == 1000
