"""Weights of others: the shapes in which people have them, each with the weights that are meant."""

from __future__ import annotations

import argparse
import collections
import copy
import datetime
import decimal
import enum
import functools
import pathlib
import re
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autokd.errors import CheckpointError
from autokd.records import StudentSpec
from autokd.students import create_student
from autokd.weights import Loaded, fit_weights, load_checkpoint, read_weights

SPEC = StudentSpec(
    model="resnet",
    arguments={"width": 8, "depth": 1, "stages": 3, "stem_stride": 1},
    image_size=8,
)
Weights = dict[str, Tensor]


def make(classes: int = 10, channels: int = 1) -> nn.Module:
    return create_student(SPEC, classes=classes, channels=channels)


torch.manual_seed(0)
MODEL = make()
MEANT = MODEL.state_dict()
OTHER = {
    name: torch.full_like(value, 7.0) if value.is_floating_point() else value.clone()
    for name, value in MEANT.items()
}


def under(start: str, weights: Weights = MEANT) -> Weights:
    return {start + name: value.clone() for name, value in weights.items()}


def as_type(kind: torch.dtype) -> Weights:
    return {k: v.to(kind) if v.is_floating_point() else v for k, v in MEANT.items()}


def optimizer() -> dict[str, Any]:
    model = copy.deepcopy(MODEL)
    made = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.zeros(2, 1, 8, 8)).sum().backward()
    made.step()
    return made.state_dict()


def load(path: Path, **options: bool) -> tuple[nn.Module, Loaded]:
    model = make()
    loaded = load_checkpoint(model, path, name="resnet", classes=10, channels=1, **options)
    return model, loaded


def start(path: Path, *, classes: int = 10, channels: int = 1) -> tuple[nn.Module, Loaded]:
    model = make(classes, channels)
    loaded = fit_weights(
        model,
        read_weights(path),
        name="resnet",
        classes=classes,
        channels=channels,
        new_head=True,
    )
    return model, loaded


def assert_same(model: nn.Module, expected: Weights = MEANT) -> None:
    found = model.state_dict()
    for name, value in expected.items():
        assert torch.equal(found[name].double(), value.double()), name


NAMESPACE = argparse.Namespace(lr=0.1, data=Path("/data"))
COUNTED = {"n_averaged": torch.tensor(4)}


class Options:
    """An object of somebody's own."""

    def __init__(self) -> None:
        self.lr = 0.1


class Attributes(dict):
    """A dict of somebody's own."""


class Colour(enum.Enum):
    RED = 1


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


