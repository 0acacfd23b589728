"""The same image twice: counted and named, in any source, whether or not it fits into memory."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from image_folders import load_folder, make_image_folder
from PIL import Image

from autokd.config import DataConfig
from autokd.data import load, load_data
from autokd.errors import DataError

LEAK = "1 of 13 images of test are also in train (train/cat/cat1.png = test/cat/copy.png)"


def make_splits(root):
    rng = np.random.default_rng(1)
    for name in ("train", "val", "test"):
        make_image_folder(root / name)
        for path in (root / name).rglob("*.png"):
            Image.fromarray(rng.integers(0, 256, (10, 10, 3), np.uint8)).save(path)
    return root


def said(data, caplog):
    caplog.clear()
    data.say()
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("limit", [100, 2**30])
def test_copies_of_files_are_named_by_split_and_by_class(tmp_path, monkeypatch, caplog, limit):
    monkeypatch.setattr(load, "MEMORY_LIMIT", limit)
    root = make_splits(tmp_path / "set")
    before = load_folder(root, tmp_path)
    assert said(before, caplog) == []
    shutil.copy(root / "train" / "cat" / "cat1.png", root / "test" / "cat" / "copy.png")
    shutil.copy(root / "train" / "cat" / "cat2.png", root / "train" / "dog" / "copy.png")
    shutil.copy(root / "val" / "cat" / "cat2.png", root / "val" / "cat" / "copy.png")
    lines = said(load_folder(root, tmp_path), caplog)
    assert any(LEAK in line for line in lines)
    assert any("1 of 13 images of train repeat another one of train" in line for line in lines)
    assert any("1 of 13 images of val repeat another one of val" in line for line in lines)
    assert any(
        "1 image under two classes (train/cat/cat2.png = train/dog/copy.png)" in line
        for line in lines
    )
    assert len(lines) == 4


def test_files_of_one_size_and_one_end_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "MEMORY_LIMIT", 100)
    root = make_image_folder(tmp_path / "set", side=60, suffix="bmp")
    for number, path in enumerate(sorted(root.rglob("*.bmp"))):
        pixels = np.zeros((60, 60, 3), np.uint8)
        pixels[0, :, :] = min(number, 10)  # a bitmap is stored from its bottom up
        Image.fromarray(pixels[::-1]).save(path)
    groups = load_folder(root, tmp_path).train.images.reader.same
    assert groups == [[10, 11]]


@pytest.mark.parametrize("limit", [100, 2**30])
def test_copies_in_an_array_are_named_by_their_rows(tmp_path, monkeypatch, caplog, limit):
    monkeypatch.setattr(load, "MEMORY_LIMIT", limit)
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    images[39] = images[0]
    split = np.array(["Training"] * 20 + ["valid"] * 10 + ["test"] * 10)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(40) % 2, split=split)
    data = load_data(DataConfig(source="npz", root=tmp_path / "set.npz"), seed=0, cache=tmp_path)
    lines = said(data, caplog)
    assert "1 of 10 images of test are also in train (0 = 39)" in lines[0]
    assert "1 image under two classes (0 = 39)" in lines[1]


@pytest.mark.parametrize("limit", [100, 2**30])
def test_copies_can_be_dropped_from_train_and_val_and_never_from_test(
    tmp_path, monkeypatch, caplog, limit
):
    monkeypatch.setattr(load, "MEMORY_LIMIT", limit)
    root = make_splits(tmp_path / "set")
    copies = {
        "train/cat/cat1": "test/cat/copy",
        "train/dog/dog1": "val/dog/copy",
        "val/dog/dog2": "test/dog/copy",
        "train/dog/dog2": "train/dog/copy",
        "train/cat/cat3": "train/dog/other",
        "test/cat/cat2": "test/cat/twice",
    }
    for old, new in copies.items():
        shutil.copy(root / f"{old}.png", root / f"{new}.png")
    data = load_folder(root, tmp_path, copies="drop")
    left = {name: set(data.ids(getattr(data, name))) for name in ("train", "val", "test")}
    files = {
        name: {f"{name}/{p.parent.name}/{p.name}" for p in (root / name).rglob("*.png")}
        for name in left
    }
    assert left["test"] == files["test"]
    assert files["val"] - left["val"] == {"val/dog/dog2.png"}
    assert files["train"] - left["train"] == {
        f"train/{name}.png"
        for name in ("cat/cat1", "dog/dog1", "dog/dog2", "cat/cat3", "dog/other")
    }
    assert said(data, caplog) == [
        "set: copies dropped: 5 of train, 1 of val",
        "set: 1 of 15 images of test repeat another one of test (test/cat/cat2.png = test/cat/twice.png)",
    ]


def test_copies_in_an_array_can_be_dropped(tmp_path, caplog):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    images[19] = images[1]
    split = np.array(["train"] * 20 + ["val"] * 10 + ["test"] * 10)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(40) % 2, split=split)
    config = DataConfig(source="npz", root=tmp_path / "set.npz", copies="drop")
    data = load_data(config, seed=0, cache=tmp_path)
    assert data.train.rows.tolist() == list(range(19))
    assert said(data, caplog) == ["set: copies dropped: 1 of train"]


def test_a_class_that_would_be_lost_with_its_copies_is_named(tmp_path):
    root = make_splits(tmp_path / "set")
    for path in (root / "train" / "cat").iterdir():
        shutil.copy(path, root / "test" / "cat")
    with pytest.raises(DataError, match="drop leaves no image of class 'cat' in train"):
        load_folder(root, tmp_path, copies="drop")


@pytest.mark.parametrize("limit", [100, 2**30])
def test_images_without_labels_that_are_in_test_are_named(tmp_path, monkeypatch, caplog, limit):
    monkeypatch.setattr(load, "MEMORY_LIMIT", limit)
    root = make_splits(tmp_path / "set")
    data = load_folder(root, tmp_path, unlabelled=root / "test")
    line, *others = said(data, caplog)
    assert "12 of 12 images of test are also in unlabelled (image 0 of data.unlabelled = " in line
    assert line.endswith("take them out of data.unlabelled")
    assert not others
