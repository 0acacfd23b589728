"""What is drift, what is chance, and what is too few images to tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from autokd.data import MemoryImages, Split
from autokd.drift.accuracy import Accuracy, compare_accuracy, expected_accuracy
from autokd.drift.looks import measure_looks
from autokd.drift.seen import MOST_ANSWERS, Seen, see
from autokd.drift.shift import (
    ALPHA,
    CLASSES,
    LIMITS,
    compare,
    images_needed,
    pool_rare,
    stability_index,
)

MIX = torch.from_numpy(np.random.default_rng(3).standard_normal((64, 10)))


def seen_of(pixels: torch.Tensor) -> Seen:
    """As a student of random weights sees them: what matters here is that its answers follow from the images."""
    none = torch.zeros(len(pixels), dtype=torch.long)
    split = Split(images=MemoryImages(pixels), labels=none, rows=none, metadata=None)
    return see(split, (pixels.double().flatten(1) / 255 - 0.3) @ MIX)


@pytest.fixture(scope="module")
def pixels():
    digits = load_digits()
    return torch.from_numpy((digits.images * 15).astype(np.uint8)).unsqueeze(1)


@pytest.fixture(scope="module")
def halves(pixels):
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    return pixels[order[::2]], pixels[order[1::2]]


def states(then: Seen, now: Seen) -> dict[str, str]:
    return {shift.name: shift.state for shift in compare(then, now)}


def test_the_same_images_have_not_drifted(halves):
    shifts = compare(seen_of(halves[0]), seen_of(halves[0]))
    assert {shift.state for shift in shifts} == {"same"}
    assert all(shift.effect == 0 for shift in shifts if shift.measure != "AUC")


def test_other_images_of_the_same_kind_have_not_drifted(halves):
    assert set(states(*map(seen_of, halves)).values()) == {"same"}


def test_the_order_of_the_images_changes_nothing(halves):
    old, new = halves
    order = torch.randperm(len(new), generator=torch.Generator().manual_seed(1))
    assert compare(seen_of(old), seen_of(new)) == compare(seen_of(old), seen_of(new[order]))
    assert compare(seen_of(old), seen_of(new)) == compare(
        seen_of(old[torch.arange(len(old)).flip(0)]), seen_of(new)
    )


@pytest.mark.parametrize(
    ("change", "drifted", "not_drifted"),
    [
        (lambda x: 255 - x, {"brightness", "all together"}, {"contrast", "sharpness"}),
        (lambda x: x // 3, {"brightness", "contrast", "sharpness", "all together"}, set()),
        (lambda x: x.flip(-1), {"all together"}, {"brightness", "contrast", "sharpness"}),
    ],
    ids=["inverted", "dark", "mirrored"],
)
def test_changed_images_are_found_by_the_figures_that_change(halves, change, drifted, not_drifted):
    old, new = halves
    found = states(seen_of(old), seen_of(change(new)))
    assert {name for name in drifted if found[name] == "drifted"} == drifted
    assert {name for name in not_drifted if found[name] == "same"} == not_drifted


def test_another_mixture_of_classes_is_found_in_the_answers(halves):
    old, new = seen_of(halves[0]), seen_of(halves[1])
    answers = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 90))
    even = np.bincount(answers, minlength=10)
    uneven = np.bincount(np.concatenate([answers[:400], np.zeros(500, int)]), minlength=10)

    def with_classes(seen: Seen, chosen) -> Seen:
        return Seen(columns=seen.columns, answers=seen.answers, chosen=chosen)

    assert states(with_classes(old, even), with_classes(new, even))[CLASSES] == "same"
    assert states(with_classes(old, even), with_classes(new, uneven))[CLASSES] == "drifted"


def test_few_images_are_undecided_with_a_number_that_would_decide(halves):
    old, new = halves
    shifts = compare(seen_of(old), seen_of(new[:30]))
    assert {shift.state for shift in shifts} == {"undecided"}
    needed = max(shift.needed for shift in shifts)
    assert 30 < needed < 400
    assert set(states(seen_of(old), seen_of(new[:needed])).values()) == {"same"}


def test_few_images_that_differ_much_are_not_undecided(halves):
    old, new = halves
    assert states(seen_of(old), seen_of(255 - new[:30]))["brightness"] == "drifted"


def test_a_reference_of_few_images_decides_nothing_and_says_that_no_number_would(halves):
    old, new = halves
    shifts = {shift.name: shift for shift in compare(seen_of(old[:40]), seen_of(new))}
    assert shifts["brightness"].state == "undecided"
    assert shifts["brightness"].needed is None


def test_a_difference_too_small_to_matter_is_no_drift_however_many_images_there_are():
    rng = np.random.default_rng(0)

    def seen(mean: float) -> Seen:
        values = rng.normal(mean, 1, 20_000)
        return Seen(
            columns={"brightness": values},
            answers=rng.normal(0, 1, (20_000, 2)),
            chosen=np.array([10_000, 10_000]),
        )

    (shift, *_) = compare(seen(0), seen(0.1))
    assert shift.corrected_p < 1e-6
    assert shift.state == "same"


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_is_said(pixels):
    """100 times two halves of one set: an alarm of any figure in ALPHA of them at most. P(more than 11 | 5 %) is 0.4 %."""
    alarms, generator = 0, torch.Generator().manual_seed(0)
    for _ in range(100):
        order = torch.randperm(len(pixels), generator=generator)[:800]
        found = states(seen_of(pixels[order[:400]]), seen_of(pixels[order[400:]]))
        alarms += bool({"drifted", "shifted"} & set(found.values()))
    assert alarms <= 11
    assert ALPHA == 0.05


@pytest.mark.slow
@pytest.mark.parametrize("move", [0.5])
def test_a_large_change_is_found_with_the_images_that_are_said_to_be_needed(move):
    """A normal distribution moved by half its standard deviation, as PSI 0.25: the power said is 0.8."""
    rng, found, times = np.random.default_rng(0), 0, 100

    def seen(mean: float, n: int) -> Seen:
        return Seen(
            columns={"brightness": rng.normal(mean, 1, n)},
            answers=rng.normal(0, 1, (n, 1)),
            chosen=np.array([n // 2, n - n // 2]),
        )

    needed = compare(seen(0, 500), seen(0, 500))[0].needed
    for _ in range(times):
        shift = compare(seen(0, 500), seen(move, needed))[0]
        found += shift.corrected_p < ALPHA
    assert found >= 70  # P(fewer | 0.8) is 0.6 %


def test_limits_of_all_effects_are_those_of_one_move():
    assert LIMITS["PSI"] == (0.1, 0.25)
    assert LIMITS["D"] == pytest.approx((0.1256, 0.1974), abs=1e-4)
    assert LIMITS["AUC"] == pytest.approx((0.5885, 0.6382), abs=1e-4)


counts = st.lists(st.integers(0, 60), min_size=2, max_size=12)


@given(old=counts, new=counts)
def test_rare_classes_are_one_and_nobody_is_lost(old, new):
    width = min(len(old), len(new))
    table = np.array([old[:width], new[:width]])
    pooled = pool_rare(table)
    assert pooled.sum(axis=1).tolist() == table.sum(axis=1).tolist()
    assert pooled.shape[1] <= width


@given(old=counts)
def test_the_stability_index_is_nothing_of_equal_shares_and_grows_with_a_difference(old):
    table = np.array([old, old])
    assert stability_index(table) == 0
    far = np.array([[90, 10], [10, 90]])
    assert stability_index(far) > stability_index(np.array([[60, 40], [40, 60]])) > 0
    assert stability_index(far) == pytest.approx(2 * 0.8 * np.log(9), rel=0.05)


@given(enough=st.floats(1, 500), kept=st.integers(1, 5000))
def test_so_many_new_images_are_worth_enough(enough, kept):
    needed = images_needed(enough, kept)
    if needed is None:
        assert kept <= enough
    else:
        assert needed * kept / (needed + kept) >= enough * (1 - 1e-9)


@given(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
)
@settings(deadline=None)
def test_a_loss_lies_in_its_interval_and_kept_rules_the_margin_out(then, now):
    change = compare_accuracy(
        Accuracy(split="val", correct=then[0], images=then[1]),
        Accuracy(split="new", correct=now[0], images=now[1]),
        margin=0.05,
    )
    low, high = change.interval
    assert low - 1e-9 <= change.loss <= high + 1e-9
    assert (change.state == "kept") == (high < 0.05)
    assert change.state != "fell" or (low > 0 and change.loss >= 0.05)


@pytest.mark.parametrize(
    ("now", "state"),
    [((960, 1000), "kept"), ((800, 1000), "fell"), ((938, 1000), "slipped"), ((19, 20), "undecided")],
)  # fmt: skip
def test_accuracy_is_kept_fell_slipped_or_is_undecided(now, state):
    then = Accuracy(split="test", correct=960, images=1000)
    change = compare_accuracy(
        then, Accuracy(split="new", correct=now[0], images=now[1]), margin=0.03
    )
    assert change.state == state


def test_as_many_images_as_are_needed_decide_that_accuracy_is_kept():
    then = Accuracy(split="val", correct=950, images=1000)
    few = compare_accuracy(then, Accuracy(split="new", correct=38, images=40), margin=0.05)
    assert few.state == "undecided"
    n = few.needed
    many = Accuracy(split="new", correct=round(0.95 * n * 1.2), images=round(n * 1.2))
    assert compare_accuracy(then, many, margin=0.05).state == "kept"


def test_an_export_of_few_images_is_not_decided_by_any_number():
    then = Accuracy(split="val", correct=15, images=20)
    assert compare_accuracy(then, Accuracy(split="new", correct=15, images=20), margin=0.05).needed is None  # fmt: skip


def test_less_confidence_lets_less_accuracy_be_expected(halves):
    seen = seen_of(halves[0])
    accuracy = Accuracy(split="val", correct=90, images=100)
    assert expected_accuracy(seen, seen, accuracy) == pytest.approx(0.9, abs=0.01)
    unsure = Seen(
        columns=seen.columns | {"confidence": seen.columns["confidence"] * 0.7},
        answers=seen.answers,
        chosen=seen.chosen,
    )
    assert expected_accuracy(seen, unsure, accuracy) < 0.8


def test_looks_of_plain_images_are_what_they_look_like():
    black, white = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 255)
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 255
    looks = measure_looks(torch.cat([black, white, red]).to(torch.uint8))
    assert looks["brightness"].tolist() == pytest.approx([0, 1, 0.299])
    assert looks["saturation"].tolist() == pytest.approx([0, 0, 1])
    assert looks["red"].tolist() == pytest.approx([0, 1, 1])
    for name in ("contrast", "sharpness"):
        assert looks[name].tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    board = (torch.arange(16).view(1, 1, 4, 4) + torch.arange(4).view(1, 1, 4, 1)) % 2 * 255
    assert measure_looks(board.to(torch.uint8))["sharpness"].item() == 1


def test_an_image_of_one_pixel_has_no_sharpness():
    looks = measure_looks(torch.full((2, 1, 1, 1), 7, dtype=torch.uint8))
    assert looks["sharpness"].tolist() == [0, 0]


def test_of_many_classes_few_numbers_are_kept(halves):
    pixels = halves[0][:50]
    none = torch.zeros(50, dtype=torch.long)
    split = Split(images=MemoryImages(pixels), labels=none, rows=none, metadata=None)
    seen = see(split, torch.randn(50, 300, generator=torch.Generator().manual_seed(0)))
    assert seen.answers.shape == (50, MOST_ANSWERS)
    assert seen.images == 50
    assert len(seen.sample(20)) == 20


def test_what_was_seen_comes_back_from_its_record(halves):
    seen = seen_of(halves[0])
    again = Seen.from_dict(seen.to_dict())
    assert compare(seen, again) == compare(seen, seen)
    assert np.array_equal(again.features, seen.features)
