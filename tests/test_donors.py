"""Heirs in trials: what they begin with, that donors are trained once, and that a trial stays what its seed makes it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_task
import torch
from safetensors.torch import load_file
from test_trial import in_steps, run, without_seconds
from tiny_task import LARGE, SMALL, make_data, make_task, stage

from autokd.config import parse_config
from autokd.donors import teacher_as_donor
from autokd.records import DONOR, HEIR, PRETRAIN, TEACHER, Candidate
from autokd.students import inherit
from autokd.teachers import build_student

pytestmark = pytest.mark.usefixtures("quick_latency")
DATA = make_data()
STILL = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
OWN_DONOR = replace(
    tiny_task.labels_alone(epochs=2), name=DONOR, student=replace(LARGE, arguments=dict(LARGE.arguments) | {"width": 24})
)  # fmt: skip


@pytest.fixture
def task(tmp_path):
    return make_task(DATA, tmp_path / "cache")


def heir(student=SMALL, start_from=TEACHER, **changes):
    return stage(student=replace(student, start=HEIR), start_from=start_from, **changes)


def weights(folder):
    """But for batch norm's statistics, which move without a learning rate."""
    found = load_file(folder / "best.safetensors")
    return {name: tensor for name, tensor in found.items() if "running" not in name and tensor.ndim}


def test_an_heir_as_large_as_its_teacher_begins_as_a_copy_of_it(task, tmp_path):
    run(task, Candidate(stages=(heir(LARGE, **STILL),)), tmp_path / "0")
    own = task.teacher.model.state_dict()
    for name, tensor in weights(tmp_path / "0").items():
        assert torch.allclose(tensor, own[name], atol=1e-6), name


def test_a_smaller_heir_begins_with_what_it_inherits_classifier_and_all(task, tmp_path):
    run(task, Candidate(stages=(heir(**STILL),)), tmp_path / "0")
    expected = build_student(SMALL, DATA)
    found = inherit(expected, task.teacher.model)
    assert found.share == 1.0
    for name, tensor in weights(tmp_path / "0").items():
        assert torch.allclose(tensor, expected.state_dict()[name], atol=1e-6), name


def with_donor(**changes) -> Candidate:
    return Candidate(stages=(OWN_DONOR, heir(start_from=DONOR, **changes)))


def test_a_donor_is_trained_once_for_all_its_heirs_and_teaches_nobody(task, tmp_path):
    first = run(task, with_donor(epochs=1), tmp_path / "0")
    (home,) = (task.cache / "donors").iterdir()
    written = (home / "best.safetensors").stat().st_mtime_ns
    fresh = replace(task, memory={})  # as another worker would find it
    run(fresh, with_donor(epochs=1, learning_rate=3e-2), tmp_path / "1", seed=1)
    assert (home / "best.safetensors").stat().st_mtime_ns == written
    assert len(list((task.cache / "donors").iterdir())) == 1
    assert [epoch.stage for epoch in first.history] == ["student"]
    assert first.assistants == ()
    assert first.spent["donor"] > 0


def test_an_heir_is_the_same_whether_its_donor_was_trained_for_it_or_found(task, tmp_path):
    first = run(task, with_donor(epochs=2), tmp_path / "0")
    again = run(replace(task, memory={}), with_donor(epochs=2), tmp_path / "1")
    assert without_seconds(again) == without_seconds(first)
    assert again.val == first.val


def test_another_donor_makes_another_heir_and_another_assistant(task, tmp_path):
    assistant = replace(heir(LARGE, DONOR, epochs=1), name="assistant_1")
    taught = heir(start_from="assistant_1", teachers=("assistant_1",), epochs=1)
    for number, width in enumerate((24, 32)):
        donor = replace(
            OWN_DONOR, student=replace(LARGE, arguments=dict(LARGE.arguments) | {"width": width})
        )
        result = run(task, Candidate(stages=(donor, assistant, taught)), tmp_path / str(number))
        assert result.state == "complete", result.reason
    assert len(list((task.cache / "donors").iterdir())) == 2
    assert len(list((task.cache / "assistants").iterdir())) == 2


@pytest.mark.parametrize(
    "stages",
    [
        (heir(epochs=4),),
        (OWN_DONOR, heir(start_from=DONOR, epochs=4)),
        (heir(epochs=2), replace(heir(epochs=2), name="finetune", start_from="student")),
    ],
    ids=["teacher", "donor", "finetune"],
)
def test_an_heir_in_steps_is_the_heir_in_one_go(task, tmp_path, stages):
    whole = run(task, Candidate(stages=stages), tmp_path / "whole")
    parts = in_steps(task, Candidate(stages=stages), tmp_path / "parts", 1, 3)
    assert whole.state == "complete", whole.reason
    assert without_seconds(parts) == without_seconds(whole)
    assert parts.val == whole.val


def test_an_heir_is_pruned_as_any_student_is(task, tmp_path):
    pruned = replace(
        heir(epochs=1), name="prune", student=replace(SMALL, start=HEIR, pruned=0.5), start_from="student"
    )  # fmt: skip
    result = run(task, Candidate(stages=(heir(epochs=1), pruned)), tmp_path / "0")
    assert result.state == "complete", result.reason
    assert [epoch.stage for epoch in result.history] == ["student", "prune"]


def test_a_first_stage_without_labels_begins_with_what_is_inherited(task, tmp_path):
    first = heir(**STILL, loss_weights={"pooled": 1.0}, temperature=1.0)
    stages = (replace(first, name=PRETRAIN), heir(start_from=PRETRAIN, **STILL))
    result = run(task, Candidate(stages=stages), tmp_path / "0")
    assert result.state == "complete", result.reason
    expected = build_student(SMALL, DATA)
    inherit(expected, task.teacher.model)
    for name, tensor in weights(tmp_path / "0").items():
        assert torch.allclose(tensor, expected.state_dict()[name], atol=1e-6), name


def teacher_of(**teacher):
    record = {"data": {"source": "digits"}, "teacher": teacher, "students": {"model": "resnet"}}
    return teacher_as_donor(parse_config(record, source="").teacher, DATA)


TRAINED = {"model": "resnet", "train": {"epochs": 1}}


def test_a_teacher_is_a_donor_with_what_its_pixels_are_normalised_by():
    plain = teacher_of(**TRAINED)
    assert plain is not None
    assert (plain.model, plain.mean, plain.std) == ("resnet", DATA.mean, DATA.std)
    other = teacher_of(**TRAINED, mean=[0.5], std=[0.1])
    assert other is not None
    assert (other.mean, other.std) == ((0.5,), (0.1,))


@pytest.mark.parametrize(
    "teacher",
    [
        {"ensemble": [TRAINED, TRAINED]},
        {"model": "own:make", "checkpoint": "a.pt"},
        {"model": "resnet", "checkpoint": "a.pt", "classes": ["d", "c", "b", "a"]},
    ],
    ids=["ensemble", "own code", "other order of classes"],
)
def test_a_teacher_that_is_none_of_the_models_here_is_no_donor(teacher):
    assert teacher_of(**teacher) is None
