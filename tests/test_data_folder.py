"""Image folders: classes are folders, odd files are named, what is large is read when asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_folders import load_folder, make_image_folder
from PIL import Image

from autokd.data import LazyImages, MemoryImages, load
from autokd.data.headers import read_headers
from autokd.errors import DataError

torch.set_num_threads(1)


@pytest.fixture
def root(tmp_path):
    return make_image_folder(tmp_path / "set")


def test_folders_are_classes_and_pixels_are_the_files(root, tmp_path):
    data = load_folder(root, tmp_path)
    assert data.info.class_names == ("cat", "dog")
    assert (data.info.name, data.info.channels, data.info.image_size) == ("set", 3, 10)
    row, label = int(data.train.rows[0]), int(data.train.labels[0])
    file = sorted(root.rglob("*.png"))[row]
    assert file.parent.name == data.info.class_names[label]
    assert torch.equal(
        data.train.images[0], torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    )


@pytest.mark.parametrize("val", ["val", "validation", None])
def test_split_folders_are_kept_and_a_missing_one_is_cut_from_train(tmp_path, val):
    root = tmp_path / "set"
    for name in ("train", "test", *([val] if val else [])):
        make_image_folder(root / name)
    data = load_folder(root, tmp_path)
    assert data.info.test_count == 12
    assert (data.info.train_count, data.info.val_count) == ((12, 12) if val else (10, 2))


@pytest.mark.parametrize(
    ("mode", "channels", "expected"), [("L", None, 1), ("RGB", None, 3), ("RGB", 1, 1), ("L", 3, 3)]
)
def test_channels_are_as_stored_unless_told(tmp_path, mode, channels, expected):
    root = make_image_folder(tmp_path / "set", mode=mode, suffix="jpg")
    data = load_folder(root, tmp_path, channels=channels)
    assert data.info.channels == data.train.images[0].shape[0] == len(data.mean) == expected


def test_images_of_different_sizes_are_loaded_at_224(root, tmp_path):
    Image.new("RGB", (30, 20), "red").save(root / "cat" / "wide.png")
    assert load_folder(root, tmp_path).train.images[0].shape == (3, 224, 224)


def test_resizing_cuts_the_centre_and_squashes_nothing(root, tmp_path):
    wide = Image.new("RGB", (40, 20), "red")
    wide.paste("blue", (10, 0, 30, 20))
    for path in root.rglob("*.png"):
        wide.save(path)
    image = load_folder(root, tmp_path, image_size=10).train.images[0]
    assert image[2, :, 1:-1].float().mean() > 250


def test_a_set_too_large_for_memory_is_read_when_asked_for_with_the_same_pixels(
    root, tmp_path, monkeypatch
):
    small = load_folder(root, tmp_path, image_size=12)
    monkeypatch.setattr(load, "MEMORY_LIMIT", 1000)
    large = load_folder(root, tmp_path, image_size=12)
    assert isinstance(small.train.images, MemoryImages)
    assert isinstance(large.train.images, LazyImages)
    assert torch.equal(
        small.train.images.pixels, torch.stack([large.train.images[i] for i in range(8)])
    )
    assert large.mean == pytest.approx(small.mean)


@pytest.mark.parametrize("limit", [1000, 2**30])
def test_the_hash_changes_with_the_files_and_not_with_the_place(root, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(load, "MEMORY_LIMIT", limit)
    before = load_folder(root, tmp_path).info.hash
    moved = root.rename(tmp_path / "moved")
    assert load_folder(moved, tmp_path / "other").info.hash == before
    Image.new("RGB", (10, 10), "red").save(moved / "cat" / "cat0.png")
    assert load_folder(moved, tmp_path).info.hash != before


def test_a_changed_file_is_decoded_again(root, tmp_path):
    load_folder(root, tmp_path)
    for path in root.rglob("*.png"):
        Image.new("RGB", (10, 10), "red").save(path)
    assert load_folder(root, tmp_path).train.images[0][:, 0, 0].tolist() == [255, 0, 0]


def test_images_that_are_none_are_named_before_anything_is_decoded(root, tmp_path):
    (root / "dog" / "dog1.png").write_text("no image")
    (root / "dog" / "dog2.png").write_text("nor this")
    with pytest.raises(DataError, match=r"dog1\.png: is not a readable image.*1 more such file"):
        load_folder(root, tmp_path)


def test_headers_are_read_without_decoding_and_damaged_exif_is_let_be(root, tmp_path):
    cut = root / "dog" / "dog1.png"
    cut.write_bytes(cut.read_bytes()[:-80])
    Image.new("RGB", (10, 10)).save(
        root / "cat" / "damaged.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x09"
    )
    files = tuple(str(path.relative_to(root)) for path in sorted(root.rglob("*.*")))
    assert read_headers(root, files, tmp_path).image_size == 10


@pytest.mark.parametrize("limit", [100, 2**30])
def test_an_image_cut_short_is_named_when_it_is_read(root, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(load, "MEMORY_LIMIT", limit)
    for path in (root / "dog").iterdir():
        path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(DataError, match=r"dog\d\.png: is not a readable image") as caught:
        load_folder(root, tmp_path)
    assert "\n" not in str(caught.value)


def test_deep_images_are_refused_not_clipped(root, tmp_path):
    Image.fromarray(np.full((10, 10), 5000, dtype=np.uint16)).save(root / "cat" / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: .* its mode is I;16; convert it to 8 bits"):
        load_folder(root, tmp_path)


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: is not a folder; data\.root must hold"):
        load_folder(tmp_path / "nowhere", tmp_path)


def test_a_root_without_images_is_named(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match="set: holds no class folder with an image"):
        load_folder(tmp_path / "set", tmp_path)


def test_an_empty_class_folder_is_named_and_a_hidden_one_is_not(root, tmp_path):
    (root / ".hidden").mkdir()
    load_folder(root, tmp_path)
    (root / "bird").mkdir()
    with pytest.raises(DataError, match="bird: class folder holds no image"):
        load_folder(root, tmp_path)


def test_an_image_outside_any_class_folder_is_named(root, tmp_path):
    Image.new("RGB", (10, 10)).save(root / "loose.png")
    with pytest.raises(DataError, match=r"loose\.png: lies in no class folder"):
        load_folder(root, tmp_path)


def test_a_test_class_that_train_does_not_have_is_named(tmp_path):
    root = tmp_path / "set"
    make_image_folder(root / "train")
    make_image_folder(root / "test", classes=("cat", "cow"))
    with pytest.raises(DataError, match=r"test: class folder 'cow' has no like in .*train"):
        load_folder(root, tmp_path)
