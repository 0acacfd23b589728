"""The same image twice: counted and named, in any source, whether or not it fits into memory."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from image_folders import load_folder, make_image_folder
from PIL import Image

from autokd.config import DataConfig
from autokd.data import load, load_data

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
