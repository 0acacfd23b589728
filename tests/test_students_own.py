"""Teachers of one's own: a Python function that makes an nn.Module, with weights of its own, from a file or trained here."""

from __future__ import annotations

import sys
import textwrap

import pytest
import torch
from safetensors.torch import save_file
from tiny_task import CPU, make_data

from autokd.config import TeacherConfig, parse_config
from autokd.engine.check import check_search
from autokd.engine.search import run_search
from autokd.errors import CheckpointError, ConfigError
from autokd.records import StudentSpec
from autokd.space import Space
from autokd.students import create_student
from autokd.task import StudentCosts
from autokd.teachers import load_teacher

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_latency")]
DATA = make_data()
SOURCE = """
    import torch
    from torch import nn

    def build(num_classes, in_chans, width=4, seed=None, wrong=0):
        if seed is not None:
            torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(in_chans, width, 3), nn.BatchNorm2d(width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, num_classes + wrong),
        )

    def text(num_classes, in_chans):
        return "no module"
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that lies in the working directory and nowhere on the path."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield name
    sys.modules.pop(name, None)


def load(config, cache):
    return load_teacher(TeacherConfig(**config), DATA, cache=cache, seed=0, device=CPU)


def test_a_module_brings_its_own_weights(module, tmp_path):
    config = {"model": f"{module}:build", "pretrained": True, "arguments": {"seed": 3}}
    (teacher, info), (again, _) = (load(config, tmp_path) for _ in "ab")
    expected = sys.modules[module].build(4, 1, seed=3).state_dict()
    assert all(
        torch.equal(value, expected[key]) for key, value in teacher.model.state_dict().items()
    )
    assert not teacher.model.training
    assert info.source == f"weights of {module}:build"
    assert info.cost.macs == 4 * 9 * 36 + 16 * 4
    assert teacher.hash == again.hash
    other, _ = load(config | {"arguments": {"seed": 4}}, tmp_path)
    assert other.hash != teacher.hash


def test_a_module_that_draws_new_weights_each_time_is_refused(module, tmp_path):
    """Else each worker would have a teacher of its own."""
    with pytest.raises(CheckpointError, match="returns other weights each time"):
        load({"model": f"{module}:build", "pretrained": True}, tmp_path)


def test_a_module_takes_weights_from_a_file_or_is_trained(module, tmp_path):
    sys.path.append(str(tmp_path))
    weights = __import__(module).build(4, 1, width=6).state_dict()
    save_file(weights, tmp_path / "w.safetensors")
    config = {"model": f"{module}:build", "arguments": {"width": 6}}
    teacher, _ = load(config | {"checkpoint": tmp_path / "w.safetensors"}, tmp_path)
    assert torch.equal(teacher.model[0].weight, weights["0.weight"])
    with pytest.raises(CheckpointError, match="does not fit"):
        load(config | {"arguments": {}, "checkpoint": tmp_path / "w.safetensors"}, tmp_path)
    trained, info = load(config | {"train": {"epochs": 1}}, tmp_path)
    assert info.source == "trained here"
    assert not torch.equal(trained.model[0].weight, weights["0.weight"])


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("build", {"wrong": 1}, r"logits of shape \(2, 4\), got \(2, 5\)"),
        ("text", {}, "returned a str, not an nn.Module"),
        ("nothing", {}, "has no function 'nothing'"),
    ],
)
def test_what_is_no_classifier_of_the_data_is_refused(
    module, tmp_path, function, arguments, message
):
    config = {"model": f"{module}:{function}", "pretrained": True, "arguments": arguments}
    with pytest.raises(ConfigError, match=message):
        load(config, tmp_path)


def test_a_module_that_is_not_there_is_refused_with_the_place_it_was_looked_for(tmp_path):
    with pytest.raises(
        ConfigError, match=r"No module named 'no_such_nets'; give package\.module:f"
    ):
        load({"model": "no_such_nets:build", "pretrained": True}, tmp_path)


def test_an_error_of_ones_own_code_keeps_its_traceback(module, tmp_path):
    arguments = {"width": None}
    with pytest.raises(TypeError, match="unsupported operand"):
        load({"model": f"{module}:build", "pretrained": True, "arguments": arguments}, tmp_path)


SEARCH = {
    "data": {"source": "digits"},
    "students": {"model": "resnet", "families": {"resnet": {"stages": 3, "stem_stride": 1}}},
    "train": {"epochs": 1},
}


def test_a_search_file_with_one_is_checked_like_any_other(module, tmp_path):
    teacher = {"model": f"{module}:build", "pretrained": True, "arguments": {"seed": 0}}
    config = parse_config(SEARCH | {"teacher": teacher}, source="mine.yaml")
    found = check_search(config, directory=tmp_path)
    assert found.trial_seconds > 0
    assert found.teacher.images == 269
    assert found.teacher.doubts
    teacher["arguments"] = {}
    with pytest.raises(CheckpointError, match="returns other weights each time"):
        check_search(parse_config(SEARCH | {"teacher": teacher}, source=""), directory=tmp_path)


@pytest.mark.parametrize(
    ("asks", "missing"),
    [
        ({"distill": {"feature_loss": ["none", "sp"]}}, "maps"),
        ({"schedule": {"pretrain_epochs": 1, "pretrain_on": "features"}}, "features"),
    ],
)
@pytest.mark.parametrize("begin", [check_search, run_search])
def test_a_teacher_without_features_is_refused_before_anything_is_trained(
    module, tmp_path, begin, asks, missing
):
    teacher = {"model": f"{module}:build", "train": {"epochs": 1}}
    config = parse_config(SEARCH | {"teacher": teacher} | asks, source="mine.yaml")
    with pytest.raises(ConfigError, match=rf"Sequential gives no {missing}.*leave those out"):
        begin(config, directory=tmp_path)


def test_a_student_without_features_is_refused_before_anything_is_trained(module):
    record = SEARCH | {
        "teacher": {"model": "resnet", "train": {"epochs": 1}},
        "distill": {"feature_loss": ["none", "rkd"]},
    }
    space = Space(parse_config(record, source="mine.yaml"), image_size=8)
    costs = StudentCosts(DATA, space)
    spec = StudentSpec(model=f"{module}:build", image_size=8)
    assert create_student(spec, classes=4, channels=1)
    with pytest.raises(ConfigError, match="gives no features before its classifier"):
        costs(spec)


def test_a_function_that_does_not_take_what_it_is_called_with_is_one_line(module):
    spec = StudentSpec(model=f"{module}:build", arguments={"widht": 4}, image_size=12)
    with pytest.raises(
        ConfigError, match=r"num_classes=3, in_chans=1, widht=4, and got an unex.*'widht'"
    ):
        create_student(spec, classes=3, channels=1)
