"""Metadata: joined by number or file name; what does not join is counted, never dropped in silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from autokd.config import MetadataConfig
from autokd.data.images import ArrayReader
from autokd.data.metadata import number_clusters, number_groups, read_metadata
from autokd.data.stored_set import StoredSet
from autokd.errors import ConfigError, DataError

FILES = ("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")


def make_set(*, files=None, columns=None):
    import torch

    return StoredSet(
        name="four",
        reader=ArrayReader(torch.zeros(4, 1, 8, 8, dtype=torch.uint8)),
        labels=np.array([0, 0, 1, 1]),
        class_names=("cat", "dog"),
        channels=1,
        image_size=8,
        files=files,
        columns=columns,
    )


def read(tmp_path, text, *, files=None, columns=None, **config):
    path = tmp_path / "table.csv"
    path.write_text(text)
    stored = make_set(files=files, columns=columns)
    return read_metadata(MetadataConfig(path=path, **config), stored)


def test_rows_are_joined_by_number_in_any_order(tmp_path):
    table, join = read(tmp_path, "index,who\n3,d\n1,b\n0,a\n2,c\n", groups=("who",))
    assert table["who"].tolist() == ["a", "b", "c", "d"]
    assert join.is_complete
    assert join.describe() == "4 of 4 images have a row (image 0 ← index 0)"


@pytest.mark.parametrize("keep", ["cat/1.png", "1.png"])
def test_rows_are_joined_by_the_name_below_the_root_or_the_last_part(tmp_path, keep):
    names = FILES if "/" in keep else [name.split("/")[1] for name in FILES]
    text = "file,who\n" + "".join(f"{n},{w}\n" for n, w in zip(names, "abcd", strict=True))
    table, _ = read(tmp_path, text, files=FILES, key="file", groups=("who",))
    assert table["who"].tolist() == ["a", "b", "c", "d"]


def test_what_does_not_join_is_missing_and_counted(tmp_path):
    table, join = read(tmp_path, "index,who\n0,a\n3,d\n9,z\n", groups=("who",))
    assert table["who"].tolist() == ["a", None, None, "d"]
    assert join.to_dict() == {
        "images": 4,
        "metadata": 3,
        "matched": 2,
        "without_metadata": 2,
        "metadata_unused": 1,
        "example": "image 0 ← index 0",
    }
    said = "2 of 4 images have a row (image 0 ← index 0); 2 have none; 1 row names no image"
    assert join.describe() == said


def test_columns_of_the_set_stand_beside_those_of_the_table(tmp_path):
    own = pd.DataFrame({"writer": [1, 1, 2, 2]})
    text = "index,who\n0,a\n1,b\n2,c\n3,d\n"
    table, _ = read(tmp_path, text, columns=own, groups=("who",), cluster="writer")
    assert table.to_dict("list") == {"who": ["a", "b", "c", "d"], "writer": ["1", "1", "2", "2"]}
    alone, join = read_metadata(MetadataConfig(cluster="writer"), make_set(columns=own))
    assert alone["writer"].tolist() == ["1", "1", "2", "2"]
    assert join is None


def test_images_without_a_cluster_are_clusters_of_their_own():
    table = pd.DataFrame({"who": ["a", None, "a", None]})
    numbers = number_clusters(table, "who")
    assert numbers[0] == numbers[2]
    assert len(set(numbers)) == 3


def test_groups_are_combinations_of_values_and_not_to_know_one_is_a_value():
    table = pd.DataFrame(
        {"sex": ["F", "M", "F", None, None], "site": [1.0, 1.0, 2.0, np.nan, np.nan]}
    )
    numbers = number_groups(table, ("sex", "site"))
    assert numbers[3] == numbers[4]
    assert sorted(set(numbers)) == [0, 1, 2, 3]
    assert len(set(number_groups(table, ("sex",)))) == 3


def test_columns_of_numbers_are_cut_into_bands(tmp_path):
    text = "index,age,year\n0,17,1\n1,18,2\n2,,3\n3,70.5,4\n"
    table, _ = read(tmp_path, text, groups=("age",), bands={"age": (18, 65)})
    bands = table["age"].tolist()
    assert pd.isna(bands[2])
    assert len({bands[0], bands[1], bands[3]}) == 3  # an edge belongs to the band above it
    assert all("18" in bands[i] for i in (0, 1))


@pytest.mark.parametrize(("column", "refused"), [("age", True), ("name", False), ("site", False)])
def test_many_different_numbers_are_no_groups_unless_they_are_cut(column, refused):
    count = 30
    own = pd.DataFrame(
        {"age": range(count), "name": [f"n{i}" for i in range(count)], "site": [1, 2] * 15}
    )
    stored = replace(make_set(columns=own), labels=np.zeros(count, dtype=np.int64))
    config = MetadataConfig(groups=(column,))
    if not refused:
        assert read_metadata(config, stored)[0] is not None
        return
    with pytest.raises(
        DataError,
        match=r"^four: column 'age' has 30 different numbers; cut it into bands \(--bands age=18,40,65, or "
        r"data\.metadata\.bands: {age: \[18, 40, 65\]}\), or name other groups$",
    ):
        read_metadata(config, stored)


def test_bands_of_a_column_of_text_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"column 'who': bands need numbers, got 'a'; leave such cells"
    ):
        read(tmp_path, "index,who\n0,a\n1,b\n", groups=("who",), bands={"who": (18,)})


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("name,who\n0,a\n", {}, r"no column 'index' \(data\.metadata\.key\); it has name, who"),
        ("index,who\n0,a\n", {"key": "idx"}, r"no column 'idx'.*Did you mean 'index'\?"),
        ("index,who\n7,a\n", {}, "no row of column 'index' names an image of 'four'; it has '7'"),
        ("index,who\na,a\n", {}, r"must hold whole numbers, the images' row numbers 0\.\.3"),
        ("f,who\nno.png,a\n", {"key": "f", "files": FILES}, "it has 'no.png' where 'cat/1.png'"),
        (
            "f,who\n1.png,a\n",
            {"key": "f", "files": ("cat/1.png", "dog/1.png")},
            "'1.png' is the name of more than one image",
        ),
        ("index,who\n0,a\n0,b\n", {}, "'index' names an image twice: 0"),
        ("index,who\n0,a\n,b\n", {}, "column 'index' is empty in 1 rows"),
        ("index,who\n", {}, "has no rows"),
        ("", {}, "is empty; it needs a line of column names and rows"),
        (
            "index,who\n0,a\n",
            {"groups": ("age",)},
            r"no column 'age' \(a group\); it has index, who",
        ),
        ("index,who\n0,a\n", {"cluster": "whom"}, r"no column 'whom'.*Did you mean 'who'\?"),
        (
            "index,who\n0,a\n",
            {"columns": pd.DataFrame({"who": [1] * 4})},
            "column 'who' is also in the set itself",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_what_is_there(tmp_path, text, options, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, **options)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: can't be read: No such file"):
        read_metadata(MetadataConfig(path=tmp_path / "none.csv"), make_set())


def test_metadata_without_a_table_needs_a_set_that_brings_columns():
    with pytest.raises(ConfigError, match=r"data\.metadata\.path is missing"):
        read_metadata(MetadataConfig(groups=("age",)), make_set())
