"""Views: drawn once, equal to augmenting each sample, rebuilt when their file is damaged."""

from __future__ import annotations

import logging
import multiprocessing

import numpy as np
import pytest
import torch

from autokd.config import DataConfig
from autokd.data import AUGMENTATIONS, LazyImages, Split, Views, array_file, augment, load_data
from autokd.data.images import ArrayReader
from autokd.errors import ConfigError, StorageError

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    config = DataConfig(source="digits", limit=60, views=2)
    return load_data(config, seed=0, cache=tmp_path_factory.mktemp("cache"))


def lazily(split: Split) -> Split:
    """The same split, read when asked for."""
    pixels = split.images.pixels
    images = LazyImages(ArrayReader(pixels), np.arange(len(pixels)), 8, 1)
    return Split(images=images, labels=split.labels, rows=split.rows, metadata=None)


@pytest.mark.parametrize("name", ["light", "medium", "strong"])
def test_a_view_equals_augmenting_each_sample(digits, tmp_path, name):
    pixels = digits.views(name, cache=tmp_path).pixels(1)
    for i in range(len(digits.train)):
        image = digits.train.images[i]
        alone = augment(image, name, flip=False, seed=0, sample=i, view=1)
        assert torch.equal(pixels[i], alone)


def test_a_lazily_read_split_has_the_same_views_one_sample_at_a_time(digits, tmp_path):
    views = digits.views("light", cache=tmp_path)
    lazy = Views(
        split=lazily(digits.train),
        augmentation="light",
        count=2,
        seed=0,
        flip=False,
        cache=tmp_path,
        data_hash=digits.info.hash,
    )
    assert lazy.pixels(0) is None
    assert torch.equal(torch.stack([lazy.sample(i, 0) for i in range(len(lazy))]), views.pixels(0))


def test_a_view_is_drawn_once(digits, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(3):
        digits.views("light", cache=tmp_path).pixels(0)
    assert sum("drawing view" in message for message in caplog.messages) == 1


def test_without_augmentation_there_is_one_view_the_split_itself_and_no_file(digits, tmp_path):
    views = digits.views("none", cache=tmp_path)
    assert views.count == 1
    assert torch.equal(views.pixels(0), digits.train.images.pixels)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"view must be 0\.\.0, got 1"):
        views.pixels(1)


@pytest.mark.parametrize("damage", ["cut short", "one byte changed", "another shape", "no array"])
def test_a_damaged_view_file_is_rebuilt_and_said_so(digits, tmp_path, damage, caplog):
    views = digits.views("light", cache=tmp_path)
    whole = views.pixels(0).clone()
    (path,) = tmp_path.glob("views-*.npy")
    content = bytearray(path.read_bytes())
    if damage == "cut short":
        content = content[: len(content) // 2]
    elif damage == "one byte changed":
        content[len(content) // 2] ^= 255
    elif damage == "another shape":
        count = str(len(views)).encode()
        content = content.replace(b"(" + count, b"(" + count[::-1], 1)
    else:
        content = bytearray(len(content))
    path.write_bytes(content)
    assert torch.equal(digits.views("light", cache=tmp_path).pixels(0), whole)
    assert "it is made again" in caplog.text


def test_writing_to_a_view_does_not_change_its_file(digits, tmp_path):
    views = digits.views("light", cache=tmp_path)
    pixels = views.pixels(0)
    kept = pixels.clone()
    pixels.zero_()
    assert torch.equal(views.pixels(0), kept)


@pytest.mark.parametrize(
    "change", [{"augmentation": "medium"}, {"seed": 1}, {"flip": True}, {"data_hash": "other"}]
)
def test_the_fingerprint_names_what_the_pixels_depend_on(digits, tmp_path, change):
    fields = {"augmentation": "light", "seed": 0, "flip": False, "data_hash": "this"}
    first = Views(split=digits.train, count=2, cache=tmp_path, **fields)
    second = Views(split=digits.train, count=2, cache=tmp_path, **(fields | change))
    more = Views(split=digits.train, count=9, cache=tmp_path / "elsewhere", **fields)
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == more.fingerprint


def test_the_fingerprint_changes_with_the_augmentations_code(digits, tmp_path, monkeypatch):
    before = digits.views("light", cache=tmp_path).fingerprint
    monkeypatch.setitem(AUGMENTATIONS, "light", lambda image, flip: image.flip(-1))
    assert digits.views("light", cache=tmp_path).fingerprint != before


def draw_in_process(path, queue):
    tensor = array_file(path, shape=(4, 3), dtype=np.float16, make=lambda: [np.ones((4, 3))])
    queue.put(float(tensor.float().sum()))


def test_two_processes_that_make_one_file_at_once_both_get_it_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [
        context.Process(target=draw_in_process, args=(tmp_path / "a.npy", queue)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    assert [queue.get(timeout=20) for _ in processes] == [12.0, 12.0]
    for process in processes:
        process.join()
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_a_cache_that_can_not_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"a\.npy: can't be written"):
        array_file(tmp_path / "file" / "a.npy", shape=(1,), dtype=np.uint8, make=lambda: [])


def test_a_failure_while_making_leaves_no_file_behind(tmp_path):
    def make():
        yield np.zeros(2, dtype=np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        array_file(tmp_path / "a.npy", shape=(4,), dtype=np.uint8, make=make)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_no_views_at_all_are_refused(digits, tmp_path):
    with pytest.raises(ConfigError, match="views must be at least 1, got 0"):
        Views(
            split=digits.train,
            augmentation="light",
            count=0,
            seed=0,
            flip=True,
            cache=tmp_path,
            data_hash="",
        )
