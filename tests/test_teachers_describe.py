"""Teachers as stages: what they are kept under, and what they are shown."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from tiny_task import LARGE, make_data
from torch.nn import functional as F

from autokd.config import TeacherConfig
from autokd.records import content_hash
from autokd.students import InputFormat
from autokd.teachers.describe import describe_teacher, shown_to, training_key

DATA = make_data()


@pytest.mark.parametrize(
    ("train", "pixels", "key"),
    [
        ({}, {}, "c0ce99c4df89a8b0"),
        ({"epochs": 20}, {}, "c0ce99c4df89a8b0"),
        ({}, {"mean": (0.5,), "std": (0.25,)}, "3be4791b279360ab"),
        (
            {"epochs": 1, "augmentation": "none", "learning_rate": 1e-2},
            {},
            "b7ff0b348453134b",
        ),
    ],
)
def test_teachers_trained_by_earlier_versions_are_found_under_their_keys(train, pixels, key):
    config = TeacherConfig(model="resnet", arguments=dict(LARGE.arguments), train=train, **pixels)
    stage = describe_teacher(config, DATA)
    assert training_key(stage, shown_to(config, stage.student, DATA), DATA, 7) == key


def test_what_earlier_versions_kept_for_an_input_format_is_found_again():
    usual = InputFormat(image_size=8, mean=(0.5,), std=(0.25,))
    before = {"image_size": 8, "mean": (0.5,), "std": (0.25,)}
    assert content_hash(usual.identity()) == content_hash(before)
    bicubic = InputFormat(image_size=8, mean=(0.5,), std=(0.25,), interpolation="bicubic")
    assert bicubic.identity() == asdict(bicubic)


def test_pixels_are_resized_by_the_interpolation_of_the_format():
    pixels = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    inputs = InputFormat(image_size=16, mean=(0.0,), std=(1 / 255,), interpolation="bicubic")
    expected = F.interpolate(pixels.float(), size=(16, 16), mode="bicubic", antialias=True)
    torch.testing.assert_close(inputs.prepare(pixels), expected)
