"""Memory that runs short: work goes on in smaller portions, and comes to the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_task
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_task import CPU, candidate, make_data, make_task, make_teacher, stage

from autokd.answers import CachedLogits
from autokd.data.batches import Batch, split_batch
from autokd.evaluation import predict
from autokd.learning import Learning
from autokd.memory import shrink_to_fit
from autokd.objective import Objective
from autokd.peers import ALONE
from autokd.records import StudentSpec
from autokd.students import InputFormat
from autokd.teachers import build_student
from autokd.trial import run_trial

pytestmark = pytest.mark.usefixtures("quick_latency")
DATA = make_data()
INPUTS = InputFormat(image_size=8, mean=DATA.mean, std=DATA.std)
# no batch norm: in parts its gradients are those of the whole batch
VIT = StudentSpec(
    model="vit", arguments={"heads": 2, "head_dim": 8, "depth": 1, "patch_size": 4}, image_size=8
)


def batch_of(count: int) -> Batch:
    return Batch(DATA.train.images.pixels[:count], DATA.train.labels[:count], torch.arange(count))


def refuse_more_than(most: int):
    """A hook that runs out of memory as CUDA does, where a model is given more images at a time."""

    def hook(_module, inputs):
        if len(inputs[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    return hook


@given(st.integers(1, 70), st.integers(2, 40))
@settings(deadline=None)
def test_parts_of_a_batch_are_the_batch_and_none_is_a_single_image(count, most):
    whole, parts = batch_of(count), [*split_batch(batch_of(count), most)]
    for place, values in enumerate(whole):
        assert torch.equal(torch.cat([part[place] for part in parts]), values)
    sizes = [len(part.pixels) for part in parts]
    assert min(sizes) >= min(2, count)
    assert max(sizes) <= max(most, 3)  # three where two and one would be left


def test_an_attempt_is_halved_until_it_fits_and_draws_the_same_numbers_each_time():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    seen = []

    def attempt(most: int) -> torch.Tensor:
        drawn = torch.rand(3)
        seen.append(most)
        if most > 10:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return drawn

    drawn, most = shrink_to_fit(attempt, 64, least=2)
    assert (seen, most) == ([64, 32, 16, 8], 8)
    assert torch.equal(drawn, expected)


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), 3),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1),
        (ValueError("a bug"), 1),
    ],
)
def test_what_never_fits_and_what_is_no_lack_of_a_gpus_memory_is_raised(error, attempts):
    seen = []

    def attempt(most: int) -> None:
        seen.append(most)
        raise error

    with pytest.raises(type(error), match=str(error)):
        shrink_to_fit(attempt, 8, least=2)
    assert len(seen) == attempts


@pytest.mark.parametrize("most", [7, 16])
def test_gradients_in_parts_are_those_of_the_whole_batch(tmp_path, most):
    wanted = stage(student=VIT, loss_weights={"ce": 0.5, "kd": 0.5})
    teacher = make_teacher(DATA)
    views = DATA.views("none", cache=tmp_path)
    answers = CachedLogits(teacher, views, tmp_path, classes=tiny_task.CLASSES)
    found = []
    for size in (32, most):
        torch.manual_seed(0)
        student = build_student(VIT, DATA)
        objective = Objective(
            wanted, student, [answers], train=DATA.train, val=DATA.val, inputs=INPUTS, device=CPU
        )
        learning = Learning(wanted, student, objective, ALONE, steps=4)
        learning.at_once = size
        means = learning.step(batch_of(32), 0, number=0)
        found.append((means, [p.grad.clone() for p in student.parameters()]))
    (whole, gradients), (parts, same) = found
    assert parts.keys() == whole.keys() == {"ce", "kd", "total"}
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value)
    for one, other in zip(gradients, same, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.fixture
def short_of_memory(monkeypatch):
    """Students of this test's trials take eight images at a time."""
    import autokd.trial

    create = autokd.trial.create

    def create_small(*args, **kwargs):
        model = create(*args, **kwargs)
        model.register_forward_pre_hook(refuse_more_than(8))
        return model

    monkeypatch.setattr(autokd.trial, "create", create_small)


def test_a_trial_goes_on_in_parts_and_says_so(short_of_memory, tmp_path):
    result = run_trial(
        candidate(), make_task(DATA, tmp_path), number=0, seed=0, folder=tmp_path / "0"
    )
    assert result.state == "complete", result.reason
    assert [epoch.at_once for epoch in result.history] == [8, 8]


def test_a_pause_leaves_no_trace_where_memory_is_short(short_of_memory, tmp_path):
    task, wanted = make_task(DATA, tmp_path), candidate(epochs=4, drop_rate=0.2)
    whole = run_trial(wanted, task, number=0, seed=0, folder=tmp_path / "whole")
    folder = tmp_path / "parts"
    paused = run_trial(wanted, task, number=0, seed=0, folder=folder, until=2)
    resumed = run_trial(wanted, task, number=0, seed=0, folder=folder, before=paused)
    without = [[replace(e, seconds=0.0) for e in r.history] for r in (whole, resumed)]
    assert without[0] == without[1]
    names = ("best.safetensors", "last.safetensors")
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_model_and_a_teacher_are_asked_about_fewer_images_at_a_time(tmp_path):
    teacher = make_teacher(DATA)
    views = DATA.views("none", cache=tmp_path)
    expected = predict(teacher.model, DATA.val, inputs=INPUTS, device=CPU)
    whole = CachedLogits(teacher, views, tmp_path / "a", classes=tiny_task.CLASSES)
    logits = whole.logits(batch_of(20), 0)
    teacher.model.register_forward_pre_hook(refuse_more_than(40))
    torch.testing.assert_close(
        predict(teacher.model, DATA.val, inputs=INPUTS, device=CPU), expected
    )
    parts = CachedLogits(teacher, views, tmp_path / "b", classes=tiny_task.CLASSES)
    torch.testing.assert_close(parts.logits(batch_of(20), 0), logits)
