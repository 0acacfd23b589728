"""Heirs: which of a donor's weights a smaller model takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autokd.students import FAMILIES, inherit
from tests.family_members import build, member


def images(count: int, *, channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def as_if_trained(model: nn.Module, *, seed: int = 2) -> nn.Module:
    """Every weight and statistic off its initial value, so that one which stays there shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(drawn + 0.5 if "running_var" in name else tensor + 0.2 * (drawn - 0.5))
            else:
                tensor.fill_(3)
    return model.eval()


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_heir_as_large_as_its_donor_computes_what_the_donor_does(family, end):
    donor, heir = as_if_trained(build(member(family, end=end))), build(member(family, end=end))
    taken = inherit(heir, donor)
    assert (taken.new, taken.share) == ((), 1.0)
    assert set(taken.filled) == set(heir.state_dict())
    with torch.no_grad():
        assert torch.equal(heir.eval()(images(2)), donor(images(2)))
