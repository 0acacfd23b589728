"""The code of a model of one's own: which files it is, and that an edited one is another teacher."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_task import CPU, QUICK, make_data

from autokd.config import TeacherConfig
from autokd.errors import ConfigError
from autokd.records import StudentSpec
from autokd.students import code_of
from autokd.students.source import find_code
from autokd.teachers import build_student, load_teacher, needs_training

DATA = make_data()
NETS = """
from torch import nn
from {package} import layers

def build(num_classes, in_chans, **ways):
    return layers.make(num_classes, in_chans, **ways)
"""
LAYERS = """
import json
import torch
from torch import nn

SAME = {}

class Answer(nn.Module):
    def __init__(self, net, how):
        super().__init__()
        self.net, self.how = net, how
    def forward(self, x):
        return self.how(self.net(x))

def make(num_classes, in_chans, how=None):
    channels = 3 if how == "rgb" else in_chans
    net = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(4, num_classes))
    ways = {"tuple": lambda z: (z, z), "dict": lambda z: {"logits": z}, "one": lambda z: z[:1]}
    if how == "script":
        return torch.jit.script(net)
    if how == "same":
        return SAME.setdefault("net", net)
    return Answer(net, ways.get(how, lambda z: z)).train()
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in the working directory, with a module that imports another of it."""
    name = f"code_{tmp_path.name}"
    (tmp_path / name).mkdir()
    for file, text in {
        "__init__": "", "nets": NETS.format(package=name), "layers": LAYERS, "other": "x = 1",
    }.items():  # fmt: skip
        (tmp_path / name / f"{file}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [*sys.modules]:
        if module.startswith(name):
            del sys.modules[module]


def edit(module: str, old: str, new: str) -> None:
    file = Path(f"{module.replace('.', '/')}.py")
    text = file.read_text()
    assert old in text or not old
    file.write_text(text.replace(old, new) if old else text + new)


def test_the_code_is_the_module_and_what_it_imports_from_its_folder(package):
    assert set(find_code(f"{package}.nets")) == {package, f"{package}.nets", f"{package}.layers"}


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("from .layers import make", True),
        ("from . import layers", True),
        ("import {package}.layers as l", True),
        ("def f():\n    from {package}.layers import make", True),
        ("from .. import layers", False),
        ("import torch", False),
    ],
)
def test_imports_are_found_however_they_are_written(package, statement, found):
    Path(package, "nets.py").write_text(statement.format(package=package))
    assert (f"{package}.layers" in find_code(f"{package}.nets")) is found


def test_of_an_installed_package_the_module_alone_counts():
    assert set(find_code("timm.models.resnet")) == {"timm", "timm.models", "timm.models.resnet"}
    assert find_code("no_such_module_at_all") == find_code("__main__") == find_code("sys") == {}


def test_edited_code_is_other_code_and_is_what_runs(package):
    model = f"{package}.nets:build"
    before = code_of(model)
    edit(f"{package}.other", "1", "2")
    assert code_of(model) == before
    edit(f"{package}.layers", "Conv2d(channels, 4, 3)", "Conv2d(channels, 4, 5)")
    assert code_of(model) != before
    made = build_student(StudentSpec(model=model, image_size=8), DATA)
    assert made.net[0].weight.shape == (4, 1, 5, 5)
    edit(f"{package}.layers", "Conv2d(channels, 4, 5)", "Conv2d(channels, 4, 3)")
    assert code_of(model) == before


def load(package: str, how: str | None = None, **ways):
    arguments = {} if how is None else {"how": how}
    config = TeacherConfig(model=f"{package}.nets:build", arguments=arguments, **ways)
    return load_teacher(config, DATA, cache=Path("cache"), seed=0, device=CPU, probe=QUICK)


def test_a_teacher_is_trained_again_when_the_code_that_makes_it_was_edited(package):
    train = {"epochs": 1, "augmentation": "none"}
    config = TeacherConfig(model=f"{package}.nets:build", train=train)
    load(package, train=train)
    assert not needs_training(config, DATA, cache=Path("cache"), seed=0)
    edit(f"{package}.layers", "", "\n# mended\n")
    assert needs_training(config, DATA, cache=Path("cache"), seed=0)


def test_a_checkpoint_under_edited_code_is_another_teacher(package):
    torch.manual_seed(0)
    weights = load(package, train={"epochs": 1, "augmentation": "none"})[0].model.state_dict()
    save_file(weights, "w.safetensors")
    first, _ = load(package, checkpoint="w.safetensors")
    edit(f"{package}.layers", "self.how(self.net(x))", "self.how(2 * self.net(x))")
    second, _ = load(package, checkpoint="w.safetensors")
    assert first.hash != second.hash
    assert first.model.training is second.model.training is False


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "rgb",
            r"fails on float32 images of 1 x 8 x 8: Runtime.*build it for in_chans, or set data.ch",
        ),
        ("tuple", r"logits of shape \(2, 4\), got a tuple; return its logits alone"),
        ("dict", r"logits of shape \(2, 4\), got a dict; return its logits alone"),
        ("script", r"returned a TorchScript model, .*return the nn\.Module that it was made from"),
        ("same", r"returned the same nn\.Module again; make a new one at each call"),
        ("one", r"logits of shape \(2, 4\), got \(1, 4\)$"),
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_a_function_whose_model_does_not_answer_with_logits_is_refused(package, how, message):
    with pytest.raises(ConfigError, match=message):
        load(package, how, pretrained=True)
