"""Hugging Face sets, read from disk in the layouts of the hub and of `datasets`: no network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from autokd.config import DataConfig
from autokd.data import LazyImages, load, load_data
from autokd.data.hugging_face import read_hugging_face
from autokd.data.labels import describe_hidden
from autokd.errors import ConfigError, DataError

datasets = pytest.importorskip("datasets", reason="needs the optional package datasets")

NAMES = ("cat", "dog", "owl")
NUMBERED = datasets.ClassLabel(names=list(NAMES))
TEXT, INT = datasets.Value("string"), datasets.Value("int64")


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


def make(count, *, side=16, image="image", label="label", labels=None, kind=NUMBERED, **columns):
    """A split of grey squares, `count` of each class, whose brightness is 50 times the class's number."""
    classes = [k for k in range(3) for _ in range(count)]
    images = [np.full((side, side), 50 * k, np.uint8) for k in classes]
    content = {image: images, label: classes if labels is None else labels}
    features = {image: datasets.Image(), label: kind}
    for name, (values, feature) in columns.items():
        content[name], features[name] = values, feature
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def write(folder, **splits):
    """As a set lies on the hub: Parquet files, by split."""
    (folder / "data").mkdir(parents=True)
    for name, part in splits.items():
        part.to_parquet(str(folder / "data" / f"{name}-00000-of-00001.parquet"))
    return folder


def read(folder, tmp_path, **config):
    config = DataConfig(source="hf", name=str(folder), root=tmp_path / "hub", **config)
    return load_data(config, seed=0, cache=tmp_path / "cache")


def stored(folder, tmp_path, **config):
    config = DataConfig(source="hf", name=str(folder), root=tmp_path / "hub", **config)
    return read_hugging_face(config, tmp_path / "cache")


def test_splits_classes_and_pixels_are_those_on_disk(root, tmp_path, monkeypatch):
    small = read(root, tmp_path)
    assert small.info.class_names == ("cat", "dog")
    assert (small.info.train_count, small.info.val_count, small.info.test_count) == (20, 4, 8)
    assert (small.info.channels, small.info.image_size) == (3, 10)
    assert torch.equal(small.train.images.pixels[:, 0, 0, 0] % 10, small.train.labels)
    monkeypatch.setattr(load, "MEMORY_LIMIT", 0)
    large = read(root, tmp_path)
    assert isinstance(large.train.images, LazyImages)
    assert all(torch.equal(large.train.images[i], small.train.images[i]) for i in range(20))


def test_a_set_is_loaded_at_the_size_and_channels_that_it_has(tmp_path):
    folder = write(tmp_path / "set", train=make(12), test=make(4))
    data = read(folder, tmp_path)
    assert (data.info.channels, data.info.image_size) == (1, 16)
    for split in (data.train, data.val, data.test):
        assert torch.equal(split.images.pixels[:, 0, 0, 0].long(), 50 * split.labels)
    colour = read(folder, tmp_path, channels=3, image_size=8)
    assert colour.train.images.pixels.shape[1:] == (3, 8, 8)


def test_images_of_different_sizes_are_loaded_at_224(tmp_path):
    both = datasets.concatenate_datasets([make(6), make(6, side=20)])
    folder = write(tmp_path / "set", train=both)
    data = read(folder, tmp_path)
    assert data.info.image_size == 224
    assert "of several sizes; their centres are loaded at 224 pixels" in data.notes[0]
    assert read(folder, tmp_path, image_size=8).notes == ()


def save_dict(folder):
    datasets.DatasetDict(train=make(12), test=make(4)).save_to_disk(str(folder))


def save_one(folder):
    make(12).save_to_disk(str(folder))


def save_shards(folder):
    for i in range(2):
        (folder / "train").mkdir(parents=True, exist_ok=True)
        part = make(12).shard(2, i, contiguous=False)
        part.to_parquet(str(folder / "train" / f"{i:04}.parquet"))


