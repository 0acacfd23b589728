"""Objectives: every mitigation trains a student, is the same for a seed, and takes its groups from where it may."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_task
import torch
from safetensors.torch import load_file
from tiny_task import CPU, labels_alone, make_data, make_teacher, stage

from autokd.data import Batch, train_batches
from autokd.data.batches import balanced_order
from autokd.distill import BEST, train_stage
from autokd.errors import ConfigError
from autokd.losses import cross_entropy, kd
from autokd.mitigation import MITIGATIONS, adaptive_weights
from autokd.objective import Objective, count_features, loss_terms
from autokd.students import InputFormat, look_inside
from autokd.teachers import CachedLogits, build_student, train_once

PLAIN = make_data()
INPUTS = InputFormat(image_size=8, mean=PLAIN.mean, std=PLAIN.std)
CODES = {
    name: (torch.arange(len(getattr(PLAIN, name))) % 8 == 7).long() for name in ("train", "val")
}


def with_groups(data=PLAIN, codes=CODES):
    """One image in eight is of group 1, all of them of the last class."""
    splits = {name: replace(getattr(data, name), groups=numbers) for name, numbers in codes.items()}
    return replace(data, groups=("site",), **splits)


GROUPED = with_groups()


def mitigated(name: str, **changes):
    weights = {"ce": 0.5, "kd": 0.5} | ({"mfd": 1.0} if name == "mfd" else {})
    return stage(**({"mitigation": name, "loss_weights": weights} | changes))


def fresh_student():
    torch.manual_seed(0)
    return build_student(tiny_task.SMALL, PLAIN)


def cached(folder, data=GROUPED, *, seed=0):
    views = data.views("none", cache=folder)
    return CachedLogits(make_teacher(data, seed=seed), views, folder, classes=tiny_task.CLASSES)


class Sure:
    """A teacher that knows train and val, and is right on val's group 0 alone."""

    feature_count = 5

    def logits(self, batch: Batch, view: int):
        return 8.0 * torch.nn.functional.one_hot(batch.labels, tiny_task.CLASSES).float()

    def features(self, batch: Batch, view: int):
        return torch.nn.functional.one_hot(batch.labels, 5).float()

    def val_logits(self, val):
        answers = (val.labels + val.group_numbers) % tiny_task.CLASSES
        return 99.0 * torch.nn.functional.one_hot(answers, tiny_task.CLASSES).float()


def train(wanted, folder, *, teachers=None, data=GROUPED, seed=0):
    folder.mkdir(exist_ok=True)
    student = fresh_student()
    epochs = train_stage(
        wanted,
        student,
        [Sure()] if teachers is None else teachers,
        inputs=INPUTS,
        views=data.views("none", cache=folder),
        val=data.val,
        seed=seed,
        device=CPU,
        folder=folder,
    )
    return list(epochs), student


