"""Narrow strided convolutions: they are trained at sizes at which oneDNN's own way ends the process, and stay what they were."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_task import SMALL
from torch import nn

from autokd.records import StudentSpec
from autokd.students import create_student
from autokd.students.strided import survive_training

NARROW = replace(SMALL, arguments=dict(SMALL.arguments) | {"width": 4, "stages": 4}, image_size=112)

# Four steps of a student in channels_last; where it is not treated, status 139 or 134, or wrong gradients.
TRAIN = """
import sys
import torch
from torch import nn
from autokd.students.strided import survive_training
torch.set_num_threads(1)
channels, size = map(int, sys.argv[1:])
model = survive_training(nn.Sequential(nn.Conv2d(channels, 16, 1, 2, bias=False)))
model.to(memory_format=torch.channels_last)
pixels = torch.randn(16, channels, size, size).contiguous(memory_format=torch.channels_last)
pixels.requires_grad_(True)
for _ in range(4):
    model(pixels).sum().backward()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "size"), [(8, 112), (4, 56), (12, 160), (8, 64), (4, 12), (3, 28)]
)
def test_a_narrow_strided_convolution_is_trained_without_ending_its_process(channels, size):
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(channels), str(size)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [6, 12, 64])
def test_no_map_is_too_small_for_the_safe_way(size, monkeypatch):
    """With AVX2 the fault was seen from 6 px on."""
    treated = survive_training(nn.Sequential(nn.Conv2d(4, 16, 1, 2)))
    monkeypatch.setattr(nn.Conv2d, "_conv_forward", None)
    assert treated(torch.zeros(2, 4, size, size)).shape == (2, 16, size // 2, size // 2)
    with pytest.raises(TypeError, match="not callable"):
        treated.eval()(torch.zeros(2, 4, size, size))


def conv_of(model: nn.Module) -> list[nn.Conv2d]:
    return [m for m in model.modules() if isinstance(m, nn.Conv2d) and type(m) is not nn.Conv2d]


@pytest.mark.parametrize("size", [6, 12, 33, 48, 49])
def test_answers_and_gradients_are_those_of_the_convolution_itself(size):
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 16, 1, (2, 3)).double()
    treated = nn.Sequential(nn.Conv2d(8, 16, 1, (2, 3)).double())
    treated[0].load_state_dict(plain.state_dict())
    survive_training(treated)
    one = torch.randn(2, 8, size, size).double().requires_grad_(True)
    other = one.detach().clone().requires_grad_(True)
    answer, again = plain(one), treated(other)
    torch.testing.assert_close(again, answer)
    (answer**2).sum().backward()
    (again**2).sum().backward()
    torch.testing.assert_close(other.grad, one.grad)
    torch.testing.assert_close(treated[0].weight.grad, plain.weight.grad)


@pytest.mark.parametrize(
    "harmless",
    [
        nn.Conv2d(16, 32, 1, 2),
        nn.Conv2d(8, 16, 1),
        nn.Conv2d(8, 16, 3, 2, padding=1),
        nn.Conv2d(8, 8, 1, 2, groups=8),
    ],
)
def test_other_convolutions_are_left_alone(harmless):
    assert type(survive_training(nn.Sequential(harmless))[0]) is nn.Conv2d


def test_students_have_theirs_treated_and_their_weights_names_are_the_same():
    student = create_student(NARROW, classes=4, channels=1)
    assert {conv.in_channels for conv in conv_of(student)} == {4, 8}
    assert all("." in name for name in student.state_dict())
    wide = replace(NARROW, arguments=dict(NARROW.arguments) | {"width": 32})
    assert not conv_of(create_student(wide, classes=4, channels=1))


@pytest.mark.slow
def test_channels_that_pruning_leaves_few_of_are_treated_too():
    spec = StudentSpec(
        model="resnet",
        arguments=dict(SMALL.arguments) | {"width": 24},
        image_size=16,
        pruned=0.5,
    )
    assert {c.in_channels for c in conv_of(create_student(spec, classes=4, channels=1))} == {12}
