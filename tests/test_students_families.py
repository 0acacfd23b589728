"""Every family: counted alike by two counters, seen into, trained, saved, and made simpler where it is meant to be."""

from __future__ import annotations

import itertools

import pytest
import torch
from family_members import arguments_of, build, count, member, values_in
from safetensors.torch import load_model, save_model
from torch import nn
from torch.nn import functional as F

from autokd.cost import check_counts, count_with_fvcore
from autokd.errors import ConfigError
from autokd.records import StudentSpec
from autokd.students import DEPTHS, FAMILIES, create_student, deployed, look_inside

# What one can measure a parameter by: numbers that a family searches by itself.
NUMBERS = [
    (family, name)
    for family, entry in FAMILIES.items()
    for name, parameter in entry.parameters.items()
    if len(values := values_in(parameter)) > 1 and not isinstance(values[0], str)
]

SHALLOW = ("ghostnet", "efficientvit")  # timm has no stochastic depth of them


def images(count: int, *, size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
@pytest.mark.parametrize("end", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_two_counters_agree_on_the_first_and_last_kind_of_every_family(family, end):
    """Of its smallest size: variants differ in their operators, sizes do not."""
    smallest = arguments_of(family, end=0)
    sizes = {name: smallest[name] for name in ("width", "depth", "heads") if name in smallest}
    spec = member(family, end=end, **sizes)
    check_counts(count(spec), count_with_fvcore(build(spec), (3, 32, 32)))


# Millions of MACs and parameters at 224 px with 1000 classes, of the smallest and the largest member as they ship.
MOBILE = {
    "starnet": ((71, 0.5), (754, 5.8)),
    "efficientvit": ((67, 1.6), (511, 7.5)),
    "edgenext": ((60, 0.5), (863, 6.0)),
    "mobilenetv3": ((16, 1.4), (355, 7.6)),
    "mobilenetv4": ((30, 1.7), (828, 9.7)),
    "efficientnet": ((58, 1.0), (586, 7.3)),
    "efficientnet_lite": ((49, 1.5), (385, 4.7)),
    "ghostnet": ((31, 2.2), (399, 12.4)),
    "repvgg": ((53, 0.6), (1361, 8.3)),
    "mobileone": ((42, 0.7), (591, 3.9)),
    "fastvit": ((47, 0.5), (851, 6.7)),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", MOBILE)
def test_a_family_by_itself_is_a_space_of_mobile_size(family):
    ends = (count(member(family, end=end, size=224), classes=1000, ships=True) for end in (0, -1))
    assert tuple((round(c.macs / 1e6), round(c.params / 1e6, 1)) for c in ends) == MOBILE[family]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "family", "arguments"),
    [
        ("starnet_s3", "starnet", {"width": 32, "depth": 2, "mlp_ratio": 4}),
        ("mobilenetv4_conv_medium", "mobilenetv4", {"variant": "conv_medium", "width": 1.0}),
        ("mobilenetv4_hybrid_medium", "mobilenetv4", {"variant": "hybrid_medium", "width": 1.0}),
        ("efficientnet_lite0", "efficientnet_lite", {"width": 1.0, "depth": 1.0}),
        (
            "tf_efficientnet_lite2",
            "efficientnet_lite",
            {"width": 1.1, "depth": 1.2, "padding": "same"},
        ),
        ("ghostnet_100", "ghostnet", {"version": "v1", "width": 1.0}),
        ("ghostnetv2_100", "ghostnet", {"version": "v2", "width": 1.0}),
        ("repvgg_a0", "repvgg", {"width": 1.0, "depth": 1.0}),
        ("mobileone_s0", "mobileone", {"width": 1.0, "depth": 1.0, "branches": 4}),
        ("fastvit_t12", "fastvit", {"variant": "t", "width": 64, "depth": 2}),
        ("fastvit_sa12", "fastvit", {"variant": "sa", "width": 64, "depth": 2}),
    ],
)
def test_the_nets_of_the_papers_are_members(model, family, arguments):
    own = count(member(family, size=64, **arguments))
    assert own == count(StudentSpec(model=model, image_size=64))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "name"), NUMBERS)
def test_a_larger_number_gives_more_parameters_and_more_macs(family, name):
    values = values_in(FAMILIES[family].parameters[name])
    counts = [count(member(family, **{name: value})) for value in values]
    for less, more in itertools.pairwise(counts):
        assert less.params < more.params
        assert less.macs < more.macs


@pytest.mark.parametrize("family", FAMILIES)
def test_a_member_for_small_grey_images_trains_a_step_with_both_kinds_of_dropout(family):
    rates = {"drop_rate": 0.1} | ({} if family in SHALLOW else {"drop_path_rate": 0.1})
    model = build(member(family), classes=5, channels=1, **rates)
    loss = F.cross_entropy(model(images(8, channels=1)), torch.arange(8) % 5)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("family", SHALLOW)
