"""What keeps a student from learning its images by heart: mixing, averaged weights, short steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_task
import torch
from safetensors.torch import load_file
from tiny_task import CPU, labels_alone, make_data

from autokd.data import Batch
from autokd.data.mixing import make_mixing
from autokd.distill import BEST, LAST, train_stage
from autokd.evaluation import evaluate
from autokd.students import InputFormat
from autokd.teachers import build_student
from autokd.weights import load_weights

DATA = make_data()
INPUTS = InputFormat(image_size=8, mean=DATA.mean, std=DATA.std)


def fresh_student():
    torch.manual_seed(0)
    return build_student(tiny_task.SMALL, DATA)


def train(wanted, folder, **options):
    folder.mkdir(exist_ok=True)
    student = fresh_student()
    epochs = train_stage(
        wanted, student, [], inputs=INPUTS, views=DATA.views("none", cache=folder), val=DATA.val,
        seed=0, device=CPU, folder=folder, **options,
    )  # fmt: skip
    return list(epochs), student


def some_batch() -> Batch:
    pixels = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    return Batch(pixels, torch.arange(6) % 4, torch.arange(6))


def test_mixed_images_are_shares_of_two_and_their_labels_the_same_shares():
    torch.manual_seed(0)
    batch = some_batch()
    mixed = make_mixing(0.5, 0.0, classes=4)(batch)
    other = batch._replace(pixels=batch.pixels.roll(1, 0), labels=batch.labels.roll(1, 0))
    share = mixed.labels[0, batch.labels[0]].item()
    assert 0 < share < 1
    expected = share * batch.pixels.float() + (1 - share) * other.pixels.float()
    torch.testing.assert_close(mixed.pixels, expected)
    torch.testing.assert_close(mixed.labels.sum(dim=1), torch.ones(6))
    assert torch.equal(mixed.index, batch.index)


def test_a_cut_out_piece_has_the_share_of_the_label_that_it_has_of_the_image():
    torch.manual_seed(1)
    batch = some_batch()
    mixed = make_mixing(0.0, 1.0, classes=4)(batch)
    kept = (mixed.pixels == batch.pixels.float()).all(dim=0).float().mean().item()
    assert 0 < kept < 1
    torch.testing.assert_close(mixed.labels[0, batch.labels[0]].item(), kept)


def test_without_either_a_batch_stays_what_it_is():
    batch = some_batch()
    assert make_mixing(0.0, 0.0, classes=4)(batch) is batch


CHANGES = [
    {"mixup": 0.2},
    {"cutmix": 1.0},
    {"mixup": 0.2, "cutmix": 1.0},
    {"ema": 0.9},
    {"clip_norm": 0.5},
    {"mixup": 0.2, "ema": 0.9, "clip_norm": 0.5, "drop_rate": 0.1},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: "+".join(c))
def test_a_student_learns_and_a_pause_leaves_no_trace(tmp_path, changes):
    wanted = labels_alone(epochs=6, **changes)
    straight, student = train(wanted, tmp_path / "straight")
    assert max(epoch.val_accuracy for epoch in straight) > 0.5  # chance: 0.25
    first, _ = train(wanted, tmp_path / "paused", until=2)
    rest, _ = train(wanted, tmp_path / "paused", resume=True)
    assert [replace(e, seconds=0) for e in straight] == [
        replace(e, seconds=0) for e in (*first, *rest)
    ]
    ends = [load_file(tmp_path / folder / LAST) for folder in ("straight", "paused")]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    assert ends[0].keys() == student.state_dict().keys()  # nothing of the average around it


@pytest.mark.parametrize("changes", CHANGES[:1] + CHANGES[3:5], ids=lambda c: "+".join(c))
def test_each_of_them_changes_the_student(tmp_path, changes):
    train(labels_alone(epochs=1), tmp_path / "plain")
    train(labels_alone(epochs=1, **changes), tmp_path / "changed")
    plain, changed = (load_file(tmp_path / folder / BEST) for folder in ("plain", "changed"))
    assert any(not torch.equal(value, changed[name]) for name, value in plain.items())


def test_averaged_weights_are_what_is_measured_and_kept(tmp_path):
    epochs, student = train(labels_alone(epochs=3, ema=0.9), tmp_path)
    kept = fresh_student().to(memory_format=torch.channels_last)
    load_weights(kept, tmp_path / LAST)
    measured = evaluate(kept, DATA.val, inputs=INPUTS, device=CPU)
    assert (measured.accuracy, measured.loss) == (epochs[-1].val_accuracy, epochs[-1].val_loss)
    weights = student.state_dict()
    assert any(not torch.equal(v, weights[k]) for k, v in kept.state_dict().items())


def test_a_step_is_no_longer_than_the_clipped_gradient_lets_it_be(tmp_path):
    options = {"optimizer": "momentum", "epochs": 1, "batch_size": 128, "weight_decay": 0.0}
    before = fresh_student().state_dict()
    _, student = train(labels_alone(clip_norm=0.01, learning_rate=1.0, **options), tmp_path)
    moved = [(p - before[name]).norm() for name, p in student.named_parameters()]
    assert 0 < torch.stack(moved).norm() <= 0.0101  # one step
