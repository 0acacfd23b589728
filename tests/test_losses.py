"""Losses: golden values, laws and closed-form gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from autokd.losses import LOSSES, cross_entropy, kd

STUDENT = torch.tensor([[2.0, 1.0, 0.1], [0.5, 2.5, 0.0]])
TEACHER = torch.tensor([[3.0, 0.5, -1.0], [0.0, 3.0, 1.0]])
LABELS = torch.tensor([0, 1])

seeds = st.integers(0, 2**32 - 1)
temperatures = st.floats(0.5, 20)


def draw_logits(seed: int, spread: float = 3.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = spread * torch.randn(2, 5, 7, generator=generator)
    return student, teacher, torch.arange(5)


def test_kd_has_its_golden_value():
    # Computed independently, in float64: docs of the losses name the paper.
    assert kd(STUDENT, TEACHER, LABELS, temperature=4.0).item() == pytest.approx(0.278130, abs=1e-6)


@given(seeds, temperatures)
@settings(deadline=None)
def test_kd_is_the_textbook_sum(seed, temperature):
    student, teacher, labels = draw_logits(seed)
    p = F.softmax(teacher.double() / temperature, dim=-1)
    q = F.softmax(student.double() / temperature, dim=-1)
    expected = temperature**2 * (p * (p / q).log()).sum(dim=-1).mean()
    measured = kd(student, teacher, labels, temperature=temperature)
    assert measured.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-4)


@given(seeds, temperatures)
@settings(deadline=None)
def test_kd_of_equal_logits_is_zero_and_never_below(seed, temperature):
    student, teacher, labels = draw_logits(seed)
    assert kd(teacher, teacher, labels, temperature=temperature).item() == pytest.approx(
        0, abs=1e-5
    )
    assert kd(student, teacher, labels, temperature=temperature) >= 0


@given(seeds, temperatures, st.floats(-50, 50), st.floats(-50, 50))
@settings(deadline=None)
def test_kd_is_blind_to_a_shift_of_all_logits_of_an_image(seed, temperature, shift_s, shift_t):
    student, teacher, labels = draw_logits(seed)
    plain = kd(student, teacher, labels, temperature=temperature)
    shifted = kd(student + shift_s, teacher + shift_t, labels, temperature=temperature)
    assert shifted.item() == pytest.approx(plain.item(), rel=1e-3, abs=1e-3)


@given(seeds, temperatures)
@settings(deadline=None)
def test_kd_gradient_is_the_difference_of_softened_probabilities(seed, temperature):
    student, teacher, labels = draw_logits(seed)
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(
        kd(student, teacher, labels, temperature=temperature), student
    )
    q = F.softmax(student.detach().double() / temperature, dim=-1)
    p = F.softmax(teacher.double() / temperature, dim=-1)
    closed_form = temperature * (q - p) / len(student)
    torch.testing.assert_close(gradient.double(), closed_form, rtol=1e-4, atol=1e-5)


def test_kd_gradient_tends_to_the_logit_difference_at_high_temperature():
    student, teacher, labels = draw_logits(0, spread=1.0)
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(kd(student, teacher, labels, temperature=300.0), student)
    centred = [x.detach() - x.detach().mean(dim=-1, keepdim=True) for x in (student, teacher)]
    limit = (centred[0] - centred[1]) / student.numel()  # Hinton et al. 2015, equation 4, times T^2
    torch.testing.assert_close(gradient, limit, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_loss_stays_finite_for_very_confident_logits(loss, dtype):
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype=dtype, requires_grad=True)
    value = LOSSES[loss](student, TEACHER.to(dtype) * 1e4, LABELS, temperature=1.0)
    (gradient,) = torch.autograd.grad(value, student)
    assert value.dtype == torch.float32
    assert math.isfinite(value.item())
    assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_a_mean_over_the_batch(loss):
    once = LOSSES[loss](STUDENT, TEACHER, LABELS, temperature=2.0)
    twice = [torch.cat([x, x]) for x in (STUDENT, TEACHER, LABELS)]
    torch.testing.assert_close(LOSSES[loss](*twice, temperature=2.0), once)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_blind_to_the_order_of_classes(loss):
    order = torch.tensor([2, 0, 1])
    turned = LOSSES[loss](
        STUDENT[:, order], TEACHER[:, order], order.argsort()[LABELS], temperature=3.0
    )
    torch.testing.assert_close(turned, LOSSES[loss](STUDENT, TEACHER, LABELS, temperature=3.0))


def test_cross_entropy_of_uniform_logits_is_the_log_of_the_number_of_classes():
    assert cross_entropy(torch.zeros(4, 10), torch.arange(4)).item() == pytest.approx(math.log(10))


def test_label_smoothing_raises_the_loss_of_a_confident_right_answer():
    logits = torch.tensor([[10.0, 0.0, 0.0]])
    label = torch.tensor([0])
    smoothed = cross_entropy(logits, label, label_smoothing=0.1)
    assert smoothed > cross_entropy(logits, label)
    assert smoothed.item() == pytest.approx(0.1 * 20 / 3, abs=1e-3)


def test_kd_has_the_gradient_that_its_values_say():
    """gradcheck compares autograd with finite differences; float64 stays float64 for that."""
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    teacher = torch.randn(4, 5, dtype=torch.float64, generator=generator)
    labels = torch.tensor([0, 1, 2, 3])
    assert torch.autograd.gradcheck(lambda s: kd(s, teacher, labels, temperature=3.0), (student,))
