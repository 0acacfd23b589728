"""Features of models: taps at the same relative depth of any architecture, comparisons, and teachers asked for them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import tiny_task
import torch
from safetensors.torch import load_file
from tiny_task import CPU, make_data, make_teacher, stage

from autokd.answers import CachedLogits, LiveLogits, answers_for, needs_live_teacher
from autokd.data import train_batches
from autokd.distill import BEST, train_stage
from autokd.feature_losses import FEATURE_LOSSES
from autokd.objective import Objective
from autokd.projectors import Comparison
from autokd.records import StudentSpec
from autokd.students import DEPTHS, InputFormat, Seen, create_student, look_inside
from autokd.students.features import tap_places
from autokd.teachers import Teacher, build_student

DATA = make_data()
INPUTS = InputFormat(image_size=8, mean=DATA.mean, std=DATA.std)

MODELS = {  # one of each kind, at the size of small images
    "resnet": ({"width": 8, "depth": 1, "stages": 3, "stem_stride": 1}, 32),
    "convnext": ({"width": 8, "depth": 1, "patch_size": 1}, 16),
    "vit": ({"heads": 2, "head_dim": 8, "depth": 4, "patch_size": 4}, 16),
    "mobilenetv3": ({"variant": "small", "width": 0.35, "depth": 1.0, "stem_stride": 1}, 32),
    "efficientnet": ({"width": 0.4, "depth": 0.5, "stem_stride": 1}, 32),
    "deit_tiny_distilled_patch16_224": ({"depth": 2, "embed_dim": 24}, 32),  # two prefix tokens
    "swin_tiny_patch4_window7_224": ({"depths": (1, 1, 1, 1), "embed_dim": 24}, 64),
}


def see(name: str, *, taps: int = len(DEPTHS)) -> tuple[Seen, torch.Tensor]:
    arguments, size = MODELS[name]
    torch.manual_seed(0)
    spec = StudentSpec(model=name, arguments=arguments, image_size=size)
    model = create_student(spec, classes=4, channels=3).eval()
    pixels = torch.randn(3, 3, size, size)
    with torch.no_grad():
        return look_inside(model, pixels, taps=taps, pooled=True), model(pixels)


@pytest.mark.parametrize("name", MODELS)
def test_a_look_inside_has_the_models_own_logits_and_maps_from_the_deepest_up(name):
    seen, logits = see(name)
    torch.testing.assert_close(seen.logits, logits)
    assert seen.pooled is not None
    assert seen.pooled.dim() == 2
    assert len(seen.maps) == len(DEPTHS)
    sides = [m.shape[2] for m in seen.maps]
    assert sides == sorted(sides)
    assert all(m.dim() == 4 and len(m) == 3 for m in seen.maps)


def test_taps_are_the_same_shares_of_every_depth():
    assert tap_places(4, 3) == [3, 2, 1]
    assert tap_places(5, 3) == [4, 3, 2]
    assert tap_places(12, 3) == [11, 8, 5]
    assert tap_places(1, 3) == [0, 0, 0]
    assert tap_places(12, 1) == [11]


@pytest.mark.slow
@pytest.mark.parametrize("loss", FEATURE_LOSSES)
@pytest.mark.parametrize(("own", "other"), [*itertools.product(["resnet", "vit"], MODELS)])
def test_any_two_models_can_be_compared_by_any_loss(loss, own, other):
    student, teacher = see(own, taps=2)[0], see(other, taps=2)[0]
    compare = Comparison(FEATURE_LOSSES[loss], student, teacher)
    value = compare(student, teacher)
    assert value.isfinite()
    assert value > 0 or (own == other and not list(compare.parameters()))


def test_several_taps_count_as_their_mean():
    student, teacher = see("resnet", taps=2)[0], see("convnext", taps=2)[0]
    loss = FEATURE_LOSSES["at"]
    each = [
        Comparison(loss, student._replace(maps=(a,)), teacher._replace(maps=(b,)))(
            student._replace(maps=(a,)), teacher._replace(maps=(b,))
        )
        for a, b in zip(student.maps, teacher.maps, strict=True)
    ]
    torch.testing.assert_close(
        Comparison(loss, student, teacher)(student, teacher), torch.stack(each).mean()
    )


def compared(name: str, **changes):
    weights = {"ce": 0.5, "kd": 0.5, name: FEATURE_LOSSES[name].weight / 100}
    return stage(loss_weights=weights, **changes)


def answers(wanted, folder, teacher=None):
    views = DATA.views(wanted.training.augmentation, cache=folder)
    return answers_for(
        wanted, teacher or make_teacher(DATA), views, folder, classes=tiny_task.CLASSES
    )


def train(wanted, folder, *, resume=False, until=None, teacher=None):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    student = build_student(tiny_task.SMALL, DATA)
    epochs = train_stage(
        wanted, student, [answers(wanted, folder, teacher)], inputs=INPUTS,
        views=DATA.views(wanted.training.augmentation, cache=folder), val=DATA.val, seed=0, device=CPU,
        folder=folder, resume=resume, until=until,
    )  # fmt: skip
    return list(epochs), student


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_a_student_learns_with_every_loss_on_features_and_keeps_nothing_of_it(tmp_path, name):
    epochs, student = train(compared(name, epochs=4, taps=2), tmp_path)
    assert max(epoch.val_accuracy for epoch in epochs) > 0.5  # chance: 0.25
    assert load_file(tmp_path / BEST).keys() == student.state_dict().keys()
    assert not any(module._forward_hooks for module in student.modules())


@pytest.mark.parametrize("name", ["hint", "pooled"])
def test_training_with_projectors_goes_on_as_if_it_had_not_paused(tmp_path, name):
    wanted = compared(name, epochs=3)
    straight, student = train(wanted, tmp_path / "straight")
    first, _ = train(wanted, tmp_path / "paused", until=1)
    rest, same = train(wanted, tmp_path / "paused", resume=True)
    assert [replace(e, seconds=0) for e in straight] == [
        replace(e, seconds=0) for e in (*first, *rest)
    ]
    for key, value in student.state_dict().items():
        assert torch.equal(same.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        (stage(), False),
        (compared("rkd"), False),
        (compared("pooled"), False),
        (compared("sp"), True),
        (stage(mixup=0.2), True),
        (stage(cutmix=1.0), True),
        (stage(teachers=(), loss_weights={"ce": 1.0}, mixup=0.2), False),
    ],
)
def test_a_teacher_is_asked_live_only_for_what_cannot_be_kept(tmp_path, wanted, live):
    assert needs_live_teacher(wanted) == live
    assert type(answers(wanted, tmp_path)) is (LiveLogits if live else CachedLogits)


@pytest.mark.parametrize("augmentation", ["none", "light", "strong"])
def test_live_and_cached_logits_are_of_the_very_pixels_that_the_student_sees(
    tmp_path, augmentation
):
    """For every view: what is asked live of a batch's pixels is what was kept of the view."""
    wanted, teacher = stage(augmentation=augmentation), make_teacher(DATA)
    views = DATA.views(augmentation, cache=tmp_path)
    cached = CachedLogits(teacher, views, tmp_path, classes=tiny_task.CLASSES)
    options = {"taps": 0, "pooled": True, "classes": tiny_task.CLASSES}
    live = LiveLogits(teacher, views, tmp_path, **options)
    for view in range(views.count):
        for batch in train_batches(
            views, view=view, batch_size=50, seed=0, epoch=1 + view, device=CPU
        ):
            for ask in ("logits", "features"):
                kept, now = (getattr(each, ask)(batch, view) for each in (cached, live))
                torch.testing.assert_close(kept, now, rtol=2e-3, atol=2e-3)
    assert wanted.training.augmentation == augmentation


