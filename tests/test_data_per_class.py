"""Few labels: so many of each class of train keep theirs, and the rest is shown without or left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_folders import load_folder, make_image_folder

from autokd.config import DataConfig, parse_config
from autokd.data import LazyImages, load, load_data
from autokd.data.cut import Cut, draw_evenly
from autokd.errors import ConfigError
from autokd.records import UNLABELLED
from autokd.space import Space

# of digits with limit 200 before there was data.per_class: what was known of such data is found again
HASH_BEFORE = "d62c296f6949f446"


def load_digits(cache, **config):
    return load_data(DataConfig(source="digits", limit=200, **config), seed=0, cache=cache)


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=6),
    few=st.integers(1, 12),
    more=st.integers(0, 12),
    seed=st.integers(0, 99),
)
def test_classes_are_drawn_evenly_and_a_larger_draw_holds_a_smaller_one(sizes, few, more, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(range(len(sizes)), sizes))
    names = tuple("abcdef"[: len(sizes)])
    cut = Cut(labels=labels, class_names=names, own_split=None, clusters=None, seed=seed)
    rows = np.arange(len(labels))
    drawn, rest = draw_evenly(cut, rows, few)
    assert np.bincount(labels[drawn]).tolist() == [min(few, size) for size in sizes]
    assert np.array_equal(np.sort(np.concatenate([drawn, rest])), rows)
    assert set(drawn) <= set(draw_evenly(cut, rows, few + more)[0])


def test_so_many_of_each_class_keep_their_labels_and_val_and_test_stay_as_they_are(tmp_path):
    plain, few = load_digits(tmp_path), load_digits(tmp_path, per_class=3)
    assert torch.bincount(few.train.labels).tolist() == [3] * 10
    for name in ("val", "test"):
        assert torch.equal(getattr(few, name).images.pixels, getattr(plain, name).images.pixels)
        assert torch.equal(getattr(few, name).labels, getattr(plain, name).labels)
    assert set(few.transfer.rows.tolist()) == set(plain.train.rows.tolist())
    assert few.info.train_count == 30
    assert few.info.unlabelled_count == len(plain.train) - 30
    assert (few.transfer.labels[30:] == UNLABELLED).all()
    assert few.info.hash != plain.info.hash
    assert few.info.hash != load_digits(tmp_path, per_class=3, rest="drop").info.hash


def test_stages_without_a_teacher_are_shown_the_labelled_ones_alone(tmp_path):
    few = load_digits(tmp_path, per_class=3)
    assert few.shown(taught=False) is few.train
    assert len(few.shown(taught=True)) == 30 + few.info.unlabelled_count


def test_the_rest_may_be_left_out(tmp_path):
    few = load_digits(tmp_path, per_class=3, rest="drop")
    assert few.transfer is None
    assert few.info.unlabelled_count == 0
    kept = load_digits(tmp_path, per_class=3).train
    assert torch.equal(few.train.rows, kept.rows)


def test_as_many_as_there_are_change_nothing(tmp_path):
    plain, all_of_them = load_digits(tmp_path), load_digits(tmp_path, per_class=200)
    assert all_of_them.transfer is None
    assert all_of_them.info == plain.info
    assert plain.info.hash == HASH_BEFORE


def test_images_of_data_unlabelled_follow_the_rest_of_train(tmp_path, monkeypatch):
    images = np.random.default_rng(1).integers(0, 256, (7, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "more.npz", images=images)
    both = load_digits(tmp_path, per_class=3, unlabelled=tmp_path / "more.npz")
    rest = len(load_digits(tmp_path, per_class=3).transfer)
    assert len(both.transfer) == rest + 7
    assert torch.equal(both.transfer.images.pixels[rest:, 0], torch.from_numpy(images))
    monkeypatch.setattr(load, "MEMORY_LIMIT", 100)
    lazy = load_digits(tmp_path, per_class=3, unlabelled=tmp_path / "more.npz")
    assert isinstance(lazy.train.images, LazyImages)
    for place in (0, 30, rest - 1, rest, rest + 6):
        assert torch.equal(lazy.transfer.images[place], both.transfer.images[place])


def test_each_image_keeps_its_own_row_of_the_table(tmp_path):
    root = make_image_folder(tmp_path / "set", count=20)
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*.png"))
    table = pd.DataFrame({"file": files, "site": [f"of {name}" for name in files]})
    table.to_csv(tmp_path / "people.csv", index=False)
    metadata = {"path": tmp_path / "people.csv", "key": "file", "groups": ["site"]}
    few = load_folder(root, tmp_path, per_class=4, metadata=metadata)
    assert few.train.metadata["site"].tolist() == [f"of {name}" for name in few.ids(few.train)]
    assert len(few.train.group_numbers) == 8


def test_a_class_with_fewer_images_keeps_them_all_and_is_named(tmp_path):
    root = make_image_folder(tmp_path / "set", classes=("cat", "dog"), count=20)
    make_image_folder(root, classes=("owl",), count=5)
    few = load_folder(root, tmp_path, per_class=8)
    assert torch.bincount(few.train.labels).tolist() == [8, 8, 3]
    (note,) = [each for each in few.notes if "per_class" in each]
    assert note == (
        "data.per_class 8: 1 of 3 classes have fewer images in train and keep all of their labels: owl (3)"
    )


def test_a_copy_in_the_rest_of_train_is_named_where_it_makes_val_too_good(tmp_path, caplog):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    images[39] = images[1]
    split = np.array(["train"] * 20 + ["val"] * 10 + ["test"] * 10)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(40) % 2, split=split)
    config = DataConfig(source="npz", root=tmp_path / "set.npz", per_class=1)
    data = load_data(config, seed=2, cache=tmp_path)
    data.say()
    rest = 1 in data.unlabelled["rest of train"].rows
    assert rest
    assert "1 of 10 images of test are also in rest of train (1 = 39)" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"per_class": 0}, r"data\.per_class: .*greater than or equal to 1, got 0"),
        ({"rest": "drop"}, r"data: rest: drop is for what per_class leaves over; give per_class"),
        ({"per_class": 5, "rest": "keep"}, r"data\.rest: .*'unlabelled' or 'drop', got 'keep'"),
    ],
)
def test_what_makes_no_sense_is_refused(data, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(record_of(data), source="mine.yaml")


def test_what_needs_every_label_is_refused_by_the_key_that_took_them():
    losses = {"distill": {"loss": ["kd", "dkd"]}}
    with pytest.raises(
        ConfigError,
        match=r"^data\.per_class: distill\.loss dkd needs a label .* set data\.rest: drop, or show ",
    ):
        space_of({"per_class": 5}, losses)
    with pytest.raises(
        ConfigError, match=r"^data\.unlabelled: .*leave out one of the two, or show "
    ):
        space_of({"per_class": 5, "rest": "drop", "unlabelled": "more"}, losses)
    space_of({"per_class": 5, "rest": "drop"}, losses)


def space_of(data, more):
    return Space(parse_config(record_of(data) | more, source="mine.yaml"), image_size=8)


def record_of(data):
    return {
        "data": {"source": "digits"} | data,
        "teacher": {"model": "resnet", "train": {"epochs": 1}},
        "students": {"model": "resnet"},
    }
