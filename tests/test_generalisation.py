"""Corruptions and attributions: deterministic, ordered by severity, and told apart from what chance gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_task import CPU, LARGE, SMALL, labels_alone, make_data, make_split
from torch import nn

from autokd.data import MemoryImages, Split
from autokd.data.corrupt import CORRUPTIONS, SEVERITIES, corrupt, strength_of
from autokd.distill import train_stage
from autokd.errors import ConfigError
from autokd.generalisation import attribution_agreement, corruption_robustness, endure
from autokd.students import InputFormat
from autokd.teachers import build_student

pytestmark = pytest.mark.slow

torch.set_num_threads(1)

INPUTS = InputFormat(image_size=8, mean=(0.25,), std=(0.15,))
OTHER_INPUTS = InputFormat(image_size=12, mean=(0.5,), std=(0.5,))


def photographs(count: int = 6, *, channels: int = 3, side: int = 28) -> torch.Tensor:
    """Smooth pictures with some of everything."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return smooth.clamp(0, 1).mul(255).to(torch.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small and a large model that know the tiny task, and a small one that knows nothing."""
    folder = tmp_path_factory.mktemp("trained")
    data = make_data(256)
    models = {}
    for number, spec in enumerate((SMALL, LARGE)):
        torch.manual_seed(number)
        model = build_student(spec, data)
        epochs = train_stage(
            labels_alone(student=spec, epochs=6),
            model,
            [],
            inputs=INPUTS,
            views=data.views("none", cache=folder),
            val=data.val,
            seed=number,
            device=CPU,
            folder=folder / str(number),
        )
        (folder / str(number)).mkdir()
        assert list(epochs)[-1].val_accuracy > 0.9
        models[("small", "large")[number]] = model.eval()
    torch.manual_seed(7)
    return models | {"untrained": build_student(SMALL, data).eval()}


def robustness(
    student, teacher, split, *, student_inputs, teacher_inputs, device, groups=None, **options
):
    """Of both on the same images."""
    return corruption_robustness(
        endure(student, split, inputs=student_inputs, device=device, **options),
        endure(teacher, split, inputs=teacher_inputs, device=device, **options),
        groups=groups,
    )


def both(**changes):
    return {"student_inputs": INPUTS, "teacher_inputs": INPUTS, "device": CPU} | changes


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 28), (3, 96)])
def test_corrupted_images_keep_shape_and_type_and_differ_the_more_the_worse(name, channels, side):
    pixels = photographs(channels=channels, side=side)
    before = pixels.clone()
    changes = []
    for severity in SEVERITIES:
        worse = corrupt(pixels, name, severity=severity, seed=3)
        assert (worse.dtype, worse.shape) == (torch.uint8, pixels.shape)
        changes.append(float((worse.float() - pixels.float()).abs().mean()))
    assert changes[0] > 0
    assert changes == sorted(changes)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_depends_on_its_seed_alone(name):
    pixels = photographs()
    first = corrupt(pixels, name, severity=3, seed=1)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(corrupt(pixels, name, severity=3, seed=1), first)
    assert torch.equal(torch.get_rng_state(), state)
    other = corrupt(pixels, name, severity=3, seed=2)
    assert torch.equal(other, first) == (name != "gaussian_noise")


def test_noise_has_the_deviation_that_is_stated():
    grey = torch.full((20, 1, 28, 28), 128, dtype=torch.uint8)
    noisy = corrupt(grey, "gaussian_noise", severity=5, seed=0).float()
    assert float(noisy.std()) == pytest.approx(255 * 0.10, rel=0.02)


def test_contrast_shrinks_distances_from_the_mean_and_keeps_it():
    pixels = photographs()
    flat = corrupt(pixels, "contrast", severity=3, seed=0).float()
    kept = pixels.float().mean(dim=(-2, -1))
    torch.testing.assert_close(flat.mean(dim=(-2, -1)), kept, atol=0.5, rtol=0)
    ratio = flat.std(dim=(-2, -1)) / pixels.float().std(dim=(-2, -1))
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.4), atol=0.02, rtol=0)


