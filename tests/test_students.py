"""Students: families at both ends of their ranges, timm's models by name, and the pixels that models see."""

from __future__ import annotations

import pytest
import timm
import torch
from family_members import build, member
from hypothesis import given, settings
from hypothesis import strategies as st

from autokd.errors import ConfigError
from autokd.records import StudentSpec
from autokd.students import FAMILIES, InputFormat, create_student, expand_model_names


def logits_of(model, *, size: int, channels: int = 3):
    with torch.inference_mode():
        return model.eval()(torch.randn(2, channels, size, size))


@pytest.mark.parametrize("end", [0, -1], ids=["smallest", "largest"])
@pytest.mark.parametrize("family", FAMILIES)
def test_both_ends_of_every_family_give_logits(family, end):
    logits = logits_of(build(member(family, end=end)), size=32)
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


@pytest.mark.parametrize("stages", [3, 4])
@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_a_resnet_of_three_or_four_stages_takes_small_grey_images(stages, stem_stride):
    arguments = {"width": 8, "depth": 1, "stages": stages, "stem_stride": stem_stride}
    spec = StudentSpec(model="resnet", arguments=arguments, image_size=8)
    model = create_student(spec, classes=10, channels=1)
    assert logits_of(model, size=8, channels=1).shape == (2, 10)


def test_a_resnet_of_three_stages_has_no_weights_of_a_fourth():
    arguments = {"width": 8, "depth": 1, "stages": 3, "stem_stride": 1}
    model = create_student(
        StudentSpec(model="resnet", arguments=arguments, image_size=32), classes=10, channels=3
    )
    assert not [name for name, _ in model.named_parameters() if name.startswith("layer4")]
    assert model.get_classifier().in_features == 32


@pytest.mark.parametrize("model", ["test_resnet", "test_convnext", "test_vit"])
def test_a_timm_model_of_either_kind_takes_the_image_size_and_channels_of_the_data(model):
    spec = StudentSpec(model=model, image_size=32)
    built = create_student(spec, classes=5, channels=1)
    assert logits_of(built, size=32, channels=1).shape == (2, 5)


def test_a_timm_models_keywords_are_the_specs_arguments():
    spec = StudentSpec(model="test_vit", arguments={"depth": 1}, image_size=32)
    assert len(create_student(spec, classes=5, channels=3).blocks) == 1


def test_dropout_is_built_in_when_it_is_asked_for():
    arguments = {"width": 8, "depth": 1, "stages": 3, "stem_stride": 1}
    spec = StudentSpec(model="resnet", arguments=arguments, image_size=32)
    assert create_student(spec, classes=5, channels=3, drop_rate=0.3).drop_rate == 0.3


RESNET = {"width": 8, "depth": 1, "stages": 3, "stem_stride": 1}


@pytest.mark.parametrize(
    ("model", "arguments", "problem"),
    [
        ("test_resnet", {"width": 3}, "unexpected keyword argument 'width'"),
        ("resnet", {"width": 8}, "missing 3 required keyword-only arguments"),
        ("resnet", RESNET | {"colour": 1}, "unexpected keyword argument 'colour'"),
        ("resnet", RESNET | {"stages": 5}, "stages must be one of 3, 4, got 5"),
        ("resnet", RESNET | {"stem_stride": 3}, "stem_stride must be one of 1, 2, 4, got 3"),
        ("resnet", RESNET | {"width": "wide"}, "unsupported operand"),
        (
            "mobilenetv3",
            {"variant": "tiny", "width": 1.0, "depth": 1.0, "stem_stride": 1},
            "variant must be one of small, large, got tiny",
        ),
        ("no_such_model", {}, "Unknown model"),
        ("resnett", {}, "Unknown model (resnett) Did you mean 'resnet'?"),
    ],
)
def test_a_model_that_does_not_take_its_arguments_is_refused_in_one_line(model, arguments, problem):
    spec = StudentSpec(model=model, arguments=arguments, image_size=32)
    with pytest.raises(
        ConfigError, match=rf"^model '{model}' can't be made with .*at 32 px: "
    ) as no:
        create_student(spec, classes=5, channels=3)
    assert problem in str(no.value)
    assert f"Did you mean '{model}'" not in str(no.value)
    assert "\n" not in str(no.value)


def test_wildcards_become_all_that_they_match_in_order_and_without_repeats():
    names = expand_model_names(["resnet", "test_vit*", "test_vit", "resnet"])
    assert names[:2] == ("resnet", "test_vit")
    assert len(names) == len(set(names)) > 3
    assert all(name.startswith("test_vit") for name in names[1:])


def test_a_wildcard_that_matches_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"^no timm model matches 'resnext_mini_\*'"):
        expand_model_names(["resnext_mini_*"])


def test_an_unknown_model_is_answered_by_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown model 'resnett'.*Did you mean 'resnet'\?"):
        expand_model_names(["resnett"])


pixels = torch.randint(
    0, 256, (2, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.lists(st.floats(0.05, 1), min_size=3, max_size=3),
)
@settings(deadline=None, max_examples=30)
def test_prepared_pixels_are_shares_of_255_less_mean_over_std(mean, std):
    prepared = InputFormat(image_size=6, mean=tuple(mean), std=tuple(std)).prepare(pixels)
    shift, scale = (torch.tensor(x, dtype=torch.float64).view(1, 3, 1, 1) for x in (mean, std))
    expected = (pixels.double() / 255 - shift) / scale
    assert prepared.dtype == torch.float32
    torch.testing.assert_close(prepared.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [4, 6, 12])
def test_prepared_pixels_have_the_models_size_and_channels_last(size):
    prepared = InputFormat(image_size=size, mean=(0.5,) * 3, std=(0.25,) * 3).prepare(pixels)
    assert prepared.shape == (2, 3, size, size)
    assert prepared.is_contiguous(memory_format=torch.channels_last)


def test_resizing_a_flat_picture_keeps_its_value():
    flat = torch.full((1, 1, 8, 8), 51, dtype=torch.uint8)
    prepared = InputFormat(image_size=5, mean=(0.0,), std=(1.0,)).prepare(flat)
    torch.testing.assert_close(prepared, torch.full((1, 1, 5, 5), 0.2))


def test_every_pixel_counts_when_a_picture_is_made_smaller():
    picture = torch.zeros((1, 1, 16, 16), dtype=torch.uint8)
    picture[0, 0, 0, 0] = 255
    prepared = InputFormat(image_size=4, mean=(0.0,), std=(1.0,)).prepare(picture)
    assert prepared[0, 0, 0, 0] > 0


def test_preparing_leaves_the_stored_pixels_as_they_are():
    before = pixels.clone()
    InputFormat(image_size=6, mean=(0.5,) * 3, std=(0.5,) * 3).prepare(pixels)
    assert torch.equal(pixels, before)


def test_a_dropout_that_timm_has_by_default_is_not_there_unless_it_is_asked_for():
    spec = StudentSpec(model="ghostnet_050", image_size=32)
    assert timm.create_model("ghostnet_050").drop_rate == 0.2
    assert create_student(spec, classes=4, channels=3).drop_rate == 0
    assert create_student(spec, classes=4, channels=3, drop_rate=0.3).drop_rate == 0.3
