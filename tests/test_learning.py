"""The optimiser's steps."""

from __future__ import annotations

import pytest
import torch
from timm.optim import create_optimizer_v2
from tiny_task import labels_alone, make_data
from torch import nn

from autokd.errors import ConfigError
from autokd.learning import Learning, fused_where_it_can_be
from autokd.objective import Objective
from autokd.peers import ALONE
from autokd.teachers import build_student, inputs_of

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


def of_stage(**training: object) -> tuple[Learning, nn.Module]:
    stage = labels_alone(epochs=1, augmentation="none", **training)
    data = make_data()
    student = build_student(stage.student, data)
    objective = Objective(
        stage,
        student,
        [],
        train=data.train,
        val=data.val,
        inputs=inputs_of(stage.student, data),
        device=CPU,
    )
    return Learning(stage, student, objective, ALONE, steps=10), student


def rates(learning: Learning, student: nn.Module, *, key: str = "initial_lr") -> dict[str, float]:
    names = {id(p): name for name, p in student.named_parameters()}
    groups = learning._optimizer.param_groups
    return {names[id(p)]: group[key] for group in groups for p in group["params"]}


def test_the_body_learns_at_its_share_of_the_rate_and_decays_as_before():
    plain, student = of_stage(learning_rate=0.01)
    assert set(rates(plain, student).values()) == {0.01}
    slow, student = of_stage(learning_rate=0.01, body_rate=0.1)
    found = rates(slow, student)
    assert {name for name, rate in found.items() if rate == 0.01} == {"fc.weight", "fc.bias"}
    assert sorted(set(found.values())) == pytest.approx([0.001, 0.01])
    assert set(found) == {name for name, _ in student.named_parameters()}
    decays = rates(slow, student, key="weight_decay")
    assert (
        decays["fc.weight"]
        == decays["layer1.0.conv1.weight"]
        > decays["fc.bias"]
        == decays["bn1.weight"]
    )


def test_frozen_blocks_have_no_gradient_no_place_in_the_optimiser_and_fixed_statistics():
    learning, student = of_stage(trained_blocks=1)
    learning.begin_epoch()
    assert {name.split(".")[0] for name in rates(learning, student)} == {"layer3", "fc"}
    assert not student.conv1[0].weight.requires_grad
    assert not student.bn1.training
    assert not student.layer2.training
    assert student.layer3.training
    head, student = of_stage(trained_blocks=0)
    assert set(rates(head, student)) == {"fc.weight", "fc.bias"}


def test_more_blocks_than_a_model_has_are_refused():
    with pytest.raises(
        ConfigError, match=r"ResNet has 3 blocks, and .* is \{last: 4\}; give fewer"
    ):
        of_stage(trained_blocks=4)


def test_batch_norms_of_a_body_that_is_to_change_little_keep_their_statistics():
    slow, student = of_stage(body_rate=0.5)
    slow.begin_epoch()
    assert student.layer1.training
    assert not student.bn1.training
    plain, student = of_stage()
    plain.begin_epoch()
    assert student.bn1.training