def make_objective(wanted, *, teachers=None, data=GROUPED):
    return Objective(
        wanted, fresh_student(), teachers or [Sure()], train=data.train, val=data.val,
        inputs=INPUTS, device=CPU,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("data", [PLAIN, GROUPED], ids=["classes as groups", "groups"])
@pytest.mark.parametrize("name", MITIGATIONS)
def test_a_student_learns_with_every_mitigation(tmp_path, name, data):
    epochs, _ = train(mitigated(name, epochs=6), tmp_path, data=data)
    assert max(epoch.val_accuracy for epoch in epochs) > 0.6  # chance: 0.25


@pytest.mark.parametrize("name", MITIGATIONS)
def test_a_mitigation_is_the_same_for_a_seed_and_changes_the_student(tmp_path, name):
    (first, student), (again, same) = (
        train(mitigated(name, epochs=1), tmp_path / folder) for folder in "ab"
    )
    assert [replace(e, seconds=0) for e in first] == [replace(e, seconds=0) for e in again]
    for key, value in student.state_dict().items():
        assert torch.equal(same.state_dict()[key], value), key
    _, plain = train(mitigated("none", epochs=1), tmp_path / "plain")
    unchanged = torch.equal(plain.get_classifier().weight, student.get_classifier().weight)
    assert unchanged == (name == "none")


@pytest.mark.parametrize("name", ["adaptive_alpha", "mfd"])
def test_a_real_teacher_answers_what_a_mitigation_asks(tmp_path, name):
    epochs, student = train(mitigated(name), tmp_path, teachers=[cached(tmp_path)])
    assert len(epochs) == 2
    assert load_file(tmp_path / BEST).keys() == student.state_dict().keys()  # no projector in it


def test_without_a_mitigation_the_loss_is_the_weighted_sum_of_means():
    batch, logits, answers = some_batch()
    wanted = mitigated("none")
    objective = make_objective(wanted)
    terms = loss_terms(wanted, logits, [answers], batch.labels, reduction=objective.reduction)
    expected = 0.5 * cross_entropy(logits, batch.labels)
    expected = expected + 0.5 * kd(logits, answers, batch.labels, temperature=2.0)
    assert torch.equal(objective.total(terms, batch), expected)
    assert objective.balance is None
    assert not objective.parameters


def some_batch():
    views = GROUPED.views("none", cache=None)
    batch = next(train_batches(views, view=0, batch_size=64, seed=0, epoch=1, device=CPU))
    logits = torch.randn(2, 64, tiny_task.CLASSES, generator=torch.Generator().manual_seed(0))
    return batch, logits[0], logits[1]


def test_one_value_an_image_has_the_mean_that_the_loss_has():
    batch, logits, answers = some_batch()
    wanted = mitigated("none", label_smoothing=0.1)
    means = loss_terms(wanted, logits, [answers, logits], batch.labels)
    each = loss_terms(wanted, logits, [answers, logits], batch.labels, reduction="none")
    for name, mean in means.items():
        assert each[name].shape == (64,)
        torch.testing.assert_close(each[name].mean(), mean)


def test_where_the_teacher_is_wrong_on_val_the_student_learns_from_labels():
    batch, logits, answers = some_batch()
    wanted = mitigated("adaptive_alpha", loss_weights={"kd": 0.8})
    objective = make_objective(wanted)
    terms = loss_terms(wanted, logits, [answers], batch.labels, reduction=objective.reduction)
    believed = 1.0 - CODES["train"][batch.index].float()  # Sure is wrong on all of group 1
    weights = adaptive_weights({"kd": 0.8}, believed)
    expected = (weights["ce"] * terms["ce"] + weights["kd"] * terms["kd"]).mean()
    torch.testing.assert_close(objective.total(terms, batch), expected)
    assert 0 < believed.mean() < 1


def test_group_dro_weighs_the_whole_loss_of_each_image_by_its_group():
    batch, logits, answers = some_batch()
    wanted = mitigated("group_dro")
    objective = make_objective(wanted)
    terms = loss_terms(wanted, logits, [answers], batch.labels, reduction=objective.reduction)
    losses, groups = 0.5 * terms["ce"] + 0.5 * terms["kd"], CODES["train"][batch.index]
    means = torch.stack([losses[groups == g].mean() for g in (0, 1)])
    q = torch.exp(0.01 * (means + 1 / torch.bincount(CODES["train"]).sqrt()))
    torch.testing.assert_close(objective.total(terms, batch), (q / q.sum()) @ means)


class Counted(Sure):
    """Knows how often it was asked."""

    asked = 0

    def logits(self, batch: Batch, view: int):
        self.asked += 1
        return super().logits(batch, view)


def kd_of_steps(drop: float, teachers, *, steps: int) -> list[float]:
    wanted = stage(loss_weights={"ce": 0.5, "kd": 0.5}, teacher_drop=drop)
    objective, student = make_objective(wanted, teachers=teachers), fresh_student().eval()
    batch, *_ = some_batch()
    return [objective(student, batch, 0, progress=0.0)[1]["kd"].item() for _ in range(steps)]


class Unsure(Counted):
    def logits(self, batch: Batch, view: int):
        return 0.1 * super().logits(batch, view)


def test_of_several_teachers_a_step_has_as_many_as_chance_leaves_and_never_none():
    teachers = [Counted(), Unsure()]
    (first,), (second,) = (kd_of_steps(0.0, [teacher], steps=1) for teacher in teachers)
    (both,) = kd_of_steps(0.0, teachers, steps=1)
    assert both == pytest.approx((first + second) / 2)
    torch.manual_seed(0)
    teachers = [Counted(), Unsure()]
    terms = kd_of_steps(0.5, teachers, steps=400)
    counts = [
        sum(term == pytest.approx(value) for term in terms) for value in (first, second, both)
    ]
    assert sum(counts) == 400
    # two that are left out together are as probable as both that stay: then one stays, either as probably
    assert counts == [
        pytest.approx(150, abs=40),
        pytest.approx(150, abs=40),
        pytest.approx(100, abs=40),
    ]
    assert teachers[0].asked == counts[0] + counts[2]  # who is left out is not asked


def test_features_of_another_number_are_projected_and_equal_ones_are_not(tmp_path):
    own = count_features(fresh_student(), GROUPED.train, inputs=INPUTS, device=CPU)
    sure = Sure()
    projected = make_objective(mitigated("mfd"), teachers=[sure])
    assert [tuple(p.shape) for p in projected.parameters] == [(5, own), (5,)]
    sure.feature_count = own
    assert make_objective(mitigated("mfd"), teachers=[sure]).parameters == []


def test_the_gradient_of_mfd_reaches_student_and_projector(tmp_path):
    objective, student = make_objective(mitigated("mfd")), fresh_student()
    batch, *_ = some_batch()
    objective.match(objective.look(student, batch), batch, 0, [0])["mfd"].backward()
    assert all(p.grad.abs().sum() > 0 for p in objective.parameters)
    assert student.conv1[0].weight.grad.abs().sum() > 0
    assert student.get_classifier().weight.grad is None


def test_cached_features_and_val_logits_are_the_live_ones(tmp_path):
    teacher, answers = make_teacher(GROUPED), cached(tmp_path)
    batch, *_ = some_batch()
    with torch.inference_mode():
        features = look_inside(teacher.model, INPUTS.prepare(batch.pixels), pooled=True).pooled
        logits = teacher.model(INPUTS.prepare(GROUPED.val.images.pixels))
    assert answers.feature_count == features.shape[1]
    torch.testing.assert_close(answers.features(batch, 0), features, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(answers.val_logits(GROUPED.val), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["none", "balanced_sampling", "adaptive_alpha", "group_dro"])
def test_a_teacher_is_asked_for_features_by_mfd_alone(tmp_path, name):
    train(mitigated(name, epochs=1), tmp_path, teachers=[cached(tmp_path)])
    assert not list(tmp_path.glob("features-*"))
    assert bool(list(tmp_path.glob("val-logits-*"))) == (name == "adaptive_alpha")


def test_balanced_batches_have_each_group_as_often_as_another():
    groups = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    drawn = torch.cat([groups[balanced_order(groups, seed=0, epoch=e)] for e in range(20)])
    counts = torch.bincount(drawn).numpy()
    assert counts.sum() == 20_000
    spread = np.sqrt(20_000 * (1 / 3) * (2 / 3))  # of a count
    assert np.abs(counts - 20_000 / 3).max() < 4 * spread


def test_balanced_orders_follow_from_seed_and_epoch_alone():
    groups = torch.arange(100) % 3
    first, again, epoch, seed = (
        balanced_order(groups, seed=s, epoch=e) for s, e in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, epoch)
    assert not torch.equal(first, seed)


def test_a_balanced_epoch_has_as_many_batches_as_a_plain_one(tmp_path):
    views = GROUPED.views("none", cache=tmp_path)
    options = {"view": 0, "batch_size": 50, "seed": 0, "epoch": 1, "device": CPU}
    plain = list(train_batches(views, **options))
    balanced = list(train_batches(views, balance=CODES["train"], **options))
    assert [len(b.labels) for b in plain] == [len(b.labels) for b in balanced] == [50, 50, 28]
    drawn = CODES["train"][torch.cat([b.index for b in balanced])].float().mean()
    assert 0.3 < drawn < 0.7  # 1/8 of the set
    assert all(torch.equal(GROUPED.train.labels[b.index], b.labels) for b in balanced)


def test_classes_are_the_groups_of_a_set_without_any():
    assert torch.equal(PLAIN.train.group_numbers, PLAIN.train.labels)
    assert torch.equal(GROUPED.train.group_numbers, CODES["train"])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (mitigated("grup_dro"), "student: unknown mitigation 'grup_dro'; known: none, balanced"),
        (labels_alone(mitigation="adaptive_alpha"), "mitigation adaptive_alpha needs a teacher"),
        (labels_alone(mitigation="mfd"), "mitigation mfd needs a teacher"),
        (
            mitigated("mfd", loss_weights={"kd": 1.0}),
            "mfd and a weight of the loss mfd go together",
        ),
        (
            stage(loss_weights={"kd": 1.0, "mfd": 1.0}),
            "mfd and a weight of the loss mfd go together",
        ),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(wanted, message):
    with pytest.raises(ConfigError, match=message):
        make_objective(wanted)


def test_a_model_that_gives_no_features_is_refused():
    with pytest.raises(ConfigError, match=r"^Linear gives no features before its classifier"):
        look_inside(torch.nn.Linear(2, 2), torch.zeros(1, 2), pooled=True)


def test_labels_alone_may_be_balanced_or_robust(tmp_path):
    for name in ("balanced_sampling", "group_dro"):
        epochs, _ = train(labels_alone(mitigation=name), tmp_path / name, teachers=[])
        assert len(epochs) == 2


@pytest.mark.parametrize(("name", "count"), [("none", 1), ("group_dro", 2)])
def test_a_shared_model_depends_on_the_groups_where_its_mitigation_does(tmp_path, name, count):
    for data in (GROUPED, with_groups(codes={k: v.flip(0) for k, v in CODES.items()})):
        train_once(
            labels_alone(epochs=1, mitigation=name),
            [],
            data=data,
            inputs=INPUTS,
            key="00000000000000aa",
            folder=tmp_path,
            device=CPU,
            cache=tmp_path,
        )
    assert len(list(tmp_path.glob("*/best.safetensors"))) == count