# What is found without a word, as nothing else could be meant.
PLAIN: dict[str, Any] = {
    "as it is": MEANT,
    "ordered": collections.OrderedDict(MEANT),
    "parameters": {k: nn.Parameter(v, v.is_floating_point()) for k, v in MEANT.items()},
    "distributed": {"state_dict": under("module.")},
    "compiled": under("_orig_mod."),
    "distributed, then compiled": under("module._orig_mod."),
    "compiled, then distributed": under("_orig_mod.module."),
    "Lightning's": {
        "state_dict": under("model."),
        "epoch": 3,
        "pytorch-lightning_version": "2.2",
        "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [optimizer()],
        "callbacks": {"EarlyStopping": {"best_score": torch.tensor(0.5)}},
    },
    "Lightning's, compiled": {"state_dict": under("model._orig_mod.")},
    "Lightning's net": {"state_dict": under("net.")},
    "Lightning's backbone": {"state_dict": under("backbone.")},
    "Lightning's encoder": {"state_dict": under("encoder.")},
    "Lightning's student": {"state_dict": under("student.")},
    "Hugging Face's wrapper": under("timm_model."),
    "MMPretrain's": {
        "meta": {"epoch": 1},
        "state_dict": {
            ("head." if name.startswith("fc.") else "backbone.") + name: value
            for name, value in MEANT.items()
        },
    },
    "a tutorial's": {
        "epoch": 3,
        "model_state_dict": MEANT,
        "optimizer_state_dict": optimizer(),
        "loss": 0.1,
    },
    "with an optimiser": {
        "model": MEANT,
        "optimizer": optimizer(),
        "scaler": {"scale": torch.tensor(2.0)},
        "rng": torch.get_rng_state(),
        "loss": torch.tensor(0.1),
    },
    "fastai's": {"model": MEANT, "opt": {"state": [{"a": torch.ones(2)}], "hypers": [{}]}},
    "with the best accuracy": {"model": MEANT, "best_acc": 70.1},
    "net": {"net": MEANT, "acc": 93.1},
    "params": {"params": MEANT},
    "weights": {"weights": MEANT},
    "a name of one's own": {"my_model": MEANT, "criterion": {"weight": torch.ones(10)}},
    "averaging that was off": {"model": MEANT, "model_ema": None, "state_dict_ema": {}},
    "with a Namespace": {"state_dict": MEANT, "args": NAMESPACE},
    "with NumPy's numbers": {
        "state_dict": MEANT,
        "acc": np.float64(3.2),
        "epoch": np.int64(3),
        "best": np.bool_(True),
        "name": np.str_("a"),
        "curve": np.arange(3.0),
    },
    "with much else": {
        "state_dict": MEANT,
        "path": Path("/a"),
        "from": pathlib.PureWindowsPath("c:/a"),
        "when": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        "took": datetime.timedelta(hours=1),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "seen": collections.defaultdict(list, {"a": [1]}),
        "last": collections.deque([1.0]),
        "namespace": types.SimpleNamespace(a=1),
        "parts": {"a", frozenset("b")},
        "price": decimal.Decimal("1.2"),
        "slice": (slice(1, 2), range(3)),
    },
    "with objects of one's own": {"state_dict": MEANT, "cfg": Options(), "more": Attributes(a=1)},
    "a dict of one's own": Attributes(MEANT),
    "with a note in the weights": MEANT | {"version": 2, "_extra_state": None},
}
# What is left or missing, and is said.
TOLD: dict[str, tuple[Any, str]] = {
    "with a loss": (
        {"state_dict": under("model.") | {"criterion.weight": torch.ones(10)}},
        "68 tensors loaded; left: criterion (1)",
    ),
    "with its teacher": (
        {"state_dict": under("student.") | {"teacher.conv1.weight": torch.ones(2)}},
        "68 tensors loaded; left: teacher (1)",
    ),
    "averaged by torch": (under("module.") | COUNTED, "68 tensors loaded; left: n_averaged (1)"),
    "counted by thop": (
        MEANT
        | {f"{part}total_{what}": torch.zeros(1) for part in ("", "layer1.") for what in ("ops", "params")},
        "68 tensors loaded; left: total_ops (2), total_params (2)",
    ),
    "with an auxiliary head": (
        MEANT | {"aux.fc.weight": torch.ones(10, 4), "aux.fc.bias": torch.ones(10)},
        "68 tensors loaded; left: aux (2)",
    ),
    "without counts of batches": (
        {k: v for k, v in MEANT.items() if "num_batches" not in k},
        "57 tensors loaded; new: num_batches_tracked (11)",
    ),
}  # fmt: skip
# Raw and averaged weights side by side, and the words that say which were taken.
BOTH: dict[str, tuple[Any, str, str]] = {
    "timm's": (
        {"arch": "resnet", "state_dict": OTHER, "state_dict_ema": MEANT, "args": NAMESPACE},
        "state_dict_ema", "state_dict",
    ),
    "DeiT's": ({"model": OTHER, "model_ema": MEANT}, "model_ema", "model"),
    "torchvision's": (
        {"model": OTHER, "model_ema": under("module.") | COUNTED, "args": NAMESPACE},
        "model_ema", "model",
    ),
    "RT-DETR's": ({"model": OTHER, "ema": {"module": MEANT, "updates": 5}}, "ema", "model"),
    "a shadow": (
        {"net": OTHER, "ema": {"decay": 0.9, "shadow": MEANT}},
        "ema", "net",
    ),
    "Lightning's callback": (
        {
            "state_dict": MEANT,
            "current_model_state": OTHER,
            "averaging_state": {"n_averaged": torch.tensor(4)},
        },
        "state_dict", "current_model_state",
    ),
    "Lightning's module": (
        {"state_dict": under("model.", OTHER) | under("ema_model.module.") | {"ema_model.n_averaged": torch.tensor(1)}},
        "ema_model.module.", "model.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", PLAIN)
def test_weights_are_found_in_whatever_is_around_them(tmp_path, shape):
    torch.save(PLAIN[shape], tmp_path / "file.pt")
    model, loaded = load(tmp_path / "file.pt")
    assert_same(model)
    assert loaded.sentence() == f"{tmp_path / 'file.pt'}: 68 tensors loaded"
    assert_same(start(tmp_path / "file.pt")[0])


@pytest.mark.parametrize("shape", TOLD)
def test_what_is_left_or_missing_beside_the_model_s_weights_is_said(tmp_path, shape):
    content, told = TOLD[shape]
    torch.save(content, tmp_path / "file.pt")
    model, loaded = load(tmp_path / "file.pt")
    assert_same(model, {k: v for k, v in MEANT.items() if "num_batches" not in k})
    assert loaded.sentence() == f"{tmp_path / 'file.pt'}: {told}"


@pytest.mark.parametrize("shape", BOTH)
def test_averaged_weights_are_taken_before_raw_ones_unless_these_are_wanted(tmp_path, shape):
    content, averaged, raw = BOTH[shape]
    torch.save(content, tmp_path / "file.pt")
    model, loaded = load(tmp_path / "file.pt")
    assert_same(model)
    assert str(loaded.choice) == f"the averaged weights ({averaged}); {raw} holds the raw ones"
    assert str(loaded.choice) in loaded.sentence()
    model, loaded = load(tmp_path / "file.pt", averaged=False)
    assert_same(model, OTHER)
    assert str(loaded.choice) == f"the raw weights ({raw}); {averaged} holds the averaged ones"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_the_model_s(tmp_path, kind):
    torch.save(as_type(kind), tmp_path / "file.pt")
    model, _ = load(tmp_path / "file.pt")
    assert_same(model, as_type(kind))
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("prefix", ["", "model.", "_orig_mod.", "timm_model."])
def test_safetensors_have_the_same_prefixes(tmp_path, prefix):
    save_file(under(prefix), tmp_path / "file.safetensors")
    assert_same(load(tmp_path / "file.safetensors")[0])
    both = under("model.", OTHER) | under("model_ema.")
    save_file(both, tmp_path / "both.safetensors")
    model, loaded = load(tmp_path / "both.safetensors")
    assert_same(model)
    assert loaded.choice is not None
    assert loaded.choice.taken == "model_ema."


KINDS = ("weight", "bias")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"student": MEANT, "teacher": OTHER}, r"several sets of weights \(student, teacher\); sav"),
        (
            {"state_dict": under("student.") | under("teacher.", OTHER)},
            r"several sets of weights that fit \(student\., teacher\.\); save the one that is meant",
        ),
        (MODEL, r"holds a whole model \(timm\.models\.resnet\.ResNet\), which is code; save its we"),
        ({"model": MODEL, "epoch": 1}, r"holds a whole model \(timm\.models\.resnet\.ResNet\)"),
        ({"state_dict": OTHER, "ema": MODEL}, r"holds a whole model \(timm\.models\.resnet\.ResN"),
        ({"state_dict": MEANT, "hook": RunsCode()}, r"more than weights \(.*\) and would run code"),
        ({"state_dict": MEANT, "hook": functools.partial(print)}, r"\(functools\.partial\) and w"),
        ({"state_dict": MEANT, "colour": Colour.RED}, r"more than weights \(.*Colour\) and would"),
        ((MEANT, 3), r"is not a state dict \(parameter name -> tensor\); save it as safetensors"),
        (
            MEANT | {"layer1.1.conv1.weight": torch.ones(1)},
            r"1 unknown \(layer1\.1\.conv1\.weight\); check",
        ),
        (
            {f"blocks.{i}.{j}.bn1.{k}": torch.ones(4) for i in "01" for j in "01" for k in KINDS},
            r"\d+ missing \(conv1\.0\.weight\).*; these are weights of another model; check",
        ),
        (
            {k: v for k, v in MEANT.items() if "layer2" not in k},
            r"\d+ missing \(layer2\.0\.conv1\.weight\); check",
        ),
        (
            {"model": OTHER, "ema": {k: v for k, v in MEANT.items() if "running" not in k}},
            r"22 missing .*; these are the averaged weights \(ema\); model holds the raw ones$",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_told_or_does_not_fit_is_refused_in_one_line(
    tmp_path, monkeypatch, content, problem
):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "file.pt")
    for door in (load, start):
        with pytest.raises(CheckpointError, match=problem) as refused:
            door(Path("file.pt"))
        assert re.match(r"file\.pt: [^\n]*$", str(refused.value))
    assert not Path("ran").exists()


