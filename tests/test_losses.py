"""Losses: golden values, laws and closed-form gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from autokd.losses import LOSSES, NEED_THREE_CLASSES, cross_entropy, dist, dkd, kd

STUDENT = torch.tensor([[2.0, 1.0, 0.1], [0.5, 2.5, 0.0]])
TEACHER = torch.tensor([[3.0, 0.5, -1.0], [0.0, 3.0, 1.0]])
LABELS = torch.tensor([0, 1])

seeds = st.integers(0, 2**32 - 1)
temperatures = st.floats(0.5, 20)


def draw_logits(seed: int, spread: float = 3.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = spread * torch.randn(2, 5, 7, generator=generator)
    return student, teacher, torch.arange(5)


# Computed independently, in float64 and without torch: docs of the losses name the papers.
GOLDEN = [
    ("kd", {"temperature": 4.0}, 0.278130),
    ("dkd", {"temperature": 4.0, "alpha": 1.0, "beta": 0.0}, 0.195176),
    ("dkd", {"temperature": 4.0, "alpha": 0.0, "beta": 1.0}, 0.161716),
    ("dkd", {"temperature": 4.0, "alpha": 1.0, "beta": 8.0}, 1.488906),
    ("dist", {"temperature": 1.0, "beta": 1.0, "gamma": 1.0}, 0.680247),
    ("dist", {"temperature": 4.0, "beta": 2.0, "gamma": 2.0}, 22.758223),
    ("lskd", {"temperature": 2.0}, 0.033448),
]


@pytest.mark.parametrize(("name", "arguments", "value"), GOLDEN)
def test_a_loss_has_its_golden_value(name, arguments, value):
    measured = LOSSES[name](STUDENT.double(), TEACHER.double(), LABELS, **arguments)
    assert measured.item() == pytest.approx(value, abs=1e-6)


def test_kd_in_single_precision_has_its_golden_value():
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


def entropy_ratio(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of two rows by its sum."""
    return sum(p[i] * (p[i] / q[i]).log() for i in range(len(p)))


def written_out(name, student, teacher, labels, temperature):
    """Each loss with its defaults by its paper's definition: image after image, class after class."""
    z_s, z_t = student.double(), teacher.double()
    if name == "lskd":
        z_s, z_t = ((z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True) for z in (z_s, z_t))
    q, p = (F.softmax(z / temperature, dim=1) for z in (z_s, z_t))
    if name == "dist":
        rows = [torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(q, p, strict=True)]
        columns = [torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(q.T, p.T, strict=True)]
        inter, intra = (1 - torch.stack(each).mean() for each in (rows, columns))
        return temperature**2 * (inter + intra)
    total = 0.0
    for i, y in enumerate(labels.tolist()):
        if name == "dkd":
            others = [c for c in range(student.shape[1]) if c != y]
            b_t, b_s = (torch.stack([x[i, y], x[i, others].sum()]) for x in (p, q))
            rest_t, rest_s = (F.softmax(z[i, others] / temperature, dim=0) for z in (z_t, z_s))
            total += entropy_ratio(b_t, b_s) + 8.0 * entropy_ratio(rest_t, rest_s)
        else:
            total += entropy_ratio(p[i], q[i])
    return temperature**2 * total / len(labels)


@pytest.mark.parametrize("name", LOSSES)
@given(seed=seeds, temperature=temperatures)
@settings(deadline=None, max_examples=30)
def test_a_loss_is_what_its_paper_defines(name, seed, temperature):
    student, teacher, labels = draw_logits(seed)
    expected = written_out(name, student, teacher, labels, temperature)
    exact = LOSSES[name](student.double(), teacher.double(), labels, temperature=temperature)
    single = LOSSES[name](student, teacher, labels, temperature=temperature)
    assert exact.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-5)
    assert single.item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-3 * temperature**2)


@given(seeds, temperatures)
@settings(deadline=None)
def test_kd_is_its_two_parts_weighed_by_the_teachers_doubt(seed, temperature):
    """Zhao et al. (2022), equation 6: image by image, KD = TCKD + (1 - p_y of the teacher) NCKD."""
    student, teacher, labels = (
        x.double() if x.is_floating_point() else x for x in draw_logits(seed)
    )
    options = {"temperature": temperature, "reduction": "none"}
    target = dkd(student, teacher, labels, alpha=1.0, beta=0.0, **options)
    others = dkd(student, teacher, labels, alpha=0.0, beta=1.0, **options)
    doubt = 1 - F.softmax(teacher / temperature, dim=1)[torch.arange(5), labels]
    torch.testing.assert_close(
        target + doubt * others, kd(student, teacher, labels, **options), rtol=1e-6, atol=1e-9
    )


