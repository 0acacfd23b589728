"""Students that start from pretrained weights, from a file where there is no network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny_task import candidate, make_data, make_task

from autokd.config import parse_config
from autokd.engine.check import check_search
from autokd.engine.database import BegunStudy
from autokd.engine.identity import identify, refuse_changed
from autokd.errors import CheckpointError, ConfigError
from autokd.records import Candidate, StudentSpec
from autokd.space import Space, centre
from autokd.students import create_student
from autokd.trial import run_trial

MODEL = "test_resnet.r160_in1k"
DATA = make_data()
SEARCH = {"data": {"source": "digits"}, "teacher": {"model": "resnet", "train": {"epochs": 1}}}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Weights as timm publishes them: 1000 classes, three channels."""
    torch.manual_seed(5)
    model = timm.create_model(MODEL, pretrained=False)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(model.state_dict(), path)
    return path


def space(**students) -> Space:
    return Space(parse_config(SEARCH | {"students": students}, source="mine.yaml"), image_size=32)


def test_weights_of_a_file_are_there_with_a_new_classifier_and_fewer_channels(file):
    spec = StudentSpec(model=MODEL, image_size=32, start=str(file))
    published = timm.create_model(MODEL, pretrained=False, checkpoint_path=str(file)).state_dict()
    same = create_student(spec, classes=1000, channels=3, start=True).state_dict()
    assert all(torch.equal(same[name], value) for name, value in published.items())
    other = create_student(spec, classes=4, channels=1, start=True).state_dict()
    inner = "layer2.0.conv1.weight"
    assert torch.equal(other[inner], published[inner])
    assert other["fc.weight"].shape[0] == 4
    fresh = create_student(spec, classes=4, channels=1).state_dict()
    assert not torch.equal(fresh[inner], published[inner])


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (MODEL, ["fc"]),
        ("test_vit", ["head"]),
        ("deit_tiny_distilled_patch16_224", ["head", "head_dist"]),
        ("test_convnext", ["head.fc"]),
        ("levit_128s", ["head.linear", "head_dist.linear"]),
    ],
)
def test_a_new_classifier_above_pretrained_weights_starts_small(model, names, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(timm.create_model(model, pretrained=False).state_dict(), file)
    spec = StudentSpec(model=model, image_size=224, start=str(file))
    fresh = create_student(spec, classes=200, channels=3, start=True)
    for name in names:
        layer = fresh.get_submodule(name)
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
        assert not layer.bias.any()
    known = create_student(spec, classes=1000, channels=3, start=True).get_submodule(names[0])
    published = load_file(file)[f"{names[0]}.weight"]
    assert torch.equal(known.weight, published)


def test_a_search_with_other_new_classifiers_is_another_search(file):
    students = {"model": MODEL, "pretrained": True}
    data = make_data()
    now = identify(parse_config(SEARCH | {"students": students}, source="mine.yaml"), data)
    before = {key: value for key, value in now.items() if key != "heads"}
    begun = BegunStudy(name="mine-1a", identity=before, has_ended=False)
    with pytest.raises(ConfigError, match="new classifiers on pretrained weights start otherwise"):
        refuse_changed(now, [begun])
    fresh = identify(parse_config(SEARCH | {"students": {"model": "resnet"}}, source=""), data)
    assert "heads" not in fresh


def test_a_trial_starts_from_them_and_goes_on_after_a_pause_from_its_own(file, tmp_path):
    data = make_data()
    task = make_task(data, tmp_path / "cache")
    (stage,) = candidate(epochs=2).stages
    spec = StudentSpec(model=MODEL, image_size=32, start=str(file))
    training = replace(stage.training, learning_rate=1e-12)
    wanted = Candidate(stages=(replace(stage, student=spec, training=training),))
    whole = run_trial(wanted, task, number=0, seed=1, folder=tmp_path / "whole")
    assert whole.state == "complete", whole.reason
    first = run_trial(wanted, task, number=0, seed=1, folder=tmp_path / "parts", until=1)
    parts = run_trial(wanted, task, number=0, seed=1, folder=tmp_path / "parts", before=first)
    assert [e.val_loss for e in parts.history] == [e.val_loss for e in whole.history]
    random = Candidate(
        stages=(replace(stage, student=replace(spec, start=None), training=training),)
    )
    other = run_trial(random, task, number=0, seed=1, folder=tmp_path / "random")
    assert other.history[0].val_loss != whole.history[0].val_loss
    assert wanted.hash != random.hash


def test_named_models_start_from_timm_s_weights_and_families_inherit_from_them():
    mixed = space(model=[MODEL, "resnet"], pretrained=True)
    starts = {}
    for model in (MODEL, "resnet"):
        student = mixed.sample_student(
            lambda name, d, model=model: model if name == "students.model" else centre(name, d)
        )
        starts[model] = student.start
    assert starts == {MODEL: "pretrained", "resnet": "heir"}
    assert student.describe().endswith("px, heir")


@pytest.mark.parametrize(
    ("students", "message"),
    [
        ({"model": "cs3darknet_s", "pretrained": True}, "timm has no weights of cs3darknet_s"),
        (
            {"model": [MODEL], "pretrained": {"test_resnt.r160_in1k": "a"}},
            "is none of timm's models in students.model Did you mean",
        ),
        ({"model": [MODEL], "pretrained": {MODEL: "nowhere.pt"}}, "there is no file nowhere.pt"),
    ],
)
def test_what_can_not_be_is_refused_before_the_search(students, message):
    with pytest.raises(ConfigError, match=message):
        space(**students)


def test_weights_that_can_not_be_had_are_one_line(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    spec = StudentSpec(model=MODEL, image_size=32, start=str(broken))
    with pytest.raises(CheckpointError, match=r"weights of .* can't be had: .*; give another file"):
        create_student(spec, classes=4, channels=1, start=True)


def test_a_search_is_refused_before_its_first_trial_where_they_can_not_be_had(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    students = {
        "model": ["test_resnet"],
        "image_size": 32,
        "pretrained": {"test_resnet": str(broken)},
    }
    config = parse_config(SEARCH | {"students": students}, source="mine.yaml")
    with pytest.raises(CheckpointError, match="weights of test_resnet can't be had"):
        check_search(config, directory=tmp_path)
