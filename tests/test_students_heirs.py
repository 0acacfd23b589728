"""Heirs: which of a donor's weights a smaller model takes."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from family_members import as_after_training, build, member
from timm.layers.patch_embed import resample_patch_embed
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.regnet import RegNet, RegNetCfg
from torch import nn
from widening import nothing_depends_on_how_many_channels_there_are, widen

from autokd.students import FAMILIES, can_inherit, inherit
from autokd.students.axes import Axis, select
from autokd.students.create import unfused_attention


def images(count: int, *, channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_heir_as_large_as_its_donor_computes_what_the_donor_does(family, end):
    donor, heir = as_after_training(build(member(family, end=end))), build(member(family, end=end))
    taken = inherit(heir, donor)
    assert (taken.new, taken.share) == ((), 1.0)
    assert set(taken.filled) == set(heir.state_dict())
    with torch.no_grad():
        assert torch.equal(heir.eval()(images(2)), donor(images(2)))


# Sizes of heirs and donors: of equal depth, and where rounding gives both the same residual sums.
WIDER = [
    ("resnet", {}, {"width": 64}),
    ("resnet", {"stages": 3, "width": 24}, {"stages": 3, "width": 64}),
    ("convnext", {"width": 24}, {"width": 40}),
    ("starnet", {}, {"width": 32}),
    ("starnet", {"width": 20}, {"width": 32, "mlp_ratio": 4}),
    ("vit", {}, {"heads": 6}),
    ("vit", {}, {"head_dim": 64}),
    ("vit", {"heads": 2}, {"heads": 3, "head_dim": 64}),
    ("efficientvit", {"width": 12}, {"width": 16}),
    ("efficientvit", {}, {"width": 24, "head_dim": 32, "head_width": 1024}),
    ("edgenext", {"width": 24}, {"width": 48}),
    ("edgenext", {"width": 24, "heads": 2}, {"width": 48, "heads": 4}),
    ("mobilenetv3", {"width": 0.65}, {"width": 0.95}),
    ("mobilenetv3", {"variant": "large", "width": 0.65}, {"variant": "large", "width": 1.25}),
    ("mobilenetv4", {}, {"width": 1.0}),
    ("mobilenetv4", {"variant": "hybrid_medium"}, {"variant": "hybrid_medium", "width": 0.5}),
    ("efficientnet", {"width": 0.6}, {"width": 1.0}),
    ("efficientnet_lite", {}, {"width": 0.875}),
    ("efficientnet_lite", {"padding": "same"}, {"padding": "same", "width": 0.5}),
    ("ghostnet", {"width": 0.6}, {"width": 1.4}),
    ("ghostnet", {"version": "v2"}, {"version": "v2", "width": 1.0}),
    ("repvgg", {}, {"width": 0.75}),
    ("mobileone", {}, {"width": 0.75}),
    ("mobileone", {"branches": 2}, {"branches": 2, "width": 0.75}),
    ("fastvit", {}, {"width": 40}),
    ("fastvit", {"variant": "s"}, {"variant": "s", "width": 24}),
    ("fastvit", {"variant": "sa"}, {"variant": "sa", "width": 48}),
]


@pytest.mark.parametrize(("family", "narrow", "wide"), WIDER)
def test_a_layer_takes_the_outputs_that_those_who_read_it_take(family, narrow, wide):
    """A donor with dead channels everywhere but where heirs take theirs computes what its heir does."""
    with unfused_attention():
        small = as_after_training(build(member(family, **narrow)).double())
        large = build(member(family, **wide)).double().eval()
    donor = widen(small, large)
    with nothing_depends_on_how_many_channels_there_are(), torch.no_grad():
        ours, theirs = small(images(2).double()), donor(images(2).double())
    torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-9 * ours.std().item())


def test_every_family_is_among_those_whose_channels_are_followed():
    assert {family for family, *_ in WIDER} == set(FAMILIES)


def test_groups_of_channels_go_together_where_a_donor_has_more_of_them():
    narrow, wide = (
        RegNet(
            RegNetCfg(w0=w, wa=1.5 * w, wm=2.5, group_size=8, depth=8, se_ratio=0.25), num_classes=7
        )
        for w in (24, 48)
    )
    small = as_after_training(narrow.double())
    donor = widen(small, wide.double().eval())
    with torch.no_grad():
        ours, theirs = small(images(2).double()), donor(images(2).double())
    torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-9)


def test_another_class_is_no_relative():
    assert can_inherit(build(member("resnet")), build(member("repvgg"))) == 0.0
    heir = build(member("resnet"))
    taken = inherit(heir, build(member("repvgg")))
    assert (taken.filled, taken.share) == ((), 0.0)


def test_a_classifier_of_other_classes_stays_new_and_any_does_where_it_is_not_wanted():
    donor = build(member("resnet", end=-1), classes=1000)
    names = ("fc.weight", "fc.bias")
    assert inherit(build(member("resnet")), donor).new == names
    heir, donor = build(member("resnet")), build(member("resnet", end=-1))
    before = heir.fc.weight.clone()
    taken = inherit(heir, donor, classifier=False)
    assert taken.new == names
    assert torch.equal(heir.fc.weight, before)
    assert inherit(heir, donor).new == ()
    assert not torch.equal(heir.fc.weight, before)


def test_a_classifier_that_read_a_stage_which_the_heir_lacks_is_not_taken():
    heir, donor = build(member("resnet", stages=3)), build(member("resnet", stages=4))
    assert inherit(heir, donor).new == ("fc.weight", "fc.bias")


def test_what_was_taken_is_said_in_a_sentence():
    heir, donor = build(member("resnet")), build(member("resnet", end=-1))
    assert inherit(heir, donor).sentence() == "100% of its weights are inherited"
    said = inherit(heir, donor, classifier=False).sentence()
    assert re.fullmatch(r"9\d% of its weights are inherited; new: fc\.weight, fc\.bias", said)
    assert inherit(build(member("vit")), build(member("resnet"))).sentence().endswith(" more")


def test_a_donor_smaller_along_an_axis_leaves_what_is_wider_new():
    heir, donor = build(member("resnet", depth=2)), build(member("resnet", depth=1))
    taken = inherit(heir, donor)
    assert {name.split(".")[1] for name in taken.new} == {"1"}  # second blocks
    wide = build(member("resnet", width=24))
    sized = {name for name, tensor in wide.state_dict().items() if tensor.ndim}
    assert set(inherit(wide, donor).new) == sized - {"fc.bias"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_convolution_of_a_grey_heir_sums_the_colours(family):
    donor = as_after_training(build(member(family)))
    heir = build(member(family), channels=1)
    assert inherit(heir, donor).new == ()
    grey = images(2, channels=1)
    with torch.no_grad():
        ours, theirs = heir.eval()(grey), donor(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.std().item())


@pytest.mark.parametrize(
    ("family", "name"),
    [("vit", "patch_embed.proj.weight"), ("convnext", "stem.0.weight"), ("edgenext", "stem.0.weight")],
)  # fmt: skip
def test_patches_are_resampled_to_another_size_and_not_cut(family, name):
    """Beyer et al. 2023 (FlexiViT), arXiv 2212.08013."""
    donor = build(member(family, patch_size=8))
    heir = build(member(family, patch_size=4))
    inherit(heir, donor)
    expected = resample_patch_embed(donor.state_dict()[name], [4, 4])
    assert torch.equal(heir.state_dict()[name], expected)


def test_position_embeddings_are_resized_and_a_class_token_is_left_behind():
    donor = as_after_training(
        timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=8, depth=2)
    )
    heir = build(member("vit", heads=3, head_dim=64, depth=2))  # 4 x 4 patches, no class token
    assert inherit(heir, donor, classifier=False).new == ("head.weight", "head.bias")
    expected = resample_abs_pos_embed(donor.pos_embed[:, 1:], [4, 4], [8, 8], num_prefix_tokens=0)
    assert torch.equal(heir.pos_embed, expected)
    assert torch.equal(heir.fc_norm.weight, donor.norm.weight)  # the last one, as it is pooled


def test_of_larger_kernels_the_centre_is_taken():
    donor, heir = (build(member("fastvit", kernel_size=size)) for size in (7, 3))
    inherit(heir, donor)
    name = "stages.0.blocks.0.token_mixer.mixer.conv_kxk.0.conv.weight"
    assert torch.equal(heir.state_dict()[name], donor.state_dict()[name][:, :, 2:5, 2:5])
    taken = inherit(donor, heir)
    assert name in taken.new  # smaller ones are not padded


def test_a_linear_layer_is_a_convolution_of_one_pixel():
    donor = as_after_training(timm.create_model("convnext_atto", num_classes=7, conv_mlp=False))
    heir = build(member("convnext", width=40, depth=2, patch_size=4))
    assert inherit(heir, donor).new == ()
    with torch.no_grad():
        torch.testing.assert_close(heir.eval()(images(2)), donor(images(2)), rtol=1e-4, atol=1e-5)


def test_a_shortcut_that_pools_first_is_the_same_place_as_one_that_does_not():
    heir, donor = build(member("resnet", width=64)), timm.create_model("resnet18d", num_classes=7)
    assert inherit(heir, donor).new == ()
    assert torch.equal(heir.layer2[0].downsample[0].weight, donor.layer2[0].downsample[1].weight)


def test_a_last_block_of_another_kind_is_found_in_a_deeper_donor():
    heir, donor = build(member("edgenext")), build(member("edgenext", depth=2))
    assert inherit(heir, donor).new == ()
    ours, theirs = heir.stages[1].blocks[0].xca, donor.stages[1].blocks[1].xca
    assert torch.equal(ours.qkv.weight, theirs.qkv.weight)


def test_whole_heads_are_taken_and_their_dimensions_evenly():
    heir = build(member("vit", heads=2, head_dim=2, depth=1))
    donor = build(member("vit", heads=4, head_dim=4, depth=1))
    rows = torch.arange(3 * 4 * 4).reshape(3, 4, 4)
    with torch.no_grad():
        donor.blocks[0].attn.qkv.bias.copy_(rows.flatten())
    inherit(heir, donor)
    assert torch.equal(heir.blocks[0].attn.qkv.bias, rows[:, ::2, ::2].flatten().float())


class Grouped(nn.Module):
    """Four channels a group, and a table made for its width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, groups=width // 4)
        self.doubled = nn.Conv2d(width, 2 * width, 3, groups=width)
        self.register_buffer("table", torch.arange(width))
        self.num_classes = 3  # as whatever a search builds says it
        self.head = nn.Linear(2 * width, 3)