@given(seeds, st.floats(0.5, 3), st.floats(-5, 5))
@settings(deadline=None)
def test_standardised_logits_are_blind_to_the_teachers_scale_and_shift(seed, scale, shift):
    student, teacher, labels = (
        x.double() if x.is_floating_point() else x for x in draw_logits(seed)
    )
    plain = LOSSES["lskd"](student, teacher, labels, temperature=2.0)
    moved = LOSSES["lskd"](student, scale * teacher + shift, labels, temperature=2.0)
    assert moved.item() == pytest.approx(plain.item(), rel=1e-5, abs=1e-9)


@given(seeds)
@settings(deadline=None)
def test_dist_of_probabilities_that_rise_and_fall_together_is_zero(seed):
    """Correlation is blind to scale: a row of probabilities mixed with the uniform one has no distance from it."""
    _, teacher, labels = draw_logits(seed)
    p = F.softmax(teacher.double(), dim=1)
    student = (0.5 * p + 0.5 / p.shape[1]).log()
    assert dist(student, teacher, labels, temperature=1.0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NEED_THREE_CLASSES)
def test_two_classes_are_too_few_for_some(name):
    with pytest.raises(ValueError, match=f"^{name}: needs three classes or more, got 2$"):
        LOSSES[name](STUDENT[:, :2], TEACHER[:, :2], LABELS, temperature=1.0)


def test_soft_labels_have_no_target_class_to_decouple():
    with pytest.raises(ValueError, match=r"^dkd: needs one class number an image"):
        dkd(STUDENT, TEACHER, torch.eye(3)[LABELS], temperature=1.0)


@pytest.mark.parametrize("name", LOSSES)
def test_equal_logits_of_all_classes_have_a_gradient(name):
    """As a head that starts from zero has them: a standard deviation or a correlation has no derivative there."""
    student = torch.zeros(4, 5, requires_grad=True)
    teacher = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    loss = LOSSES[name](student, teacher, torch.arange(4), temperature=2.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@given(seed=seeds)
@settings(deadline=None, max_examples=20)
def test_a_mean_is_the_mean_of_one_value_an_image(name, seed):
    student, teacher, labels = draw_logits(seed)
    each = LOSSES[name](student, teacher, labels, temperature=2.0, reduction="none")
    assert each.shape == labels.shape
    torch.testing.assert_close(
        each.mean(), LOSSES[name](student, teacher, labels, temperature=2.0), rtol=1e-5, atol=1e-5
    )


@given(seeds, temperatures)
@settings(deadline=None)
def test_kd_of_equal_logits_is_zero_and_never_below(seed, temperature):
    student, teacher, labels = draw_logits(seed)
    assert kd(teacher, teacher, labels, temperature=temperature).item() == pytest.approx(
        0, abs=1e-5
    )
    assert kd(student, teacher, labels, temperature=temperature) >= 0


@pytest.mark.parametrize("name", LOSSES)
@given(seed=seeds, temperature=temperatures)
@settings(deadline=None)
def test_a_loss_of_equal_logits_is_zero_and_never_below(name, seed, temperature):
    student, teacher, labels = (
        x.double() if x.is_floating_point() else x for x in draw_logits(seed)
    )
    loss = LOSSES[name]
    same = loss(teacher, teacher, labels, temperature=temperature).item()
    assert same == pytest.approx(0, abs=1e-9 * max(1, temperature**2))
    assert loss(student, teacher, labels, temperature=temperature) >= 0


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


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_the_gradient_that_its_values_say(name):
    """gradcheck compares autograd with finite differences; float64 stays float64 for that."""
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    teacher = torch.randn(4, 5, dtype=torch.float64, generator=generator)
    labels = torch.tensor([0, 1, 2, 3])
    assert torch.autograd.gradcheck(
        lambda s: LOSSES[name](s, teacher, labels, temperature=3.0), (student,)
    )


def test_labels_may_be_shares_of_classes():
    mixed = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.6, 0.4]])
    expected = -(mixed * F.log_softmax(STUDENT, dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(cross_entropy(STUDENT, mixed), expected)
