"""Images without labels: shown to students that have a teacher, counted in no loss on labels, refused where a label is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_task
import torch
from PIL import Image
from tiny_task import candidate, labels_alone, make_split, make_task, stage
from torch.nn import functional as F

from autokd.config import DataConfig, parse_config
from autokd.data import LazyImages, load, load_data
from autokd.data.batches import train_batches
from autokd.data.unlabelled import add_unlabelled, without_labels
from autokd.errors import ConfigError, DataError
from autokd.losses import cross_entropy
from autokd.records import UNLABELLED
from autokd.space import Space
from autokd.teachers import views_of
from autokd.trial import run_trial

COUNT = 24


def make_folder(root):
    """Grey pictures of several sizes, some of them deeper than others."""
    rng = np.random.default_rng(1)
    for number in range(COUNT):
        folder = root / "deeper" / "still" if number % 2 else root
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (10 + number, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def make_npz(path):
    images = np.random.default_rng(1).integers(0, 256, (COUNT, 9, 9), dtype=np.uint8)
    np.savez(path, images=images)
    return path


def load_digits(path, cache):
    return load_data(DataConfig(source="digits", limit=200, unlabelled=path), seed=0, cache=cache)


@pytest.mark.parametrize("make", [make_folder, make_npz], ids=["folder", "npz"])
def test_images_without_labels_follow_those_of_train(tmp_path, make):
    path = make(tmp_path / ("images.npz" if make is make_npz else "images"))
    data, plain = load_digits(path, tmp_path), load_digits(None, tmp_path)
    count = len(data.train)
    assert data.info.unlabelled_count == COUNT
    assert len(data.transfer) == count + COUNT
    assert torch.equal(data.transfer.images.pixels[:count], data.train.images.pixels)
    assert torch.equal(data.transfer.labels[:count], data.train.labels)
    assert set(data.transfer.labels[count:].tolist()) == {UNLABELLED}
    assert torch.equal(plain.train.images.pixels, data.train.images.pixels)
    assert (data.mean, data.std) == (plain.mean, plain.std)
    assert data.info.hash != plain.info.hash  # a search with them is another search


def test_only_stages_with_a_teacher_are_shown_them(tmp_path):
    data = load_digits(make_npz(tmp_path / "images.npz"), tmp_path)
    taught, alone = (data.views("light", cache=tmp_path, taught=t) for t in (True, False))
    assert len(taught) == len(alone) + COUNT
    assert torch.equal(taught.pixels(1)[: len(alone)], alone.pixels(1))
    assert taught.fingerprint != alone.fingerprint
    plain = load_digits(None, tmp_path)
    assert plain.shown(taught=True) is plain.train


def test_what_does_not_fit_in_memory_is_read_when_asked_for(tmp_path, monkeypatch):
    path = make_folder(tmp_path / "images")
    whole = load_digits(path, tmp_path)
    monkeypatch.setattr(load, "MEMORY_LIMIT", 100)
    lazy = load_digits(path, tmp_path)
    assert isinstance(lazy.train.images, LazyImages)
    for place in (0, len(lazy.train), len(lazy.transfer) - 1):
        assert torch.equal(lazy.transfer.images[place], whole.transfer.images[place])
    batches = train_batches(
        lazy.views("none", cache=tmp_path, taught=True),
        view=0, batch_size=64, seed=0, epoch=1, device="cpu", processes=0,
    )  # fmt: skip
    assert sum(int((batch.labels == UNLABELLED).sum()) for batch in batches) == COUNT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "is neither a folder of images nor an .npz file"),
        ("empty", "holds no image"),
        ("labels.npz", "needs the array images, has labels"),
        ("bad", r"bad.png: is not a readable image"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.png").write_bytes(b"no image")
    np.savez(tmp_path / "labels.npz", labels=np.arange(3))
    with pytest.raises(DataError, match=message):
        load_digits(tmp_path / name, tmp_path)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_the_mean_over_those_with_a_label(smoothing):
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4, requires_grad=True), torch.tensor([0, -1, 3, -1, 1, 2])
    known = labels != UNLABELLED
    expected = F.cross_entropy(logits[known], labels[known], label_smoothing=smoothing)
    loss = cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient.abs().sum(dim=1) > 0, known)
    each = cross_entropy(logits, labels, reduction="none")
    assert torch.equal(each > 0, known)


def test_a_batch_without_any_label_has_no_loss_on_labels():
    logits = torch.randn(3, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((3,), UNLABELLED))
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.abs().sum() == 0


def with_unlabelled(count: int):
    data = tiny_task.make_data()
    extra = make_split(count, seed=3).images
    return replace(data, transfer=add_unlabelled(data.train, without_labels(extra)))


def test_a_student_learns_from_them_and_labels_alone_do_not(tmp_path):
    plain = make_task(tiny_task.make_data(), tmp_path / "plain")
    more = make_task(with_unlabelled(64), tmp_path / "more")
    found = {}
    for name, wanted in {"taught": candidate(), "alone": None}.items():
        wanted = wanted or replace(candidate(), stages=(labels_alone(),))
        for task in (plain, more):
            folder = tmp_path / name / task.cache.name
            result = run_trial(wanted, task, number=0, seed=1, folder=folder)
            assert result.state == "complete", result.reason
            found[name, task.cache.name] = (folder / "last.safetensors").read_bytes()
    assert found["alone", "plain"] == found["alone", "more"]
    assert found["taught", "plain"] != found["taught", "more"]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 128 + 8),
        ({"loss_weights": {"ce": 1.0, "pooled": 1.0}}, 128 + 8),
        ({"teachers": (), "loss_weights": {"ce": 1.0}}, 128),
        ({"mixup": 0.2}, 128),
        ({"loss_weights": {"ce": 1.0, "dkd": 1.0}}, 128),
        ({"mitigation": "group_dro"}, 128),
    ],
    ids=["kd", "features", "labels", "mixup", "dkd", "group_dro"],
)
def test_a_stage_that_needs_every_label_is_shown_the_labelled_images_alone(
    tmp_path, changes, count
):
    task = make_task(with_unlabelled(8), tmp_path)
    assert len(views_of(stage(**changes), task.data, cache=tmp_path)) == count
    wanted = replace(candidate(), stages=(stage(epochs=1, **changes),))
    result = run_trial(wanted, task, number=0, seed=1, folder=tmp_path / "0")
    assert result.state == "complete", result.reason


@pytest.mark.parametrize(
    ("section", "values", "named"),
    [
        ("train", {"cutmix": [0.0, 0.5]}, "train.cutmix"),
        ("distill", {"loss": ["kd", "dkd"]}, "distill.loss dkd"),
        ("distill", {"mitigation": ["none", "mfd"]}, "distill.mitigation mfd"),
    ],
)
def test_a_space_that_needs_every_label_is_refused_before_anything_is_trained(
    section, values, named
):
    record = {
        "data": {"source": "digits", "unlabelled": "somewhere"},
        "teacher": {"model": "resnet", "train": {"epochs": 1}},
        "students": {"model": "resnet"},
        section: values,
    }
    with pytest.raises(ConfigError, match=rf"^data\.unlabelled: {named} needs a label"):
        Space(parse_config(record, source="mine.yaml"), image_size=8)
    # a stage of their own may have the images without labels to itself
    record["schedule"] = {"pretrain_epochs": [0, 2]}
    assert Space(parse_config(record, source="mine.yaml"), image_size=8)
