"""The optimiser's steps."""

from __future__ import annotations

import pytest
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from autokd.learning import fused_where_it_can_be

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "momentum", "lamb"])
def test_steps_in_one_kernel_are_those_of_the_plain_optimiser(name):
    trained = {}
    for kind, options in {"plain": {}, "fused": fused_where_it_can_be(name, CPU)}.items():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        optimizer = create_optimizer_v2(model, opt=name, lr=0.01, weight_decay=0.1, **options)
        for _ in range(20):
            optimizer.zero_grad()
            model(torch.randn(5, 8)).square().sum().backward()
            optimizer.step()
        trained[kind] = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.testing.assert_close(trained["fused"], trained["plain"], rtol=1e-4, atol=1e-6)


def test_torchs_own_optimisers_have_one_kernel_and_others_or_other_devices_none():
    assert {n for n in ("adam", "adamw", "sgd", "momentum", "lamb") if fused_where_it_can_be(n, CPU)} == {
        "adam", "adamw", "sgd", "momentum",
    }  # fmt: skip
    assert not fused_where_it_can_be("adamw", torch.device("mps"))
