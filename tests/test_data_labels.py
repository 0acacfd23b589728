"""Labels of any kind become class numbers with names; what is hidden is left out, and said."""

from __future__ import annotations

import numpy as np
import pytest
from test_data_sources import load, write_npz

from autokd.config import DataConfig
from autokd.data.arrived import read_arrived
from autokd.data.labels import describe_hidden, number_labels
from autokd.data.sources import read_source
from autokd.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("values", "labels", "names"),
    [
        (np.array([3, 1, 2]), [2, 0, 1], ("1", "2", "3")),  # from 1
        (np.array([0, 5, 10, 5], np.uint8), [0, 1, 2, 1], ("0", "5", "10")),  # with gaps
        ([1.0, 0.0, 2.0], [1, 0, 2], ("0", "1", "2")),
        ([1.0, float("nan"), 2.0], [0, -1, 1], ("1", "2")),
        ([2, None, 7], [0, -1, 1], ("2", "7")),
        ([-1, 0, 1, -1], [-1, 0, 1, -1], ("0", "1")),
        ([-1, 1, 1], [0, 1, 1], ("-1", "1")),  # two classes of a support vector machine
        (np.array([True, False]), [1, 0], ("False", "True")),
        (["b", "B", "a"], [2, 0, 1], ("B", "a", "b")),
        (["10", "2", "-1", "0"], [2, 3, 0, 1], ("-1", "0", "10", "2")),
        (["a", None, "", " ", "None", "nan"], [1, -1, -1, -1, 0, 2], ("None", "a", "nan")),
        (np.array([b"caf\xc3\xa9", b"bar"]), [1, 0], ("bar", "café")),
        (["a/b", "../c", " d", "<e>"], [3, 1, 0, 2], (" d", "../c", "<e>", "a/b")),
        ([None, None], [-1, -1], ()),
    ],
)
def test_values_become_numbers_and_names(values, labels, names):
    found, named = number_labels(values, "set: labels")
    assert (found.tolist(), named) == (labels, names)


def test_minus_one_is_a_class_where_the_user_names_it():
    labels, names = number_labels([-1, 0, 1], "set: labels", classes=("1", "0", "-1"))
    assert (labels.tolist(), names) == ([0, 1, 2], ("-1", "0", "1"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1.0], r"^set: labels must be whole numbers or texts, not such as 0\.5$"),
        ([1.0, float("inf")], "not such as inf"),
        (["cat", "cat ", "dog"], "labels have 'cat' and 'cat ', which differ in spaces alone"),
        (np.array([b"\xff"]), r"labels must be UTF-8 text: .*0xff"),
        (np.array(["2024-01-01"], "datetime64[D]"), r"whole numbers or texts, got datetime64\[D\]"),
    ],
)
def test_labels_that_name_no_classes_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        number_labels(values, "set: labels")


def write_hidden(path, *, split=None):
    labels = np.arange(40) % 2
    labels[-10:] = -1
    return write_npz(path, labels=labels, split=split)


def test_images_without_a_label_are_left_out_and_keep_the_others_rows(tmp_path):
    path = write_hidden(tmp_path / "set.npz")
    data = load(tmp_path, source="npz", root=path)
    splits = (data.train, data.val, data.test)
    assert sum(map(len, splits)) == 30
    for split in splits:
        assert split.labels.tolist() == [row % 2 for row in split.rows.tolist()]


def notes(path):
    stored = read_source(DataConfig(source="npz", root=path), path.parent)
    return list(describe_hidden(stored))


def test_how_many_are_left_out_is_said_for_each_split(tmp_path):
    lacks = "images{} have no label (-1, or nothing) and are left out{}"
    plain = write_hidden(tmp_path / "set.npz")
    assert notes(plain) == [f"set: 10 of 40 {lacks.format('', '')}"]
    split = np.repeat(["train", "test"], [30, 10])
    hidden_test = write_hidden(tmp_path / "set.npz", split=split)
    assert notes(hidden_test) == [
        f"set: 10 of 10 {lacks.format(' of test', '; test is cut from train')}"
    ]
    data = load(tmp_path, source="npz", root=hidden_test)
    assert (data.info.test_count, data.test.rows.max().item() < 30) == (4, True)


def test_nothing_left_to_train_on_is_one_line(tmp_path):
    path = write_npz(tmp_path / "set.npz", labels=np.array([""] * 40))
    with pytest.raises(DataError, match=r"^set: 40 of 40 images have no label .* nothing to train"):
        load(tmp_path, source="npz", root=path)


def test_a_list_of_classes_names_numbers(tmp_path):
    path = write_npz(tmp_path / "set.npz")
    data = load(tmp_path, source="npz", root=path, classes=["cat", "dog"])
    assert data.info.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [row % 2 for row in data.train.rows.tolist()]
    turned = load(tmp_path, source="npz", root=path, classes=[1, 0])
    assert turned.info.class_names == ("1", "0")
    with pytest.raises(ConfigError, match=r"data\.classes: .* does not have 'one', 'two'"):
        load(tmp_path, source="npz", root=path, classes=["one", 1, "two"])


def test_new_images_without_a_label_are_told_and_none_is_taken_for_a_class(tmp_path):
    options = {"image_size": 8, "channels": 1, "cache": tmp_path}
    path = write_hidden(tmp_path / "new.npz")
    arrived = read_arrived(path, class_names=("0", "1"), **options)
    assert not arrived.labelled
    assert arrived.split.labels.tolist() == [i % 2 for i in range(30)] + [-1] * 10
    assert "10 of 40 images have no label" in arrived.notes[0]
