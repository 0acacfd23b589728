"""Published weights that families inherit from, and how much of a smaller relative a model fills."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import timm
import torch
from family_members import as_after_training, build, member, values_in
from torch import nn

from autokd.records import StudentSpec
from autokd.students import FAMILIES, can_inherit, create_student, inherit

TOO_WIDE: dict[str, Callable[..., bool]] = {
    "mobilenetv3": lambda variant, width, **_: variant == "small" and width > 1.0,
    "edgenext": lambda width, heads, **_: 2 * width / heads > 18,
}


@cache
def on_meta(model: str, **arguments: object) -> nn.Module:
    """Without memory, at 224 px, as published weights are."""
    spec = StudentSpec(model=model, arguments=arguments, image_size=224)
    with torch.device("meta"):
        return create_student(spec, classes=7, channels=3)


def members(family: str, *, most: int) -> list[dict[str, object]]:
    """Evenly spread over the family's own ranges, first and last among them."""
    parameters = FAMILIES[family].parameters
    values = itertools.product(*map(values_in, parameters.values()))
    found = [dict(zip(parameters, each, strict=True)) for each in values]
    return found[:: max(1, len(found) // most)] + found[-1:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("donor", "family", "arguments"),
    [
        ("tf_efficientnet_lite0", "efficientnet_lite", {"width": 1.0, "depth": 1.0, "padding": "same"}),
        ("tf_efficientnet_lite2", "efficientnet_lite", {"width": 1.1, "depth": 1.2, "padding": "same"}),
        ("efficientnet_lite0", "efficientnet_lite", {"width": 1.0, "depth": 1.0}),
        ("mobilenetv3_small_075", "mobilenetv3", {"variant": "small", "width": 0.75}),
        ("starnet_s3", "starnet", {"width": 32, "depth": 2, "mlp_ratio": 4}),
        ("mobileone_s0", "mobileone", {"width": 1.0, "depth": 1.0, "branches": 4}),
        ("fastvit_t12", "fastvit", {"variant": "t", "width": 64, "depth": 2}),
        ("convnext_atto", "convnext", {"width": 40, "depth": 2, "patch_size": 4}),
    ],
)  # fmt: skip
def test_a_member_as_large_as_published_weights_computes_what_they_do(donor, family, arguments):
    published = as_after_training(timm.create_model(donor, num_classes=7))
    heir = build(member(family, size=64, **arguments))
    assert inherit(heir, published).new == ()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(heir.eval()(pixels), published(pixels))


@pytest.mark.parametrize(
    ("small", "large"),
    [("tf_efficientnet_lite0", "tf_efficientnet_lite2"), ("resnext50_32x4d", "resnext101_32x8d"), ("resnet18", "resnet34")],
)  # fmt: skip
def test_a_named_model_inherits_from_a_larger_one_of_its_class(small, large):
    assert can_inherit(on_meta(small), on_meta(large)) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_any_smaller_member_is_filled_but_for_what_its_family_lists(family):
    entry = FAMILIES[family]
    for first, second in itertools.pairwise(members(family, most=4)):
        ends = [
            {n: v if isinstance(v, str) or n == "kernel_size" else end(v, second[n]) for n, v in first.items()}
            for end in (min, max)
        ]  # fmt: skip
        taken = inherit(*(on_meta(family, **arguments) for arguments in ends))
        left = [n for n in taken.new if not any(fnmatch.fnmatch(n, p) for p in entry.not_inherited)]
        assert not left, ends
        assert taken.share > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_published_weights_fill_the_members_of_a_family(family):
    """More than 99% of each within the family's own ranges, but for those wider than all that is published."""
    for arguments in members(family, most=4):
        names = FAMILIES[family].donors(**arguments)
        assert set(names) <= set(timm.list_pretrained())
        if not TOO_WIDE.get(family, lambda **_: False)(**arguments):
            share = can_inherit(on_meta(family, **arguments), on_meta(names[0]))
            assert share > 0.99, (arguments, names[0])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_fit_donor_comes_first_and_the_smallest_of_them(family):
    arguments = members(family, most=1)[0]
    first, *others = FAMILIES[family].donors(**arguments)
    sizes = [sum(p.numel() for p in on_meta(name).parameters()) for name in (first, *others)]
    assert sizes[0] == min(sizes)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_on_heirs_names_every_donor_and_all_that_is_not_filled(family):
    page = (Path(__file__).parent.parent / "docs" / "heirs.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith(f"| {family} |"))
    words = set(re.split(r"[\s,;:|`]+", row))
    for arguments in members(family, most=4):
        names = FAMILIES[family].donors(**arguments)
        assert {name.partition(".")[0] for name in names} <= words
    assert set(FAMILIES[family].not_inherited) <= words