def test_brightness_raises_the_brightest_channel_and_keeps_proportions():
    pixels = torch.tensor([100, 50, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    brighter = corrupt(pixels, "brightness", severity=5, seed=0)  # 0.3 of 255 more
    assert brighter[0, :, 0, 0].tolist() == [176, 88, 0]
    black = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    assert corrupt(black, "brightness", severity=5, seed=0).unique().tolist() == [76]


def test_large_images_take_the_strengths_of_imagenet_c():
    assert strength_of("gaussian_blur", 5, image_size=32) == 1.0
    assert strength_of("gaussian_blur", 5, image_size=224) == 6


def test_an_unknown_corruption_or_severity_is_refused():
    with pytest.raises(ConfigError, match=r"unknown corruption 'contrst'.*Did you mean 'contrast'"):
        corrupt(photographs(), "contrst", severity=1, seed=0)
    with pytest.raises(ConfigError, match="severity must be 1 to 5, got 6"):
        corrupt(photographs(), "contrast", severity=6, seed=0)


def test_a_student_equal_to_its_teacher_changes_nothing(trained):
    split = make_split(80, seed=3)
    records = robustness(trained["large"], trained["large"], split, **both())
    assert len(records) == 1 + len(CORRUPTIONS) * len(SEVERITIES)
    assert all(record["change"] == 0 for record in records)
    agreement = attribution_agreement(trained["large"], trained["large"], split, **both())
    assert agreement["mean"] == pytest.approx(1)
    assert agreement["ci95"] == pytest.approx([1, 1])


def test_accuracies_are_those_of_the_images_as_they_are_and_fall_with_severity(trained):
    split = make_split(200, seed=3)
    records = robustness(trained["small"], trained["large"], split, **both())
    by_name = {(r["name"], r["severity"]): r for r in records}
    clean = by_name["none", 0]
    assert (clean["n"], clean["strength"], clean["by"]) == (200, None, {})
    assert clean["student"] > 0.9
    for who in ("teacher", "student"):
        assert by_name["contrast", 5][who] < by_name["contrast", 1][who] <= clean[who] + 0.02
    assert all(r["change"] == r["student"] - r["teacher"] for r in records)


def test_groups_have_their_own_accuracies_and_small_ones_none(trained):
    split = make_split(100, seed=3)
    site = np.array(["a"] * 60 + ["b"] * 35 + [None] * 5, dtype=object)
    records = robustness(trained["small"], trained["large"], split, **both(), groups={"site": site})
    for record in records:
        groups = record["by"]["site"]
        assert [groups[name]["n"] for name in ("a", "b", "(missing)")] == [60, 35, 5]
        assert groups["(missing)"]["student"] is None
        known = sum(groups[name]["n"] * groups[name]["teacher"] for name in ("a", "b"))
        assert known <= 100 * record["teacher"] + 1e-9 <= known + 5 + 1e-9


def test_the_same_seed_draws_the_same_images_and_noise(trained):
    split = make_split(300, seed=3)
    options = both(seed=4, max_images=150)
    first = robustness(trained["small"], trained["large"], split, **options)
    torch.manual_seed(1)
    assert first == robustness(trained["small"], trained["large"], split, **options)
    assert first[0]["n"] == 150
    options = both(seed=4)
    first = attribution_agreement(trained["small"], trained["large"], split, **options)
    assert first == attribution_agreement(trained["small"], trained["large"], split, **options)


def test_trained_models_agree_where_to_look_and_an_untrained_one_does_no_better_than_chance(
    trained,
):
    split = make_split(200, seed=3)
    options = both(images=128)
    found = attribution_agreement(trained["small"], trained["large"], split, **options)
    assert found["ci95"][0] > found["chance"] + 0.2
    nothing = attribution_agreement(trained["untrained"], trained["large"], split, **options)
    assert abs(nothing["mean"] - nothing["chance"]) < 0.2
    assert nothing["ci95"][1] < found["ci95"][0]


def test_student_and_teacher_may_see_images_at_other_sizes_and_normalised_otherwise(trained):
    split = make_split(64, seed=3)
    found = attribution_agreement(
        trained["small"], trained["large"], split, **both(student_inputs=OTHER_INPUTS)
    )
    assert found["images"] + found["flat"] == 64
    records = robustness(
        trained["small"], trained["large"], split, **both(student_inputs=OTHER_INPUTS)
    )
    assert all(0 <= record["student"] <= 1 for record in records)


def test_another_normalisation_of_the_same_model_agrees_with_it(trained):
    class Rescaled(nn.Module):
        """The large model behind inputs that were normalised with mean 0.5 and std 0.5."""

        def forward(self, x):
            return 3 * trained["large"](((x * 0.5 + 0.5) - 0.25) / 0.15) + 1

    split = make_split(64, seed=3)
    inputs = replace(OTHER_INPUTS, image_size=8)
    found = attribution_agreement(
        Rescaled(), trained["large"], split, **both(student_inputs=inputs)
    )
    assert found["mean"] == pytest.approx(1, abs=1e-3)


def test_attributions_by_group_and_a_model_that_looks_nowhere(trained):
    class Deaf(nn.Module):
        def forward(self, x):
            return torch.eye(4)[torch.zeros(len(x), dtype=torch.long)]

    split = make_split(64, seed=3)
    groups = {"half": np.repeat(["left", "right"], [60, 4])}
    found = attribution_agreement(
        trained["small"], trained["large"], split, **both(), groups=groups
    )
    assert found["by"]["half"]["right"] is None
    assert found["by"]["half"]["left"] == pytest.approx(found["mean"], abs=0.1)
    deaf = attribution_agreement(Deaf(), trained["large"], split, **both())
    assert (deaf["images"], deaf["flat"], deaf["mean"], deaf["ci95"]) == (0, 64, None, None)


def test_colour_images_and_models_in_training_mode_are_taken_as_they_come():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(1014, 4)
    ).train()
    split = Split(
        images=MemoryImages(photographs(40)),
        labels=torch.arange(40) % 4,
        rows=torch.arange(40),
        metadata=None,
    )
    inputs = InputFormat(image_size=28, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    options = both(student_inputs=inputs, teacher_inputs=inputs)
    assert attribution_agreement(model, model, split, **options)["mean"] == pytest.approx(1)
    records = robustness(model, model, split, **options)
    assert {record["change"] for record in records} == {0.0}
    assert all(parameter.grad is None for parameter in model.parameters())