def test_what_is_only_right_as_a_whole_stays_new_where_nothing_tells_how_it_is_cut():
    heir, donor = Grouped(8), Grouped(16)
    taken = inherit(heir, donor)
    assert taken.new == ("table", "conv.weight", "conv.bias")
    assert torch.equal(heir.doubled.bias, donor.doubled.bias.reshape(16, 2)[::2].flatten())
    assert inherit(Grouped(8), Grouped(8)).new == ()


def test_nothing_is_changed_where_only_the_share_is_asked_for():
    heir, donor = build(member("resnet")), build(member("resnet", end=-1))
    before = {name: tensor.clone() for name, tensor in heir.state_dict().items()}
    assert can_inherit(heir, donor) == 1.0
    assert all(torch.equal(tensor, before[name]) for name, tensor in heir.state_dict().items())


@pytest.mark.parametrize(("few", "many"), [(3, 7), (8, 8), (1, 5), (24, 64)])
def test_indices_are_evenly_spaced_and_agree_in_halves_and_in_heads(few, many):
    found = select(Axis(factors=(few,)), Axis(factors=(many,)))
    steps = found.diff()
    assert found[0] == 0
    assert steps.numel() == 0 or steps.max() - steps.min() <= 1
    for parts in (2, 3):
        whole = select(Axis(factors=(parts * few,)), Axis(factors=(parts * many,)))
        assert torch.equal(whole, torch.cat([found + part * many for part in range(parts)]))
        assert torch.equal(whole, select(Axis(factors=(parts, few)), Axis(factors=(parts, many))))
