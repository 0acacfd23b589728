"""Folders as people have them: what a person sees in one is read, or a line says what was left out and why."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from image_folders import load_folder, make_image_folder
from PIL import Image

from autokd.config import DataConfig, MetadataConfig
from autokd.data import load_data
from autokd.data.class_folders import read_class_folders
from autokd.data.folder import FolderReader
from autokd.data.headers import read_headers
from autokd.errors import DataError, StorageError


@pytest.fixture
def root(tmp_path):
    return make_image_folder(tmp_path / "set")


def counts(data):
    return data.info.train_count, data.info.val_count, data.info.test_count


def image(path, colour="red", size=(10, 10), **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **save)


def test_what_lies_deeper_is_of_the_class_folder_it_lies_in(tmp_path):
    root = tmp_path / "set"
    for name in ("cat", "dog"):
        make_image_folder(root / name, classes=("2023", "2024"))
    data = load_folder(root, tmp_path)
    assert data.info.class_names == ("cat", "dog")
    assert sum(counts(data)) == 24
    assert "of the class they lie in (cat/2023, cat/2024, dog/2023 and 1 more)" in data.notes[0]


def test_a_folder_within_a_class_folder_can_be_a_cluster(tmp_path):
    root = tmp_path / "set"
    for name in ("benign", "malignant"):
        make_image_folder(root / name, classes=[f"patient{i}" for i in range(8)], count=2)
    metadata = MetadataConfig(cluster="folder")
    config = DataConfig(source="folder", root=root, metadata=metadata)
    data = load_data(config, seed=0, cache=tmp_path)
    patients = [set(split.metadata["folder"]) for split in (data.train, data.val, data.test)]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 8


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Train", "Val", "Test"), (12, 12, 12)),
        (("train", "valid", "test"), (12, 12, 12)),
        (("TRAINING", "dev", "Testing"), (12, 12, 12)),
        (("train_set", "validation-set", "test images"), (12, 12, 12)),
        (("train2017", "val2017"), (10, 12, 2)),
        (("training", "testing"), (10, 2, 12)),
        (("seg_train/seg_train", "seg_test/seg_test"), (10, 2, 12)),
    ],
)
def test_split_folders_are_known_by_their_usual_names_in_any_case(tmp_path, names, expected):
    for name in names:
        make_image_folder(tmp_path / "set" / name)
    data = load_folder(tmp_path / "set", tmp_path)
    assert data.info.class_names == ("cat", "dog")
    assert counts(data) == expected
    own = {data.files[row].split("/")[0] for row in data.train.rows.tolist()}
    assert own == {names[0].split("/")[0]}  # no image of another split is trained on


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "val", "validation"), "val and validation both name the val split"),
        (("Train", "train"), "Train and train both name the train split"),
        (("learn", "test"), "has test and no folder to train on; name that one 'train'"),
        (("cat/train", "cat/test", "dog/train", "dog/test"),
         r"cat/test: a split in a class folder .* arrange it as .*set/test/cat"),
        (("images/train", "images/test"), "set data.root to .*set/images"),
        (("PetImages",), "PetImages: is the only class folder.*set data.root to it"),
    ],
)  # fmt: skip
def test_what_would_mix_splits_is_refused(tmp_path, folders, message):
    for name in folders:
        make_image_folder(tmp_path / "set" / name)
    with pytest.raises(DataError, match=message):
        load_folder(tmp_path / "set", tmp_path)


@pytest.mark.parametrize("train", ["train/cat/a.png", "train/a.png"])
def test_a_test_folder_without_class_folders_is_refused(tmp_path, train):
    image(tmp_path / "set" / train)
    image(tmp_path / "set" / "test" / "1.png")
    with pytest.raises(DataError, match=r"1 image in no class folder, as .*data\.unlabelled takes"):
        load_folder(tmp_path / "set", tmp_path)


def test_classes_that_differ_in_case_alone_are_said_to_be_two(tmp_path):
    root = make_image_folder(tmp_path / "set", classes=("Cat", "cat", "dog"))
    assert "(Cat, cat) are two, not one" in load_folder(root, tmp_path).notes[0]


def test_a_class_may_be_called_train(tmp_path):
    root = make_image_folder(tmp_path / "set", classes=("bus", "train", "car"))
    data = load_folder(root, tmp_path)
    assert data.info.class_names == ("bus", "car", "train")
    assert "train is read as a class, not as a split" in data.notes[0]


def test_folders_beside_the_splits_are_said_to_be_left_out(tmp_path):
    for name in ("train", "test", "raw"):
        make_image_folder(tmp_path / "set" / name)
    image(tmp_path / "set" / "logo.png")
    (note,) = load_folder(tmp_path / "set", tmp_path).notes
    assert "1 image beside the split folders (logo.png)" in note
    assert "12 images in folders that name no split (raw)" in note


def test_tiny_imagenet_is_read_as_it_is_published(tmp_path):
    root = tmp_path / "set"
    for name in ("n01", "n02"):
        for i in range(4):
            image(root / "train" / name / "images" / f"{name}_{i}.JPEG")
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
    for i in range(4):
        image(root / "val" / "images" / f"val_{i}.JPEG", "blue")
        image(root / "test" / "images" / f"test_{i}.JPEG", "green")
    lines = [f"val_{i}.JPEG\tn0{1 + i % 2}\t0\t0\t9\t9\n" for i in range(4)]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    data = load_folder(root, tmp_path)
    assert counts(data) == (6, 4, 2)
    assert data.val.labels.tolist() == [0, 1, 0, 1]
    assert "2 .txt" in data.notes[0]
    assert "4 images without labels (test/images)" in data.notes[0]
    (root / "val" / "val_annotations.txt").write_text(lines[0])
    with pytest.raises(DataError, match=r"val_1\.JPEG: has no line in .*_annotations\.txt"):
        load_folder(root, tmp_path)


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trashes"])
def test_hidden_and_system_folders_are_no_classes_and_hold_no_images(root, tmp_path, name):
    before = load_folder(root, tmp_path)
    image(root / name / "a.png")
    image(root / "cat" / name / "cat0-checkpoint.png")
    (root / "cat" / "._cat0.png").write_text("what macOS leaves")
    (root / "Thumbs.db").write_text("")
    after = load_folder(root, tmp_path)
    assert after.info == before.info
    assert "left out: 3 images in hidden or system files and folders" in after.notes[0]


@pytest.mark.parametrize(
    "suffix", ["webp", "bmp", "tif", "TIFF", "gif", "ppm", "tga", "jp2", "JPG", "jfif", "Png"]
)
def test_other_formats_are_read_in_any_case(root, tmp_path, suffix):
    image(root / "cat" / f"other.{suffix}")
    assert sum(counts(load_folder(root, tmp_path))) == 13


def test_files_that_are_not_read_are_counted_by_format(root, tmp_path):
    for name in ("a.heic", "b.heic", "notes.txt"):
        (root / "cat" / name).write_text("")
    (root / "README.md").write_text("")
    note = load_folder(root, tmp_path).notes[0]
    assert "left out: 3 files of no image format that is read (2 .heic, 1 .txt" in note
    (root / "owl").mkdir()
    (root / "cat" / "a.heic").rename(root / "owl" / "a.heic")
    with pytest.raises(DataError, match=r"owl: class folder holds no image; left out: .*\.heic"):
        load_folder(root, tmp_path)


def test_a_folder_counts_once_whatever_links_lead_to_it(root, tmp_path):
    before = load_folder(root, tmp_path)
    (root / "cat" / "up").symlink_to("..")
    (root / "dog" / "further").symlink_to("../..")
    (root / "kitten").symlink_to("cat")
    after = load_folder(root, tmp_path)
    assert after.info == before.info
    assert "3 links to folders that are read anyway (cat/up, dog/further, kitten)" in after.notes[0]


def test_val_that_is_a_link_to_test_is_left_out_and_cut_from_train(tmp_path):
    for name in ("train", "test"):
        make_image_folder(tmp_path / "set" / name)
    (tmp_path / "set" / "val").symlink_to("test")
    data = load_folder(tmp_path / "set", tmp_path)
    assert counts(data) == (10, 2, 12)
    (note,) = data.notes
    assert note.endswith("left out: 1 link to a folder that is read anyway (val)")


def test_split_folders_may_hold_links_to_folders_beside_them(tmp_path):
    root = tmp_path / "set"
    make_image_folder(root / "all", classes=("cat", "dog", "cat2", "dog2"))
    for split, suffix in (("train", ""), ("test", "2")):
        (root / split).mkdir()
        for name in ("cat", "dog"):
            (root / split / name).symlink_to(f"../all/{name}{suffix}")
    assert counts(load_folder(root, tmp_path)) == (10, 2, 12)


def test_a_class_folder_and_an_image_may_be_links_to_elsewhere(root, tmp_path):
    other = make_image_folder(tmp_path / "elsewhere", classes=("owl",))
    (root / "owl").symlink_to(other / "owl")
    (root / "cat" / "linked.png").symlink_to(other / "owl" / "owl0.png")
    data = load_folder(root, tmp_path)
    assert data.info.class_names == ("cat", "dog", "owl")
    assert sum(counts(data)) == 19


@pytest.mark.parametrize("name", ["cat/a.png", "owl"])
@pytest.mark.parametrize("target", ["nowhere", None])
def test_a_link_to_nothing_or_to_itself_is_named(root, tmp_path, name, target):
    (root / name).symlink_to(target or (root / name))
    with pytest.raises(DataError, match=f"{name}: is a link to nothing, or to itself; bring back"):
        load_folder(root, tmp_path)


def test_a_split_folder_that_is_a_link_to_nothing_is_named(tmp_path):
    make_image_folder(tmp_path / "set" / "train")
    (tmp_path / "set" / "val").symlink_to("gone")
    with pytest.raises(DataError, match="val: is a link to nothing, or to itself; bring back"):
        load_folder(tmp_path / "set", tmp_path)


def test_names_that_are_not_utf_8_are_named(root, tmp_path):
    shutil.copy(os.fsencode(root / "cat" / "cat0.png"), os.fsencode(root / "cat") + b"/caf\xe9.png")
    with pytest.raises(DataError, match=r"caf\\xe9\.png: its name is not UTF-8; rename it"):
        load_folder(root, tmp_path)


def test_pipes_and_devices_among_images_are_left_out_and_nothing_hangs(root, tmp_path):
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "dog" / "zero.png").symlink_to("/dev/zero")
    data = load_folder(root, tmp_path)
    assert sum(counts(data)) == 12
    assert "2 pipes or devices named as images (cat/pipe.png, dog/zero.png)" in data.notes[0]


def test_a_class_that_val_or_test_does_not_have_is_said(tmp_path):
    root = tmp_path / "set"
    make_image_folder(root / "train", classes=("cat", "dog", "owl"))
    make_image_folder(root / "test")
    (root / "test" / "owl").mkdir()
    data = load_folder(root, tmp_path)
    assert data.notes[0].endswith("left out: the empty class folder test/owl")
    assert "test has no image of 1 of 3 classes (owl)" in data.notes[1]


def test_images_that_a_person_sees_otherwise_are_counted(root, tmp_path):
    image(root / "cat" / "wide.png", size=(40, 10))
    turned = Image.new("RGB", (10, 10))
    turned.getexif()[0x0112] = 6
    turned.save(root / "cat" / "turned.jpg", exif=turned.getexif())
    frames = [Image.fromarray(np.full((10, 10, 3), 60 * i, np.uint8)) for i in range(3)]
    frames[2].save(root / "dog" / "moving.gif", save_all=True, append_images=frames[:2])
    notes = load_folder(root, tmp_path).notes
    assert "1 of 15 images (as cat/wide.png) is twice as long as wide or more" in notes[0]
    assert "1 of 15 images (as cat/turned.jpg) is to be shown turned (EXIF)" in notes[1]
    assert (
        "1 of 15 images (as dog/moving.gif) is of several pictures, of which the first" in notes[2]
    )


@pytest.mark.parametrize("mode", ["CMYK", "RGBA", "P", "LA", "1", "YCbCr"])
def test_pictures_of_every_mode_of_8_bits_become_colour(root, tmp_path, mode):
    Image.new(mode, (10, 10)).save(
        root / "cat" / f"other.{'jpg' if mode in ('CMYK', 'YCbCr') else 'png'}"
    )
    data = load_folder(root, tmp_path)
    assert data.info.channels == 3
    assert sum(counts(data)) == 13


def test_names_that_are_no_text_are_written_out_where_a_note_has_them(tmp_path):
    root = tmp_path / "set"
    make_image_folder(root / "train")
    image(root / os.fsdecode(b"caf\xe9") / "one.png")
    (note,) = load_folder(root, tmp_path).notes
    assert note.endswith(r"left out: 1 image in folders that name no split (caf\xe9)")
    assert note.encode()


def test_an_image_that_goes_while_its_folder_is_read_is_named(root, tmp_path):
    found = read_class_folders(root)
    (root / "cat" / "cat1.png").unlink()
    with pytest.raises(DataError, match=r"cat1\.png: was there when .*run this again"):
        read_headers(root, found.files, tmp_path)
    with pytest.raises(DataError, match=r"cat1\.png: was there when its folder was read"):
        FolderReader(root, found.files, 3, []).identity()


def test_a_place_that_takes_no_notes_of_the_headers_is_one_line(root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/cache: can't be written: Not a directory"):
        load_folder(root, tmp_path / "file" / "cache")
