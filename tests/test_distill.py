"""The stage loop: students learn, the best epoch is kept, trouble has a name, and seeds decide everything."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import tiny_task
import torch
from safetensors.torch import load_file
from tiny_task import CPU, labels_alone, make_data, make_teacher, stage

from autokd.data import Batch, MemoryImages
from autokd.distill import BEST, LAST, train_stage
from autokd.errors import StorageError, TrainingDivergedError
from autokd.evaluation import evaluate, predict
from autokd.losses import cross_entropy, kd
from autokd.objective import loss_terms
from autokd.students import InputFormat
from autokd.task import build_student
from autokd.teachers import CachedLogits
from autokd.weights import load_weights, save_weights

DATA = make_data()
INPUTS = InputFormat(image_size=8, mean=DATA.mean, std=DATA.std)


def fresh_student(seed: int = 0):
    torch.manual_seed(seed)
    return build_student(tiny_task.SMALL, DATA)


def train(wanted, folder, *, teachers=(), data=DATA, student=None, seed=0, **options):
    """All epochs of a stage, and the student."""
    student = student or fresh_student()
    folder.mkdir(exist_ok=True)
    views = data.views(wanted.training.augmentation, cache=folder)
    epochs = train_stage(
        wanted,
        student,
        teachers,
        inputs=INPUTS,
        views=views,
        val=data.val,
        seed=seed,
        device=CPU,
        folder=folder,
        **options,
    )
    return list(epochs), student


class FixedLogits:
    """A teacher that knows the labels and is sure of them."""

    def logits(self, batch: Batch, view: int):
        return 8.0 * torch.nn.functional.one_hot(batch.labels, tiny_task.CLASSES).float()


def test_a_student_learns_from_labels_far_beyond_chance(tmp_path):
    epochs, _ = train(labels_alone(epochs=6), tmp_path)
    assert max(epoch.val_accuracy for epoch in epochs) > 0.7  # chance: 0.25


def test_a_student_learns_from_a_teachers_logits_alone(tmp_path):
    wanted = stage(epochs=6, loss_weights={"kd": 1.0})
    epochs, _ = train(wanted, tmp_path, teachers=[FixedLogits()])
    assert max(epoch.val_accuracy for epoch in epochs) > 0.7


def test_each_epoch_is_reported_once_and_in_order(tmp_path):
    epochs, _ = train(labels_alone(epochs=3), tmp_path)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert {epoch.stage for epoch in epochs} == {"student"}
    assert all(math.isfinite(epoch.train_loss) and epoch.seconds > 0 for epoch in epochs)


def test_an_epoch_is_trained_only_when_it_is_asked_for(tmp_path):
    student = fresh_student()
    views = DATA.views("none", cache=tmp_path)
    epochs = train_stage(
        labels_alone(epochs=2), student, [], inputs=INPUTS, views=views, val=DATA.val, seed=0,
        device=CPU, folder=tmp_path,
    )  # fmt: skip
    next(epochs)
    assert (tmp_path / BEST).exists()
    assert not (tmp_path / LAST).exists()


def test_the_best_epochs_weights_and_the_last_ones_are_kept(tmp_path):
    epochs, student = train(labels_alone(epochs=8), tmp_path)
    best = max(epochs, key=lambda epoch: epoch.val_accuracy)
    assert best is not epochs[-1], "the case needs a best epoch that is not the last"
    reloaded = fresh_student(seed=1).to(
        memory_format=torch.channels_last
    )  # kernels differ in the last digit
    load_weights(reloaded, tmp_path / BEST)
    measured = evaluate(reloaded, DATA.val, inputs=INPUTS, device=CPU)
    assert (measured.accuracy, measured.loss) == (best.val_accuracy, best.val_loss)
    load_weights(reloaded, tmp_path / LAST)
    for name, value in student.state_dict().items():
        assert torch.equal(reloaded.state_dict()[name], value), name


def test_a_best_of_an_earlier_stage_stands_until_it_is_beaten(tmp_path):
    (tmp_path / BEST).write_bytes(b"an earlier stage's")
    train(labels_alone(), tmp_path, at_least=1.0)
    assert (tmp_path / BEST).read_bytes() == b"an earlier stage's"
    train(labels_alone(), tmp_path, at_least=0.0)
    assert load_file(tmp_path / BEST).keys() == fresh_student().state_dict().keys()


def test_patience_ends_a_stage_that_gets_no_better(tmp_path):
    wanted = labels_alone(epochs=9, patience=2)
    epochs, _ = train(wanted, tmp_path, at_least=1.0)  # no epoch is better than that
    assert len(epochs) == 2
    assert (tmp_path / LAST).exists()


def test_the_learning_rate_rises_then_falls_and_never_rests_at_zero(tmp_path):
    # 100 images in batches of 64 are two steps an epoch, the second one smaller.
    epochs, _ = train(labels_alone(epochs=10, batch_size=64), tmp_path, data=make_data(train=100))
    rates = [epoch.learning_rate for epoch in epochs]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] > 0
    assert max(rates) <= tiny_task.TRAINING.learning_rate


def test_a_loss_that_runs_away_is_named_by_stage_and_epoch(tmp_path):
    wanted = labels_alone(optimizer="sgd", learning_rate=1e6, epochs=3)
    with pytest.raises(
        TrainingDivergedError, match=r"^student, epoch \d: the .*loss.* became (nan|inf)"
    ):
        train(wanted, tmp_path)


class NoLogits:
    """A teacher whose numbers have overflowed."""

    def logits(self, batch: Batch, view: int):
        return torch.full((len(batch.labels), tiny_task.CLASSES), torch.nan)


@pytest.mark.parametrize(
    ("batch_size", "terms"),
    [(128, "kd loss"), (32, "ce and kd losses")],  # from the second step on, nothing is a number
    ids=["one step", "several steps"],
)
def test_a_loss_that_is_not_a_number_is_named_by_all_terms_that_it_reached(
    tmp_path, batch_size, terms
):
    with pytest.raises(TrainingDivergedError, match=f"^student, epoch 1: the {terms} became nan$"):
        train(stage(batch_size=batch_size), tmp_path, teachers=[NoLogits()])


def test_the_same_seed_gives_the_same_student_and_another_seed_another(tmp_path):
    first, student = train(labels_alone(), tmp_path / "a")
    again, same = train(labels_alone(), tmp_path / "b")
    _, other = train(labels_alone(), tmp_path / "c", seed=1)
    assert [replace(e, seconds=0) for e in first] == [replace(e, seconds=0) for e in again]
    weights = [m.get_classifier().weight for m in (student, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_stage_leaves_its_teacher_as_it_was(tmp_path):
    teacher = make_teacher(DATA)
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    views = DATA.views("none", cache=tmp_path)
    logits = CachedLogits(teacher, views, tmp_path, classes=tiny_task.CLASSES)
    train(stage(), tmp_path, teachers=[logits])
    for name, value in teacher.model.state_dict().items():
        assert torch.equal(before[name], value), name
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_several_teachers_count_equally():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(5) % 4
    terms = loss_terms(stage(label_smoothing=0.1), logits[0], [logits[1], logits[2]], labels)
    each = [kd(logits[0], t, labels, temperature=2.0) for t in logits[1:]]
    torch.testing.assert_close(terms["kd"], sum(each) / 2)
    torch.testing.assert_close(terms["ce"], cross_entropy(logits[0], labels, label_smoothing=0.1))


def test_predictions_come_in_the_splits_order_whatever_mode_the_model_was_in():
    student = fresh_student().train()
    logits = predict(student, DATA.val, inputs=INPUTS, device=CPU)
    assert isinstance(DATA.val.images, MemoryImages)
    with torch.inference_mode():
        one = student.eval()(INPUTS.prepare(DATA.val.images.pixels[7:8]))
    assert logits.shape == (len(DATA.val), tiny_task.CLASSES)
    torch.testing.assert_close(logits[7:8], one)


def test_evaluation_is_the_share_of_right_answers_and_the_mean_cross_entropy():
    student = fresh_student()
    logits = predict(student, DATA.val, inputs=INPUTS, device=CPU)
    measured = evaluate(student, DATA.val, inputs=INPUTS, device=CPU)
    right = sum(
        int(row.argmax()) == int(label) for row, label in zip(logits, DATA.val.labels, strict=True)
    )
    assert measured.accuracy == right / len(DATA.val)
    assert measured.loss == pytest.approx(float(cross_entropy(logits, DATA.val.labels)))


def test_weights_that_cannot_be_written_are_a_matter_of_storage(tmp_path):
    with pytest.raises(StorageError, match=r"gone/best\.safetensors: can't be written: "):
        save_weights(fresh_student(), tmp_path / "gone" / BEST)
