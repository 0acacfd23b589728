"""Further labelled sets: read by what they are, prepared as the data's images, refused before a search and not at its end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from image_folders import make_image_folder
from PIL import Image

from autokd.config import DataConfig, parse_config
from autokd.data import LazyImages, load, load_data, read_also_test
from autokd.engine.check import check_search
from autokd.engine.search import run_search
from autokd.errors import ConfigError, DataError

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def root(tmp_path):
    """Three classes of 10 px, colour."""
    return make_image_folder(tmp_path / "set", classes=CLASSES, count=12)


def config_of(root, *, source="folder", **more):
    return DataConfig(source=source, root=root, **more)


def load_all(config, cache):
    data = load_data(config, seed=0, cache=cache)
    return replace(data, also_test=read_also_test(config, data.info, cache))


def read(root, cache, further, **more):
    """The set `night` alone."""
    return load_all(config_of(root, also_test={"night": further}, **more), cache).also_test["night"]


def make_npz(path, labels, **more):
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 14, 18), dtype=np.uint8)
    np.savez(path, images=images, labels=labels, **more)
    return path


def test_a_set_is_prepared_as_the_data_is_and_may_lack_classes(root, tmp_path):
    night = make_image_folder(
        tmp_path / "night", classes=("dog", "owl"), count=4, side=23, mode="L"
    )
    found = read(root, tmp_path, night)
    assert found.split.images.pixels.shape == (8, 3, 10, 10)
    assert found.split.labels.tolist() == [1] * 4 + [2] * 4
    assert found.ids[0] == "dog/dog0.png"


def test_a_file_of_arrays_may_stand_beside_a_folder_and_a_folder_beside_a_file(root, tmp_path):
    file = make_npz(tmp_path / "fog.npz", np.array(["owl", "cat", "cat"]))
    found = read(root, tmp_path, file)
    assert found.split.labels.tolist() == [2, 0, 0]
    assert found.split.images.pixels.shape == (3, 3, 10, 10)
    labels = np.array(["cat", "dog"] * 20)
    data = make_npz(tmp_path / "set.npz", labels)
    config = DataConfig(source="npz", root=data, image_size=8, also_test={"night": root})
    with pytest.raises(
        DataError, match=r"^data\.also_test\.night: .*class 'owl' is none of the data's"
    ):
        load_all(config, tmp_path)
    night = make_image_folder(tmp_path / "night", classes=("dog",), count=4)
    config = config.model_copy(
        update={
            "also_test": {"night": config.also_test["night"].model_copy(update={"root": night})}
        }
    )
    assert load_all(config, tmp_path).also_test["night"].split.labels.tolist() == [1] * 4


def test_numbers_name_the_places_of_classes_that_have_names(root, tmp_path):
    for numbers in ([2, 0, -1, 1], [2, 2, -1, 1]):
        found = read(root, tmp_path, make_npz(tmp_path / "fog.npz", np.array(numbers)))
        assert found.split.labels.tolist() == [number for number in numbers if number >= 0]
        assert any("1 image without a label left out" in note for note in found.notes)
        assert found.notes[0].endswith(
            "fog.npz: its label numbers are taken as places among the data's classes: 0 = cat, 1 = dog, 2 = owl"
        )


def test_of_a_set_with_splits_its_test_images_count_and_else_all(root, tmp_path):
    night = tmp_path / "night"
    make_image_folder(night / "train", classes=("cat",), count=5)
    everything = read(root, tmp_path, night)
    assert len(everything.split) == 5
    make_image_folder(night / "test", classes=("cat",), count=3)
    found = read(root, tmp_path, night)
    assert found.ids == tuple(f"test/cat/cat{n}.png" for n in range(3))
    assert any("its own test split alone is used, 3 images of 8" in note for note in found.notes)


def test_a_set_needs_no_train_folder_and_its_test_folder_may_hold_other_classes(root, tmp_path):
    night = tmp_path / "night"
    make_image_folder(night / "test", classes=("owl",), count=3)
    assert read(root, tmp_path, night).split.labels.tolist() == [2] * 3
    make_image_folder(night / "train", classes=("cat",), count=2)
    found = read(root, tmp_path, night)
    assert found.ids == tuple(f"test/owl/owl{n}.png" for n in range(3))
    make_image_folder(night / "test", classes=("fox",), count=1)
    with pytest.raises(
        DataError, match=r"^data\.also_test\.night: .*class 'fox' is none of the data's"
    ):
        read(root, tmp_path, night)


def test_a_set_of_the_hub_s_formats_is_read_as_the_data_is(root, tmp_path):
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=list(CLASSES))
    for name, count in (("main", 30), ("night", 6)):
        images = [Image.fromarray(np.full((9, 9), 5 * n, np.uint8)) for n in range(count)]
        features = datasets.Features({"image": datasets.Image(), "label": names})
        table = {"image": images, "label": [n % 3 for n in range(count)]}
        datasets.Dataset.from_dict(table, features=features).save_to_disk(tmp_path / name)
    config = DataConfig(
        source="hf", name=str(tmp_path / "main"), also_test={"night": tmp_path / "night"}
    )
    assert load_all(config, tmp_path).also_test["night"].split.labels.tolist() == [0, 1, 2] * 2


def test_what_is_too_large_for_memory_is_read_when_asked_for(root, tmp_path, monkeypatch):
    night = make_image_folder(tmp_path / "night", classes=("dog",), count=4, side=23)
    whole = read(root, tmp_path, night)
    monkeypatch.setattr(load, "MEMORY_LIMIT", 100)
    lazy = read(root, tmp_path, night)
    assert isinstance(lazy.split.images, LazyImages)
    assert torch.equal(lazy.split.images[3], whole.split.images[3])


def test_decoded_images_are_kept_as_the_data_s_are(root, tmp_path):
    night = make_image_folder(tmp_path / "night", classes=("dog",), count=4)
    read(root, tmp_path / "cache", night)
    kept = {path: path.stat().st_ino for path in (tmp_path / "cache").glob("decoded-*.npy")}
    assert len(kept) == 4
    read(root, tmp_path / "cache", night)
    assert {path: path.stat().st_ino for path in kept} == kept


def test_the_data_stay_what_they_are_and_a_changed_set_is_another(root, tmp_path):
    night = make_image_folder(tmp_path / "night", classes=("dog",), count=4)
    data = load_all(config_of(root, also_test={"night": night}), tmp_path)
    assert data.info == load_data(config_of(root), seed=0, cache=tmp_path).info
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(night / "dog" / "more.png")
    again = read(root, tmp_path, night)
    assert again.hash != data.also_test["night"].hash


def test_groups_are_those_of_a_table_of_its_own_or_else_the_classes(root, tmp_path):
    night = make_image_folder(tmp_path / "night", classes=("dog",), count=4)
    for name, folder in (("set", root), ("night", night)):
        files = [str(path.relative_to(folder)) for path in folder.rglob("*.png")]
        table = pd.DataFrame({"file": files, "site": [f"{name} {file}" for file in files]})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    metadata = {"path": tmp_path / "set.csv", "key": "file", "groups": ["site"]}
    told = {"root": night, "metadata": tmp_path / "night.csv"}
    found = read(root, tmp_path, told, metadata=metadata)
    assert found.split.metadata["site"].tolist() == [f"night {name}" for name in found.ids]
    assert found.join.matched == 4
    untold = read(root, tmp_path, night, metadata=metadata)
    assert untold.split.metadata is None
    (note,) = untold.notes
    assert note == (
        "data.also_test.night: brings no column site, and no table of it is given (metadata): "
        "its classes are its groups"
    )
    with pytest.raises(DataError, match=r"metadata needs data\.metadata, which names the columns"):
        read(root, tmp_path, told)


def test_columns_that_a_set_brings_itself_are_its_groups(tmp_path):
    labels = np.array(["cat", "dog"] * 20)
    main = make_npz(tmp_path / "set.npz", labels, site=np.array(["A", "B"] * 20))
    fog = make_npz(tmp_path / "fog.npz", labels[:4], site=np.array(["C"] * 4))
    metadata = {"groups": ["site"]}
    found = read(main, tmp_path, fog, source="npz", image_size=8, metadata=metadata)
    assert found.split.metadata["site"].tolist() == ["C"] * 4


@pytest.mark.parametrize("source", [True, False], ids=["of train", "of test"])
def test_copies_of_what_was_trained_on_are_named_and_those_of_test_do_no_harm(
    root, tmp_path, caplog, source
):
    data = load_data(config_of(root), seed=0, cache=tmp_path)
    split = data.train if source else data.test
    copied = root / data.ids(split)[0]
    night = make_image_folder(tmp_path / "night", classes=(copied.parent.name,), count=0)
    (night / copied.parent.name / "IMG1.png").write_bytes(copied.read_bytes())
    load_all(config_of(root, also_test={"night": night}), tmp_path).say()
    line = "1 of 1 image of night are also in train"
    assert (line in caplog.text) == source
    assert ("take them out of data.also_test.night" in caplog.text) == source
    assert source or caplog.text == ""


@pytest.mark.parametrize("run", [check_search, run_search])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "night: is not there"),
        (lambda path: path.mkdir() or path, "holds no class folder with an image"),
        (lambda path: path.write_bytes(b"") or path, "is neither a folder of class folders nor"),
        (
            lambda path: make_image_folder(path, classes=("7", "eleven")),
            r"class 'eleven' is none of the data's: 0, 1, 2, 3, 4 … \(10\); rename it, or take",
        ),
        (lambda path: broken(path), r"7/7x\.png: is not a readable image"),
        (
            lambda path: make_npz(path.with_suffix(".npz"), np.array([-1.0, np.nan, np.nan])),
            r"night\.npz: none of its images has a label",
        ),
    ],
    ids=["missing", "empty", "file", "class", "broken", "no labels"],
)
def test_check_and_search_refuse_a_set_that_cannot_be_tested_on(tmp_path, run, make, message):
    further = make(tmp_path / "night")
    config = parse_config(
        {
            "data": {"source": "digits", "limit": 100, "also_test": {"night": further}},
            "teacher": {"model": "resnet", "train": {"epochs": 1}},
            "students": {"model": "resnet"},
        },
        source="",
    )
    with pytest.raises(DataError, match=rf"^data\.also_test\.night: .*({message})"):
        run(config, directory=tmp_path)


def broken(path):
    make_image_folder(path, classes=("7",))
    (path / "7" / "7x.png").write_bytes(b"no image")
    return path


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("night", r"data\.also_test: must be names with folders or files, .* got 'night'"),
        (
            {"a b": "x"},
            r"data\.also_test: 'a b' can't name a set: a text of letters, digits, _ and -",
        ),
        ({"Test": "x"}, r"data\.also_test: another part of the data is called 'Test'"),
        ({"unlabelled": "x"}, "another part of the data is called 'unlabelled'"),
        ({"fog": "x", "Fog": "y"}, "another name differs from 'fog' in case alone"),
        ({2: "x"}, r"data\.also_test: 2 can't name a set"),
        ({"fog": ""}, r"data\.also_test\.fog: must be a folder or a file, got ''"),
        ({"fog": {"rot": "x"}}, r"data\.also_test\.fog: unknown key 'rot'.* Did you mean 'root'"),
        ({"fog": {}}, r"data\.also_test\.fog\.root: is missing"),
    ],
)
def test_what_names_no_set_is_refused(sets, message):
    record = {
        "data": {"source": "digits", "also_test": sets},
        "teacher": {"model": "resnet", "train": {"epochs": 1}},
        "students": {"model": "resnet"},
    }
    with pytest.raises(ConfigError, match=message):
        parse_config(record, source="mine.yaml")