def test_a_live_teacher_is_asked_once_a_batch_and_stays_in_eval_mode(tmp_path):
    teacher = make_teacher(DATA)
    calls = []
    teacher.model.register_forward_pre_hook(lambda *_: calls.append(1))
    wanted = stage(mixup=0.2, epochs=2)
    teacher.model.train()  # somebody's mistake
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    train(wanted, tmp_path, teacher=teacher)
    assert len(calls) == 2 * 4  # epochs x batches
    for name, value in teacher.model.state_dict().items():
        assert torch.equal(before[name], value), name
    assert not teacher.model.training


def test_neither_the_teacher_nor_what_it_makes_of_images_gets_a_gradient(tmp_path):
    wanted, teacher = compared("hint"), make_teacher(DATA)
    live = answers(wanted, tmp_path, teacher)
    torch.manual_seed(0)
    student = build_student(tiny_task.SMALL, DATA)
    objective = Objective(
        wanted, student, [live], train=DATA.train, val=DATA.val, inputs=INPUTS, device=CPU
    )
    views = DATA.views("none", cache=tmp_path)
    batch = next(train_batches(views, view=0, batch_size=32, seed=0, epoch=1, device=CPU))
    loss, terms = objective(student, batch, 0, progress=0.0)
    loss.backward()
    assert set(terms) == {"ce", "kd", "hint"}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.parameters)
    own = {id(p) for p in [*student.parameters(), *objective.parameters]}
    assert all(id(p) not in own and p.grad is None for p in teacher.model.parameters())


def test_a_vision_transformer_teaches_a_convolutional_student_by_its_maps(tmp_path):
    spec = StudentSpec(
        model="vit",
        arguments={"heads": 2, "head_dim": 8, "depth": 4, "patch_size": 2},
        image_size=8,
    )
    torch.manual_seed(0)
    teacher = Teacher(build_student(spec, DATA), INPUTS, "vit", CPU)
    epochs, _ = train(compared("hint", epochs=4, taps=3), tmp_path, teacher=teacher)
    assert max(epoch.val_accuracy for epoch in epochs) > 0.5
