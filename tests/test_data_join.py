"""Rows of a table and images find each other however the table spells their names; what could be two things is refused."""

from __future__ import annotations

import pytest

from autokd.data.join import join_rows
from autokd.errors import DataError

FILES = ("cat/7.png", "cat/9.png", "dog/2.png")
DEEP = ("train/cat/7.png", "test/dog/9.png")


def join(keys, files=FILES, count=None):
    count = len(files) if count is None else count
    return join_rows(keys, key="id", files=files, count=count, where="t.csv", name="pets")


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        (FILES, ["cat/7.png", "cat/9.png", "dog/2.png"]),
        (FILES, ["7.png", "9.png", "2.png"]),
        (FILES, ["7", "9", "2"]),
        (FILES, ["007", "009", "002"]),
        (FILES, [r"cat\7.png", r"cat\9.png", r"dog\2.png"]),
        (FILES, ["/data/pets/cat/7.png", "/data/pets/cat/9.png", "/data/pets/dog/2.png"]),
        (FILES, [r"C:\pets\cat\7.png", r"C:\pets\cat\9.png", r"C:\pets\dog\2.png"]),
        (FILES, ["./cat/7.png", "./cat/9.png", "./dog/2.png"]),
        (FILES, ["cat/7.jpg", "cat/9.jpg", "dog/2.jpg"]),
        (FILES, ["Cat/7.PNG", "CAT/9.png", "dog/2"]),
        (("cat/007.png", "cat/010.png"), ["7", "10"]),
        (DEEP, ["cat/7.png", "dog/9.png"]),
        (DEEP, ["/old/root/train/cat/7.png", "/old/root/test/dog/9.png"]),
        (("caf\u00e9/1.png", "b/2.png"), ["cafe\u0301/1.png", "b/2.png"]),
        (("cat/7.png", "dog/7.png"), ["dog/7", "cat/7"]),
    ],
)
def test_an_image_is_found_by_its_path_however_the_table_writes_it(files, keys):
    found = join(keys, files)
    assert found.is_complete
    first = 1 if keys[0].startswith("dog") else 0
    assert found.example == f"{files[0]} ← id {keys[first]}"


def test_names_of_another_class_or_split_are_not_taken_for_it():
    found = join(["dog/7.png", "cat/9.png"])
    assert found.rows.tolist() == [-1, 1, -1]


def test_a_number_is_the_row_where_no_file_is_named_so():
    found = join(["2", "0", "1"], ("a.png", "b.png", "c.png"))
    assert found.rows.tolist() == [1, 2, 0]
    assert found.example == "image 0 (a.png) ← id 0"


def test_a_number_is_the_name_where_names_join_completely_and_rows_do_not():
    files = tuple(f"{'cat' if i % 2 else 'dog'}/{i}.png" for i in range(1, 7))
    found = join(["4", "2", "6", "1", "3", "5"], files)
    assert found.rows.tolist() == [3, 1, 4, 0, 5, 2]


def test_a_number_is_the_row_where_rows_join_completely_and_names_do_not():
    found = join(["0", "1", "2"], ("cat/1.png", "cat/2.png", "cat/3.png"))
    assert found.rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("keys", [["0", "1", "2"], ["0", "1"]])
def test_a_column_that_joins_as_well_by_name_as_by_row_is_refused_with_both_shown(keys):
    files = ("cat/2.png", "cat/0.png", "dog/1.png")
    with pytest.raises(
        DataError,
        match=r"^t\.csv: column 'id' can be read in two ways: [02] is cat/[02]\.png by its name \([23] of 3 images "
        r"have a row\), and \w+/[12]\.png by its row number .*; write the files' names into it, as in cat/[02]\.png$",
    ):
        join(keys, files)


def test_a_column_that_is_the_same_by_name_and_by_row_is_no_question():
    assert join(["1", "0"], ("cat/0.png", "dog/1.png")).rows.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("keys", "files", "message"),
    [
        (["7.png"], ("cat/7.png", "dog/7.png"), "'7.png' is the name of more than one image; give"),
        (["cat/7.png"], ("train/cat/7.png", "test/cat/7.png"), "as in (train|test)/cat/7"),
        (["a/cat/7.png", "b/cat/7.png"], FILES, "'a/cat/7.png' and 'b/cat/7.png' are both cat/7"),
        (["cat/7.png", "x/cat/7.png"], FILES, "'cat/7.png' and 'x/cat/7.png' are both cat/7.png"),
        (["07", "7"], ("cat/007.png",), "'07' and '7' are both cat/007.png"),
        (["x.png"], FILES, "no row of column 'id' names an image of 'pets'; it has 'x.png' where"),
        (["01", "1"], None, "'01' and '1' name image 1 twice"),
        (["9"], None, "it has '9' where '0' is due"),
        (["a"], None, r"must hold whole numbers, the images' row numbers 0\.\.2 in 'pets'"),
    ],
)
def test_a_key_that_names_two_images_or_none_is_refused(keys, files, message):
    with pytest.raises(DataError, match=message):
        join(keys, files, count=3 if files is None else None)
