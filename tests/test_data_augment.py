"""Augmentations: pure functions of image, name, flip, seed, sample and view."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from autokd.data import AUGMENTATIONS, augment
from autokd.errors import ConfigError

torch.set_num_threads(1)


def make_image(channels=3, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, side, side), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("side", [8, 28, 224])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_keeps_shape_and_type(name, channels, side):
    image = make_image(channels, side)
    for view in range(3):
        out = augment(image, name, flip=True, seed=1, sample=2, view=view)
        assert (out.shape, out.dtype) == (image.shape, torch.uint8)
        assert out.is_contiguous()


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(sorted(AUGMENTATIONS)),
    seed=st.integers(0, 2**40),
    sample=st.integers(0, 10**7),
    noise=st.integers(0, 999),
)
def test_the_result_depends_on_the_arguments_alone_and_no_generator_moves(
    name, seed, sample, noise
):
    image = make_image()
    torch.manual_seed(noise)
    random.seed(noise)
    np.random.seed(noise)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first = augment(image, name, flip=True, seed=seed, sample=sample, view=0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])
    torch.rand(5)
    assert torch.equal(first, augment(image, name, flip=True, seed=seed, sample=sample, view=0))


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
@pytest.mark.parametrize("change", [{"seed": 1}, {"sample": 1}, {"view": 1}])
def test_another_seed_sample_or_view_gives_other_pixels(name, change):
    base = {"seed": 0, "sample": 0, "view": 0}
    pairs = [
        (
            augment(make_image(seed=i), name, flip=True, **base),
            augment(make_image(seed=i), name, flip=True, **(base | change)),
        )
        for i in range(4)
    ]
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_none_is_the_identity():
    image = make_image()
    assert torch.equal(augment(image, "none", flip=True, seed=0, sample=0, view=0), image)


def test_augmenting_leaves_the_given_image_as_it_was():
    image = make_image()
    copy = image.clone()
    for name in AUGMENTATIONS:
        for sample in range(8):
            augment(image, name, flip=True, seed=0, sample=sample, view=0)
    assert torch.equal(image, copy)


@pytest.mark.parametrize("side", [8, 13, 28])
def test_light_is_a_crop_of_the_image_with_reflected_borders(side):
    image = make_image(3, side)
    padding = max(1, side // 8)
    padded = v2.functional.pad_image(image, [padding], padding_mode="reflect")
    moves = range(2 * padding + 1)
    crops = {padded[:, y:, x:][:, :side, :side].numpy().tobytes() for y in moves for x in moves}
    seen = {
        augment(image, "light", flip=False, seed=0, sample=i, view=0).numpy().tobytes()
        for i in range(40 * len(crops))
    }
    assert seen == crops


def test_without_flip_light_only_moves_the_image():
    """Each column of a horizontal ramp stays left of the next: nothing is mirrored."""
    ramp = torch.arange(0, 160, 10, dtype=torch.uint8).expand(1, 16, 16).contiguous()
    for sample in range(40):
        out = augment(ramp, "light", flip=False, seed=0, sample=sample, view=0).int()
        assert (out[0, 8, 2:14].diff() == 10).all()


def test_with_flip_light_mirrors_about_half_the_images():
    ramp = torch.arange(0, 160, 10, dtype=torch.uint8).expand(1, 16, 16).contiguous()
    views = [augment(ramp, "light", flip=True, seed=0, sample=i, view=0).int() for i in range(400)]
    mirrored = sum(bool(view[0, 8, 8] < view[0, 8, 7]) for view in views)
    assert 150 < mirrored < 250


def test_an_unknown_augmentation_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"known augmentations: none, .*Did you mean 'strong'\?"):
        augment(make_image(), "stronk", flip=True, seed=0, sample=0, view=0)