def test_a_family_without_stochastic_depth_says_so(family):
    with pytest.raises(ConfigError, match=f"model '{family}' can't be made with .*drop_path_rate"):
        build(member(family), drop_path_rate=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_there_is_no_dropout_that_was_not_asked_for(family):
    model = build(member(family)).train()
    rates = [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
    assert not any(rates)
    assert getattr(model, "drop_rate", 0.0) == 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_look_inside_a_member_has_its_logits_its_maps_and_what_its_classifier_is_given(family):
    model = build(member(family)).eval()
    with torch.no_grad():
        seen, logits = (
            look_inside(model, images(2), taps=len(DEPTHS), pooled=True),
            model(images(2)),
        )
    torch.testing.assert_close(seen.logits, logits)
    assert seen.pooled.shape == (2, model.get_classifier().in_features)
    sides = [m.shape[2] for m in seen.maps]
    assert sides == sorted(sides)
    assert len(sides) == len(DEPTHS)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_member_answers_as_before(family, tmp_path):
    spec = member(family)
    model = build(spec)
    with torch.no_grad():
        model(images(4))  # moves the statistics of its norms
    save_model(model, tmp_path / "model.safetensors")
    other = create_student(spec, classes=7, channels=3)
    load_model(other, tmp_path / "model.safetensors")
    with torch.no_grad():
        assert torch.equal(model.eval()(images(2)), other.eval()(images(2)))


def as_if_trained(model: nn.Module) -> nn.Module:
    """Double precision, and every norm and scale off its initial value, so that a wrong one shows."""
    generator = torch.Generator().manual_seed(2)

    def draw(tensor, low, high):
        tensor.copy_(torch.rand(tensor.shape, generator=generator).double() * (high - low) + low)

    with torch.no_grad():
        for module in model.double().modules():
            if isinstance(module, nn.BatchNorm2d):
                draw(module.weight, 0.5, 1.5)
                draw(module.bias, -0.5, 0.5)
                draw(module.running_mean, -0.5, 0.5)
                draw(module.running_var, 0.5, 2.0)
            if hasattr(module, "gamma"):
                draw(module.gamma, 0.2, 0.8)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("repvgg", {}),
        ("repvgg", {"stem_stride": 2}),
        ("mobileone", {}),
        ("mobileone", {"stem_stride": 2, "branches": 3}),
        ("fastvit", {}),
        ("fastvit", {"stem_stride": 2, "kernel_size": 5}),
        ("fastvit", {"stem_stride": 4, "variant": "sa"}),
    ],
)
def test_a_trained_member_answers_the_same_without_its_branches(family, changes):
    spec = member(family, **changes)
    model, pixels = as_if_trained(build(spec)), images(3).double()
    with torch.no_grad():
        before = model(pixels)
        ships = deployed(model)
        torch.testing.assert_close(ships(pixels), before, rtol=1e-9, atol=1e-9)
    assert before.std() > 1e-3
    counts = count(spec, ships=True), count_with_fvcore(ships, (3, 32, 32))
    check_counts(*counts)
    assert counts[0].params < count(spec).params
    assert counts[0].macs < count(spec).macs


@pytest.mark.parametrize(
    ("family", "changes", "problem"),
    [
        ("mobilenetv4", {"variant": "conv_tiny"}, "variant must be one of conv_small, .*, got conv_tiny"),
        ("mobilenetv4", {"width": 0.0}, "width must be > 0, got 0.0"),
        ("mobilenetv4", {"stem_stride": 3}, "stem_stride must be one of 1, 2, 4, got 3"),
        ("efficientnet_lite", {"padding": "valid"}, "padding must be one of symmetric, same, got valid"),
        ("efficientnet_lite", {"depth": 0.0}, "depth must be > 0, got 0.0"),
        ("ghostnet", {"version": "v3"}, "version must be one of v1, v2, got v3"),
        ("ghostnet", {"version": "v2", "stem_stride": 2}, "32 px at stem_stride 2; take v1"),
        ("ghostnet", {"width": -1.0}, "width must be > 0, got -1.0"),
        ("efficientvit", {"width": 7}, "first attention, must be a multiple of 16, got 56"),
        ("efficientvit", {"depth": 0}, "depth must be > 0, got 0"),
        ("edgenext", {"heads": 3}, "first attention, must be a multiple of 3, got 32"),
        ("edgenext", {"kernel_size": 4}, "kernel_size must be one of 3, 5, 7, 9, got 4"),
        ("edgenext", {"patch_size": 0}, "patch_size must be > 0, got 0"),
        ("starnet", {"mlp_ratio": 0}, "mlp_ratio must be > 0, got 0"),
        ("repvgg", {"depth": 0.0}, "depth must be > 0, got 0.0"),
        ("mobileone", {"branches": 0}, "branches must be > 0, got 0"),
        ("fastvit", {"variant": "m"}, "variant must be one of t, s, sa, got m"),
        ("fastvit", {"variant": "sa", "width": 18}, "variant sa must be a multiple of 4, got 18"),
        ("fastvit", {"kernel_size": 2}, "kernel_size must be one of 3, 5, 7, got 2"),
        ("fastvit", {"stem_stride": 8}, "stem_stride must be one of 1, 2, 4, got 8"),
    ],
)  # fmt: skip
def test_a_value_that_a_family_does_not_take_is_refused_in_one_line(family, changes, problem):
    with pytest.raises(ConfigError, match=rf"^model '{family}' .* at 32 px: .*{problem}") as no:
        build(member(family, **changes))
    assert "\n" not in str(no.value)
