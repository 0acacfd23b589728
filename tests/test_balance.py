"""Labels against teachers over a training: shares by time, and gradients of equal length."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_task
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_task import CPU, make_data, stage

from autokd.balance import BALANCES, MOST, GradientBalance, teacher_share
from autokd.data import Batch
from autokd.distill import train_stage
from autokd.errors import ConfigError
from autokd.losses import cross_entropy, kd
from autokd.students import InputFormat
from autokd.teachers import build_student

DATA = make_data()
INPUTS = InputFormat(image_size=8, mean=DATA.mean, std=DATA.std)
shares = st.floats(0, 1)


@given(st.sampled_from(BALANCES), shares, st.floats(0.1, 1), shares)
@settings(deadline=None)
def test_a_share_lies_between_none_and_all_and_ends_where_it_is_to(
    balance, warmup, until, progress
):
    wanted = stage(balance=balance, teacher_warmup=warmup, teacher_until=until)
    share = teacher_share(wanted, progress)
    assert 0 <= share <= 1
    assert share == 0 or progress < until


def test_a_teacher_counts_in_full_where_nothing_else_is_said():
    assert [teacher_share(stage(), progress) for progress in (0.0, 0.5, 0.999)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"balance": "linear"}, [1, 0.75, 0.5, 0.25]),
        ({"balance": "cosine"}, [1, 0.853553, 0.5, 0.146447]),
        ({"teacher_warmup": 0.5}, [0, 0.5, 1, 1]),
        ({"teacher_until": 0.5}, [1, 1, 0, 0]),
        ({"balance": "linear", "teacher_until": 0.5}, [1, 0.5, 0, 0]),
        ({"balance": "linear", "teacher_warmup": 0.5}, [0, 0.375, 0.5, 0.25]),
    ],
)
def test_shares_over_a_training_are_what_they_are_by_hand(changes, expected):
    measured = [teacher_share(stage(**changes), progress) for progress in (0, 0.25, 0.5, 0.75)]
    assert measured == pytest.approx(expected, abs=1e-6)


def test_a_gradient_balance_makes_both_gradients_as_long():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 4, generator=generator, requires_grad=True)
    labels, teacher = torch.arange(8) % 4, 5 * torch.randn(8, 4, generator=generator)
    balance = GradientBalance(CPU)
    own = cross_entropy(logits, labels)
    taught = 7.0 * kd(logits, teacher, labels, temperature=2.0)
    even = balance(own, taught, logits)
    lengths = [
        torch.autograd.grad(loss, logits, retain_graph=True)[0].norm()
        for loss in (own, even * taught)
    ]
    torch.testing.assert_close(lengths[0], lengths[1])
    assert not even.requires_grad


def test_a_gradient_balance_has_its_limits_and_a_memory():
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    own, taught = cross_entropy(logits, torch.arange(8) % 4), 1e-9 * logits.pow(2).sum()
    balance = GradientBalance(CPU)
    assert balance(own, taught, logits).item() == MOST
    again = GradientBalance(CPU)
    again.load_state_dict(balance.state_dict())
    assert torch.equal(again.lengths, balance.lengths)
    balance(3 * own, taught, logits)  # one step moves it by a tenth
    torch.testing.assert_close(balance.lengths[0], 1.2 * again.lengths[0])


class Counting:
    """A teacher that knows the labels and counts how often it is asked."""

    def __init__(self) -> None:
        self.views: list[int] = []

    def logits(self, batch: Batch, view: int):
        self.views.append(view)
        return 8.0 * torch.nn.functional.one_hot(batch.labels, tiny_task.CLASSES).float()


def train(wanted, folder, teacher, **options):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    student = build_student(tiny_task.SMALL, DATA)
    epochs = train_stage(
        wanted, student, [teacher], inputs=INPUTS, views=DATA.views("none", cache=folder),
        val=DATA.val, seed=0, device=CPU, folder=folder, **options,
    )  # fmt: skip
    return list(epochs), student


@pytest.mark.parametrize("balance", BALANCES)
def test_a_student_learns_with_every_balance_and_pauses_without_a_trace(tmp_path, balance):
    wanted = stage(balance=balance, epochs=4)
    straight, student = train(wanted, tmp_path / "straight", Counting())
    assert max(epoch.val_accuracy for epoch in straight) > 0.6  # chance: 0.25
    first, _ = train(wanted, tmp_path / "paused", Counting(), until=2)
    rest, same = train(wanted, tmp_path / "paused", Counting(), resume=True)
    assert [replace(e, seconds=0) for e in straight] == [
        replace(e, seconds=0) for e in (*first, *rest)
    ]
    for key, value in student.state_dict().items():
        assert torch.equal(same.state_dict()[key], value), key


def test_a_teacher_is_not_asked_any_more_when_it_does_not_count(tmp_path):
    teacher = Counting()
    epochs, _ = train(stage(teacher_until=0.5, epochs=4), tmp_path, teacher)
    assert len(epochs) == 4
    assert len(teacher.views) == 2 * 4  # batches of the first two epochs


def test_a_teacher_may_come_in_slowly_where_there_are_no_labels(tmp_path):
    """At the very first step nothing counts; that is a step of length 0 and no mistake."""
    wanted = stage(teacher_warmup=0.5, loss_weights={"kd": 1.0}, epochs=6)
    epochs, _ = train(wanted, tmp_path, Counting())
    assert max(epoch.val_accuracy for epoch in epochs) > 0.6


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (stage(balance="liner"), "student: unknown balance 'liner'; known: fixed, linear"),
        (stage(loss_weights={"kdd": 1.0}), "unknown loss 'kdd'; known: ce, mfd, kd, dkd"),
        (
            stage(loss_weights={"kd": 1.0}, teacher_until=0.5),
            "teacher_until 0.5 leaves nothing to learn from",
        ),
        (stage(mixup=0.2, loss_weights={"ce": 1.0, "dkd": 1.0}), "dkd needs one label an image"),
        (stage(mixup=0.2, mitigation="group_dro"), "mixed images have no one group"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(tmp_path, wanted, message):
    with pytest.raises(ConfigError, match=message):
        train(wanted, tmp_path, Counting())
