"""Batches: every image once, an order that follows from seed and epoch, errors in one line."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autokd.config import DataConfig
from autokd.data import eval_batches, load, load_data, train_batches, view_batches
from autokd.data.batches import _from_files, epoch_order, refuse_little_shared_memory
from autokd.errors import ConfigError, DataError, StorageError

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    config = DataConfig(source="digits", limit=60, views=2)
    return load_data(config, seed=0, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def lazy(tmp_path, monkeypatch):
    """Twelve images of three classes in a folder, read when asked for."""
    monkeypatch.setattr(load, "MEMORY_LIMIT", 0)
    for i in range(30):
        folder = tmp_path / "set" / f"class{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), i * 5).save(folder / f"{i}.png")
    config = DataConfig(source="folder", root=tmp_path / "set", loader_processes=0)
    return load_data(config, seed=0, cache=tmp_path / "cache")


@settings(deadline=None, max_examples=30)
@given(count=st.integers(0, 300), seed=st.integers(0, 2**40), epoch=st.integers(0, 500))
def test_an_epochs_order_is_a_permutation_that_seed_and_epoch_decide(count, seed, epoch):
    order = epoch_order(count, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(count))
    assert torch.equal(order, epoch_order(count, seed=seed, epoch=epoch))


def test_epochs_and_seeds_have_different_orders():
    orders = {tuple(epoch_order(50, seed=s, epoch=e).tolist()) for s in range(4) for e in range(4)}
    assert len(orders) == 16


def test_training_batches_hold_each_image_once_with_its_own_label_and_pixels(digits, tmp_path):
    views = digits.views("light", cache=tmp_path)
    batches = list(train_batches(views, view=1, batch_size=10, seed=3, epoch=0, device="cpu"))
    index = torch.cat([batch.index for batch in batches])
    assert sorted(index.tolist()) == list(range(len(views)))
    for batch in batches:
        assert torch.equal(batch.labels, digits.train.labels[batch.index])
        assert torch.equal(batch.pixels, views.pixels(1)[batch.index])


@pytest.mark.parametrize(("batch_size", "left_out"), [(10, 0), (7, 0), (12, 1), (16, 1)])
def test_a_last_training_batch_of_one_image_is_left_out(digits, tmp_path, batch_size, left_out):
    views = digits.views("none", cache=tmp_path)
    assert len(views) == 49
    sizes = [
        len(batch.labels)
        for batch in train_batches(
            views, view=0, batch_size=batch_size, seed=0, epoch=0, device="cpu"
        )
    ]
    assert sum(sizes) == len(views) - left_out
    assert min(sizes) > (1 if left_out else 0)


def test_evaluation_keeps_the_splits_order_and_its_last_image(digits):
    batches = list(eval_batches(digits.train, batch_size=12, device="cpu"))
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(49))
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), digits.train.images.pixels)


def test_a_view_in_order_is_the_view(digits, tmp_path):
    views = digits.views("light", cache=tmp_path)
    pixels = [b.pixels for b in view_batches(views, view=0, batch_size=9, device="cpu")]
    assert torch.equal(torch.cat(pixels), views.pixels(0))


def test_lazily_read_batches_are_those_of_memory_and_move_no_generator(lazy, tmp_path):
    views = lazy.views("light", cache=tmp_path / "cache")
    state = torch.get_rng_state()
    batches = list(train_batches(views, view=0, batch_size=4, seed=0, epoch=1, device="cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    order = torch.cat([batch.index for batch in batches])
    assert torch.equal(order, epoch_order(len(views), seed=0, epoch=1)[: len(order)])
    expected = torch.stack([views.sample(int(i), 0) for i in order])
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), expected)


@pytest.mark.slow
def test_loader_processes_give_the_same_batches_and_name_an_image_that_breaks(lazy, tmp_path):
    views = lazy.views("light", cache=tmp_path / "cache")
    here = list(view_batches(views, view=0, batch_size=4, device="cpu", processes=0))
    there = list(view_batches(views, view=0, batch_size=4, device="cpu", processes=1))
    for first, second in zip(here, there, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    for path in (tmp_path / "set" / "class1").iterdir():
        path.write_bytes(b"gone")
    with pytest.raises(DataError, match=r"class1/\d+\.png: is not a readable image") as caught:
        list(eval_batches(lazy.train, batch_size=4, device="cpu", processes=1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("size", "message"), [(1, "at least 2 to train"), (0, "at least 2")])
def test_a_training_batch_of_one_image_is_refused(digits, tmp_path, size, message):
    views = digits.views("none", cache=tmp_path)
    with pytest.raises(ConfigError, match=message):
        train_batches(views, view=0, batch_size=size, seed=0, epoch=0, device="cpu")


def test_an_evaluation_batch_of_no_image_is_refused(digits):
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        eval_batches(digits.val, batch_size=0, device="cpu")


class NoRoom:
    """Images of a process that may make no file, in shared memory neither."""

    def __call__(self, index: int) -> torch.Tensor:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        return torch.zeros(1, 9, 9, dtype=torch.uint8)


@pytest.mark.slow
def test_a_batch_that_can_not_be_sent_is_an_error_and_nobody_waits_for_it(lazy):
    batches = _from_files(NoRoom(), lazy.train, [torch.arange(4)], torch.device("cpu"), 1)
    with pytest.raises(StorageError, match=r"/dev/shm is full: .*docker run --shm-size=2g"):
        next(batches)


class Dies:
    """Images of a process that is killed."""

    def __call__(self, index: int) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.mark.slow
def test_a_loading_process_that_dies_is_an_error_and_nobody_waits_for_it(lazy):
    batches = _from_files(Dies(), lazy.train, [torch.arange(4)], torch.device("cpu"), 1)
    with pytest.raises(StorageError, match="a process that loads images died: DataLoader worker"):
        next(batches)


def test_too_little_shared_memory_is_found_before_anything_is_loaded(lazy, monkeypatch):
    many = replace(lazy.train, images=replace(lazy.train.images, processes=4))
    refuse_little_shared_memory(many, 64)
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr("autokd.data.batches.shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        StorageError, match=r"/dev/shm: .* are free, and 4 processes that load batches of 64 images"
    ):
        refuse_little_shared_memory(many, 64)
    refuse_little_shared_memory(lazy.train, 64)  # nobody sends anything
