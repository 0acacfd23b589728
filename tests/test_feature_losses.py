"""Losses on features: golden values, the papers' sums written out, laws, and gradients."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.feature_losses import (
    FEATURE_LOSSES,
    angles,
    attention,
    distances,
    relations,
    similarity,
    smaller,
)

MAPS_S = torch.arange(16, dtype=torch.float64).view(2, 2, 2, 2)
MAPS_T = MAPS_S.flip(3) + 1
POINTS_T = torch.tensor([[0, 0], [3, 4], [6, 0]], dtype=torch.float64)
POINTS_S = torch.tensor([[1, 0], [0, 2], [2, 2]], dtype=torch.float64)

seeds = st.integers(0, 2**32 - 1)


def draw(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return pair[0], pair[1]


@pytest.mark.parametrize(
    ("measured", "value"),
    [
        (attention(MAPS_S, MAPS_T), 0.01936354),
        (attention(MAPS_S, MAPS_T, mode="paper"), 0.25965503),
        (similarity(MAPS_S, MAPS_T), 0.00065766),
        (distances(POINTS_S, POINTS_T), 0.001971),
        (angles(POINTS_S, POINTS_T), 0.001900),
    ],
    ids=["attention", "attention as in the paper", "similarity", "distances", "angles"],
)
def test_a_loss_has_its_golden_value(measured, value):
    assert measured.item() == pytest.approx(value, abs=1e-6)


def huber(a: float, b: float) -> float:
    return 0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_relations_are_what_their_paper_defines(seed):
    student, teacher = draw(seed, 4, 3)
    everyone = range(4)

    def shares(points):
        apart = {(i, j): math.dist(points[i], points[j]) for i in everyone for j in everyone}
        mean = sum(apart.values()) / 12
        return {pair: distance / mean for pair, distance in apart.items()}

    def cosine(points, i, j, k):
        e, f = points[i] - points[j], points[k] - points[j]
        return float(e @ f / (e.norm() * f.norm())) if i != j != k else 0.0

    own, wanted = shares(student.tolist()), shares(teacher.tolist())
    d = sum(huber(own[pair], wanted[pair]) for pair in own) / 16
    triples = list(itertools.product(everyone, repeat=3))
    a = sum(huber(cosine(student, *t), cosine(teacher, *t)) for t in triples) / 64
    assert distances(student, teacher).item() == pytest.approx(d, rel=1e-5)
    assert angles(student, teacher).item() == pytest.approx(a, rel=1e-5)
    assert relations(student, teacher).item() == pytest.approx(25 * d + 50 * a, rel=1e-5)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_similarity_is_what_its_paper_defines(seed):
    student, teacher = draw(seed, 5, 2, 3, 3)
    total = 0.0
    for i in range(5):
        rows = []
        for maps in (student, teacher):
            row = torch.stack([(maps[i] * maps[j]).sum() for j in range(5)])
            rows.append(row / row.norm())
        total += float((rows[0] - rows[1]).pow(2).sum())
    assert similarity(student, teacher).item() == pytest.approx(total / 25, rel=1e-5)


@pytest.mark.parametrize("name", FEATURE_LOSSES)
@given(seed=seeds)
@settings(deadline=None, max_examples=20)
def test_a_loss_is_zero_for_the_same_features_and_never_below(name, seed):
    loss = FEATURE_LOSSES[name]
    student, teacher = draw(seed, 4, 3, 2, 2) if loss.of == "maps" else draw(seed, 4, 6)
    assert loss.function(teacher, teacher).item() == pytest.approx(0, abs=1e-9)
    assert loss.function(student, teacher).item() > 0


@given(seeds, st.floats(0.1, 10))
@settings(deadline=None, max_examples=20)
def test_relations_are_blind_to_turning_scaling_and_shifting_all_points(seed, scale):
    student, teacher = draw(seed, 5, 3)
    turn = torch.linalg.qr(draw(seed + 1 if seed < 2**32 - 1 else 0, 3, 3)[0]).Q
    moved = scale * student @ turn + 3
    assert relations(moved, teacher).item() == pytest.approx(
        relations(student, teacher).item(), rel=1e-6
    )


@given(seeds, st.floats(0.1, 10))
@settings(deadline=None, max_examples=20)
def test_attention_and_similarity_are_blind_to_scale(seed, scale):
    student, teacher = draw(seed, 4, 3, 2, 2)
    for loss in (attention, similarity):
        assert loss(scale * student, teacher).item() == pytest.approx(
            loss(student, teacher).item(), rel=1e-6
        )


def test_maps_of_two_sizes_are_averaged_down_to_the_smaller():
    small, large = torch.zeros(2, 3, 4, 4), torch.arange(128.0).view(2, 1, 8, 8)
    first, second = smaller(small, large)
    assert first is small
    assert second.shape == (2, 1, 4, 4)
    assert second[0, 0, 0, 0] == large[0, 0, :2, :2].mean()


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_a_loss_has_the_gradient_that_its_values_say(name):
    loss = FEATURE_LOSSES[name]
    student, teacher = draw(0, 3, 2, 2, 2) if loss.of == "maps" else draw(0, 3, 4)
    assert torch.autograd.gradcheck(
        lambda s: loss.function(s, teacher), (student.requires_grad_(),)
    )


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_equal_images_have_a_finite_gradient(name):
    """A batch of copies has no distances to divide by."""
    loss = FEATURE_LOSSES[name]
    shape = (3, 2, 2, 2) if loss.of == "maps" else (3, 4)
    student = torch.zeros(shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss.function(student, draw(0, *shape)[1].float()), student)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_half_precision_is_left_before_anything_is_computed(name):
    loss = FEATURE_LOSSES[name]
    shape = (4, 3, 2, 2) if loss.of == "maps" else (4, 6)
    student, teacher = (x.to(torch.bfloat16) for x in draw(0, *shape))
    exact = loss.function(student.double(), teacher.double())
    half = loss.function(student, teacher)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(exact.item(), rel=1e-4)
