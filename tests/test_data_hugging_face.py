"""Hugging Face sets, read from disk in the hub's layout: no network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from autokd.config import DataConfig
from autokd.data import LazyImages, load, load_data

pytest.importorskip("datasets", reason="needs the optional package datasets")


@pytest.fixture
def root(tmp_path):
    for split, count in (("train", 12), ("test", 4)):
        for name in ("cat", "dog"):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.full((10, 10, 3), 10 * i + (name == "dog"), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "set"


def test_splits_classes_and_pixels_are_those_on_disk(root, tmp_path, monkeypatch):
    config = DataConfig(source="hf", name=str(root), root=tmp_path / "hub", image_size=10)
    small = load_data(config, seed=0, cache=tmp_path)
    assert small.info.class_names == ("cat", "dog")
    assert (small.info.train_count, small.info.val_count, small.info.test_count) == (20, 4, 8)
    assert torch.equal(small.train.images.pixels[:, 0, 0, 0] % 10, small.train.labels)
    monkeypatch.setattr(load, "MEMORY_LIMIT", 0)
    large = load_data(config, seed=0, cache=tmp_path)
    assert isinstance(large.train.images, LazyImages)
    assert all(torch.equal(large.train.images[i], small.train.images[i]) for i in range(20))