def test_reading_leaves_no_name_that_torch_would_trust_later(tmp_path):
    before = torch.serialization.get_safe_globals()
    torch.save({"state_dict": MEANT, "args": NAMESPACE, "cfg": Options()}, tmp_path / "file.pt")
    load(tmp_path / "file.pt")
    assert set(torch.serialization.get_safe_globals()) == set(before)


def test_a_classifier_is_new_and_small_where_a_start_knows_other_classes_or_none(tmp_path):
    torch.save(make(11).state_dict(), tmp_path / "eleven.pt")
    torch.save({k: v for k, v in MEANT.items() if "fc." not in k}, tmp_path / "none.pt")
    for name in ("eleven.pt", "none.pt"):
        model, loaded = start(tmp_path / name)
        assert loaded.head == ("fc",)
        assert loaded.new == ("fc.weight", "fc.bias")
        assert loaded.sentence().endswith("66 tensors loaded; new: fc (2)")
        assert float(model.fc.weight.detach().std()) == pytest.approx(0.01, rel=0.3)
        assert not model.fc.bias.any()
    with pytest.raises(CheckpointError, match=r"it knows 11 classes, and the data has 10$"):
        load(tmp_path / "eleven.pt")
    with pytest.raises(CheckpointError, match=r"2 missing \(fc\.weight\)"):
        load(tmp_path / "none.pt")


def test_a_start_takes_a_first_convolution_of_three_channels_as_timm_does(tmp_path):
    colour = make(channels=3).state_dict()
    torch.save(colour, tmp_path / "rgb.pt")
    model, loaded = start(tmp_path / "rgb.pt")
    assert loaded.adapted == ("conv1.0.weight",)
    assert torch.equal(
        model.state_dict()["conv1.0.weight"], colour["conv1.0.weight"].sum(1, keepdim=True)
    )
    model, _ = start(tmp_path / "rgb.pt", channels=4)
    first = model.state_dict()["conv1.0.weight"]
    assert torch.allclose(first[:, 3], colour["conv1.0.weight"][:, 0] * 3 / 4)
    with pytest.raises(
        CheckpointError, match=r"its images have 3 channels: set data\.channels: 3$"
    ):
        load(tmp_path / "rgb.pt")
    torch.save(MEANT, tmp_path / "grey.pt")
    with pytest.raises(
        CheckpointError, match=r"its images have 1 channels: set data\.channels: 1$"
    ):
        start(tmp_path / "grey.pt", channels=3)