def save_rows_without_types(folder):
    """As pandas writes them: struct<bytes, path> and numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    table = make(12).cast_column("image", datasets.Image(decode=False)).data.table
    pq.write_table(
        pa.table(dict(zip(table.column_names, table.columns, strict=True))),
        folder / "train.parquet",
    )


@pytest.mark.parametrize("save", [save_dict, save_one, save_shards, save_rows_without_types])
def test_every_layout_that_datasets_writes_is_read(tmp_path, save):
    save(tmp_path / "set")
    data = read(tmp_path / "set", tmp_path)
    total = data.info.train_count + data.info.val_count + data.info.test_count
    assert total == (48 if save is save_dict else 36)
    assert data.info.class_names == (("0", "1", "2") if save is save_rows_without_types else NAMES)
    assert torch.equal(data.train.images.pixels[:, 0, 0, 0].long(), 50 * data.train.labels)


WORDS = [NAMES[k] for k in (0, 1, 2) for _ in range(12)]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"image": "img", "label": "target"}, NAMES),
        ({"image": "picture", "label": "what", "kind": TEXT, "labels": WORDS}, NAMES),
        ({"label": "label", "kind": INT, "site": (["x"] * 36, TEXT)}, ("0", "1", "2")),
        ({"label": "y", "site": (["x"] * 36, TEXT)}, NAMES),  # numbers with names go before texts
    ],
)
def test_columns_are_found_by_their_kind_whatever_they_are_called(tmp_path, options, names):
    found = stored(write(tmp_path / "set", train=make(12, **options)), tmp_path)
    assert found.class_names == names
    assert found.labels.tolist() == [k for k in range(3) for _ in range(12)]
    assert (list(found.columns) if "site" in options else found.columns) == (
        ["site"] if "site" in options else None
    )


def test_columns_that_could_all_be_meant_are_named_by_the_user(tmp_path):
    coarse = ([0] * 12 + [1] * 24, datasets.ClassLabel(names=["pet", "bird"]))
    other = ([np.zeros((4, 4), np.uint8)] * 36, datasets.Image())
    part = make(12, label="fine", coarse=coarse)
    folder = write(tmp_path / "set", train=part)
    with pytest.raises(
        DataError,
        match=r"set: 2 columns could hold labels; set data\.label_column to one of fine, coarse$",
    ):
        stored(folder, tmp_path)
    found = stored(folder, tmp_path, label_column="coarse")
    assert found.class_names == ("pet", "bird")
    assert list(found.columns) == ["fine"]
    folder = write(tmp_path / "two", train=make(12, mask=other))
    with pytest.raises(DataError, match=r"set data\.image_column to one of image, mask$"):
        stored(folder, tmp_path)
    found = stored(folder, tmp_path, image_column="mask")
    assert (found.image_size, found.columns) == (4, None)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"label_column": "lable"}, ConfigError, r"'lable' is no column of .*Did you mean 'label'"),
        ({"label_column": "image"}, DataError, r"label_column: 'image' of .* holds no labels; it has image \(Image\)"),
        ({"image_column": "label"}, DataError, r"image_column: 'label' of .* holds no images"),
    ],
)  # fmt: skip
def test_a_column_that_does_not_hold_what_is_asked_of_it_is_refused(
    tmp_path, config, error, message
):
    folder = write(tmp_path / "set", train=make(12))
    with pytest.raises(error, match=message):
        stored(folder, tmp_path, **config)


def test_columns_are_named_for_hub_sets_alone():
    with pytest.raises(ValueError, match="label_column is for source hf, not npz"):
        DataConfig(source="npz", label_column="label")


def test_hidden_labels_are_left_out_and_told(tmp_path):
    folder = write(tmp_path / "set", train=make(12), test=make(4, labels=[-1] * 12))
    found = stored(folder, tmp_path)
    assert list(describe_hidden(found)) == [
        f"{folder}: 12 of 12 images of test have no label (-1, or nothing) and are left out; "
        "test is cut from train"
    ]
    data = read(folder, tmp_path)
    assert (data.info.train_count, data.info.val_count, data.info.test_count) == (26, 5, 5)
    some = [None, *WORDS[1:]]
    folder = write(tmp_path / "text", train=make(12, kind=TEXT, labels=some))
    assert read(folder, tmp_path).notes == (
        f"{folder}: 1 of 36 images of train have no label (-1, or nothing) and are left out",
    )


def test_a_set_of_hidden_labels_alone_is_refused(tmp_path):
    folder = write(tmp_path / "set", train=make(4, labels=[-1] * 12))
    with pytest.raises(DataError, match=r"12 of 12 images of train have no label .*to train on"):
        read(folder, tmp_path)


def test_splits_are_known_by_their_usual_names_and_others_are_told(tmp_path):
    extra = {"train": make(8), "dev": make(4), "extra": make(2)}
    found = stored(write(tmp_path / "set", **extra), tmp_path)
    assert found.notes == (f"{tmp_path / 'set'}: split 'extra' of 6 images is not used",)
    assert found.own_split.tolist() == ["train"] * 24 + ["val"] * 12


def test_one_split_alone_is_the_whole_set_and_several_without_train_are_refused(tmp_path):
    folder = write(tmp_path / "set", test=make(12))
    data = read(folder, tmp_path)
    assert (data.info.train_count, data.info.val_count, data.info.test_count) == (26, 5, 5)
    assert data.notes == (f"{folder}: has 'test' alone, of which train, val and test are cut",)
    folder = write(tmp_path / "two", test=make(12), validation=make(12))
    with pytest.raises(DataError, match=r"has images in the splits .*, and none is called train"):
        read(folder, tmp_path)


def test_an_image_that_is_none_is_named(tmp_path):
    part = make(12).cast_column("image", datasets.Image(decode=False))
    rows = part.to_list()
    rows[30]["image"] = {"bytes": b"no image", "path": None}
    features = datasets.Features({"image": datasets.Image(), "label": NUMBERED})
    folder = write(tmp_path / "set", train=datasets.Dataset.from_list(rows, features=features))
    with pytest.raises(DataError, match=r"set: image 30 of split train is not a readable image"):
        stored(folder, tmp_path)
    rows[30]["image"] = None
    folder = write(tmp_path / "none", train=datasets.Dataset.from_list(rows, features=features))
    with pytest.raises(
        DataError, match=r"none: image 30 of split train is not a readable image: there is none"
    ):
        stored(folder, tmp_path)


def test_a_class_without_images_may_be_left_out_by_the_user(tmp_path):
    kind = datasets.ClassLabel(names=["yak", *NAMES])
    labels = [k + 1 for k in range(3) for _ in range(12)]
    folder = write(tmp_path / "set", train=make(12, kind=kind, labels=labels))
    with pytest.raises(
        DataError,
        match=r"set: class 'yak' has 0 images .* at least 3, or to be left out of a list data\.classes",
    ):
        read(folder, tmp_path)
    data = read(folder, tmp_path, classes=NAMES)
    assert data.info.class_names == NAMES
    assert torch.equal(data.train.images.pixels[:, 0, 0, 0].long(), 50 * data.train.labels)
    with pytest.raises(ConfigError, match="it lacks 'owl'"):
        read(folder, tmp_path, classes=("cat", "dog"))


def test_one_of_several_configurations_is_named_by_the_user(tmp_path):
    folder = tmp_path / "set"
    for name, count in (("small", 8), ("large", 12)):
        (folder / name).mkdir(parents=True)
        make(count).to_parquet(str(folder / name / "train.parquet"))
    files = "".join(
        f"- config_name: {n}\n  data_files: {n}/*.parquet\n" for n in ("small", "large")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{files}---\n")
    with pytest.raises(DataError, match=r"\['small', 'large'\].*; set data\.subset to one of them"):
        read(folder, tmp_path)
    with pytest.raises(DataError, match=r"'middle' not found.*; set data\.subset to one of them"):
        read(folder, tmp_path, subset="middle")
    assert len(stored(folder, tmp_path, subset="large").labels) == 36


def test_a_folder_without_a_set_says_what_it_must_hold(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DataError, match=r"can't be loaded .*; it must hold Parquet files, class"):
        read(tmp_path / "set", tmp_path)
    with pytest.raises(DataError, match=r"set data\.name to the folder that holds the file"):
        read(tmp_path / "set" / "train.parquet", tmp_path)


def test_a_set_that_is_nowhere_is_one_line(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # else it asks six times
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    for name in ("nobody/nothing", str(tmp_path / "nothing")):
        with pytest.raises(DataError, match=rf"^{name}: can't be loaded .*; check data\.name") as e:
            read(name, tmp_path)
        assert "\n" not in str(e.value)


def test_copies_of_images_in_test_can_be_dropped_from_train(root, tmp_path):
    data = read(root, tmp_path, copies="drop")
    counts = (data.info.train_count, data.info.val_count, data.info.test_count)
    assert sum(counts) == 24
    assert data.info.test_count == 8
    assert data.notes[-1].startswith(f"{root}: copies dropped: ")
