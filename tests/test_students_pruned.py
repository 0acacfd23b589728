"""Pruned students: the same shapes wherever they are pruned, the smallest channels gone, and a trial that says what is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from family_members import member
from tiny_task import SMALL, candidate, make_data, make_task
from torch import nn

from autokd.config import parse_config
from autokd.cost import check_counts, count_on_meta, count_with_fvcore, exact_cost
from autokd.errors import ConfigError
from autokd.records import Candidate, StudentSpec, Training
from autokd.shipped import load_shipped
from autokd.space import Space, centre
from autokd.students import create_student, deployed, prune_student
from autokd.teachers import build_student
from autokd.trial import UNPRUNED, run_trial, same_student

pytestmark = pytest.mark.slow

DATA = make_data()
PRUNABLE = ("resnet", "convnext", "starnet", "mobilenetv3", "mobilenetv4", "efficientnet", "repvgg")  # fmt: skip
UNPRUNABLE = ("ghostnet", "vit", "edgenext", "mobileone")


def spec_of(family: str, *, pruned: float) -> StudentSpec:
    return replace(member(family), pruned=pruned)


@pytest.mark.parametrize("family", PRUNABLE)
def test_a_pruned_student_has_the_shapes_that_were_counted_whichever_channels_went(family):
    spec = spec_of(family, pruned=0.3)
    size = (3, spec.image_size, spec.image_size)

    def build():
        return create_student(spec, classes=5, channels=3)

    whole = create_student(replace(spec, pruned=0.0), classes=5, channels=3)
    params = sum(p.numel() for p in whole.parameters())
    torch.manual_seed(1)
    by_magnitude = prune_student(whole, spec, channels=3, trained=True)
    by_place = build()
    shapes = {name: value.shape for name, value in by_place.state_dict().items()}
    assert {name: value.shape for name, value in by_magnitude.state_dict().items()} == shapes
    assert sum(p.numel() for p in by_magnitude.parameters()) < 0.9 * params
    by_place.load_state_dict(by_magnitude.state_dict())
    image = torch.randn(2, *size)
    with torch.no_grad():
        answers = by_magnitude.eval()(image)
        assert torch.equal(by_place.eval()(image), answers)
        folded = deployed(by_place)(image)
    torch.testing.assert_close(folded, answers, rtol=1e-4, atol=1e-5)
    counted = count_on_meta(lambda: deployed(build()), size)
    check_counts(counted, count_with_fvcore(deployed(build()), size))


@pytest.mark.parametrize("family", UNPRUNABLE)
def test_what_can_not_be_pruned_is_one_line(family):
    with pytest.raises(
        ConfigError, match=rf"model '{family}' can't be pruned: .*set students\.prune"
    ):
        create_student(spec_of(family, pruned=0.3), classes=5, channels=3)


def test_what_only_magnitudes_show_ends_the_trial_with_one_line():
    spec = spec_of("fastvit", pruned=0.3)
    whole = create_student(replace(spec, pruned=0.0), classes=5, channels=3)
    with pytest.raises(ConfigError, match="model 'fastvit' can't be pruned: "):
        prune_student(whole, spec, channels=3, trained=True)


def test_the_channels_with_the_smallest_weights_go():
    torch.manual_seed(0)
    model = create_student(replace(SMALL, pruned=0.0), classes=4, channels=1)
    stem: nn.Conv2d = model.conv1[0]
    loud = torch.tensor([0, 2, 3, 1])
    with torch.no_grad():
        stem.weight[loud[2:]] *= 100
    kept = stem.weight[loud[2:]].detach().clone()
    prune_student(model, replace(SMALL, pruned=0.5), channels=1, trained=True)
    left = model.conv1[0].weight
    assert len(left) == 4 or all(any(torch.equal(k, w) for w in left) for k in kept)


def pruned_candidate(*, epochs: int = 3, again: int = 2, share: float = 0.5) -> Candidate:
    (student,) = candidate(epochs=epochs).stages
    spec = replace(student.student, pruned=share)
    training = replace(student.training, epochs=again)
    prune = replace(student, name="prune", student=spec, training=training, start_from="student")
    return Candidate(stages=(student, prune))


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return make_task(DATA, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def whole(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run_trial(pruned_candidate(), task, number=0, seed=7, folder=folder)


def test_a_trial_is_worth_what_is_left(whole, task):
    assert whole.state == "complete", whole.reason
    assert [epoch.stage for epoch in whole.history] == ["student"] * 3 + ["prune"] * 2
    last = [epoch for epoch in whole.history if epoch.stage == "prune"]
    assert whole.val["accuracy"] == max(epoch.val_accuracy for epoch in last)
    spec = whole.candidate.student
    assert whole.cost == replace(
        exact_cost(lambda: deployed(build_student(spec, DATA)), (1, 8, 8)),
        **{name: getattr(whole.cost, name) for name in ("latency_ms", "latency_median_ms", "latency_p90_ms", "reference_ms", "device", "contended", "pressure")},
    )  # fmt: skip
    assert whole.cost.params < exact_cost(lambda: build_student(SMALL, DATA), (1, 8, 8)).params
    model = load_shipped(
        whole.candidate.stages[-1], Path(whole.folder), DATA, device=task.device, threads=1
    )
    assert sum(p.numel() for p in model.parameters()) == whole.cost.params
    assert (Path(whole.folder) / UNPRUNED).exists()
    assert whole.candidate.describe_stages() == "T→S→pruned"
    assert "pruned 50%" in spec.describe()


@pytest.mark.parametrize("until", [1, 3, 4])
def test_a_pause_leaves_no_trace(until, whole, task, tmp_path):
    wanted = pruned_candidate()
    first = run_trial(wanted, task, number=0, seed=7, folder=tmp_path / "0", until=until)
    assert first.state == "stopped"
    shown = same_student(wanted, first.history)
    assert first.val["accuracy"] == max(epoch.val_accuracy for epoch in shown)
    rest = run_trial(wanted, task, number=0, seed=7, folder=tmp_path / "0", before=first)
    assert rest.val == whole.val
    assert [e.val_loss for e in rest.history] == [e.val_loss for e in whole.history]


def test_a_worker_that_died_after_pruning_goes_on_from_the_pause_before_it(whole, task, tmp_path):
    wanted = pruned_candidate()
    folder = tmp_path / "0"
    first = run_trial(wanted, task, number=0, seed=7, folder=folder, until=2)
    checkpoint = (folder / "checkpoint.pt").read_bytes()
    run_trial(wanted, task, number=0, seed=7, folder=folder, before=first)
    (folder / "checkpoint.pt").write_bytes(checkpoint)  # nobody heard of what came after
    again = run_trial(wanted, task, number=0, seed=7, folder=folder, before=first)
    assert again.state == "complete", again.reason
    assert again.val == whole.val


def space(**changes) -> Space:
    record = {
        "data": {"source": "digits"},
        "teacher": {"model": "resnet", "train": {}},
        "students": {"model": "resnet", "prune": [0.0, 0.4]},
        "train": {"epochs": 9},
    } | changes
    return Space(parse_config(record, source="a.yaml"), image_size=8)


def sampled(of: Space, share: float) -> Candidate:
    return of.sample(lambda name, d: share if name == "students.prune" else centre(name, d))


def test_a_space_prunes_after_the_student_and_before_fine_tuning():
    both = space(schedule={"finetune_epochs": 2})
    stages = sampled(both, 0.4).stages
    assert [stage.name for stage in stages] == ["student", "prune", "finetune"]
    assert [stage.student.pruned for stage in stages] == [0.0, 0.4, 0.4]
    assert [stage.training.epochs for stage in stages] == [9, 3, 2]
    assert [stage.start_from for stage in stages] == [None, "student", "prune"]
    assert both.most_epochs == 14
    assert [stage.name for stage in sampled(space(), 0.0).stages] == ["student"]
    fixed = sampled(space(schedule={"prune_epochs": 5}), 0.4)
    assert isinstance(fixed.stages[1].training, Training)
    assert fixed.epochs == 14
    assert Candidate.from_params(fixed.to_params()) == fixed
