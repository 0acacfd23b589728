"""The first search file: what it says of images, and that it is one that a search takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import autokd
from PIL import Image

from autokd.config import Config, load_config
from autokd.drafting.models import HEIRS, Maker, recognise
from autokd.engine.outline import outline
from autokd.errors import CheckpointError
from autokd.records import StudentSpec
from autokd.students import can_inherit, create_student


def write_images(
    root: Path, *, each: int = 8, size: tuple[int, int] = (32, 32), mode: str = "RGB"
) -> None:
    """Two classes of noise."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for n in range(each):
            shape = size[::-1] if mode == "L" else (*size[::-1], 3)
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name}{n}.png")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def drafted(*options: str) -> Config:
    done = autokd("init", "images", *options)
    assert done.status == 0, done.err
    return load_config(Path("search.yaml"))


@pytest.mark.parametrize(
    ("size", "mode", "expected", "families"),
    [
        ((8, 8), "L", 8, ("resnet", "convnext")),
        ((28, 28), "L", 28, ("resnet", "convnext")),
        ((4, 5), "RGB", 8, ("resnet", "convnext")),
        ((32, 32), "RGB", 32, ("resnet", "convnext")),
        ((300, 200), "RGB", 96, ("resnet", "mobilenetv3")),
    ],
)
def test_a_space_suits_the_images_and_part_of_it_fits_the_budget(
    place, size, mode, expected, families
):
    write_images(place / "images", size=size, mode=mode)
    config = drafted("--image-size", "96") if expected == 96 else drafted()
    assert config.data.image_size == expected
    assert tuple(config.students.families) == families
    found = outline(config, directory=place, students=12)
    assert found.survey.feasible


def test_the_file_says_what_was_found_in_the_folder(place):
    write_images(place / "images" / "train")
    write_images(place / "images" / "test", each=2)
    (place / "images" / "train" / "dog" / "dog7.png").unlink()
    done = autokd("init", "images")
    text = (place / "search.yaml").read_text()
    for line in (
        "19 colour images of 2 classes, 32 px: 13 train, 2 val, 4 test.",
        "They come as train and test.",
        "A share of each class is cut from train for val.",
        "Fewest of class 'dog' (9), most of 'cat' (10).",
    ):
        assert line in text
        assert line in done.out
    assert "next:  autokd check search.yaml" in done.out


def test_what_is_left_out_is_said(place, caplog):
    write_images(place / "images")
    (place / "images" / "cat" / "IMG_1.HEIC").write_bytes(b"")
    assert autokd("init", "images", "--quiet").status == 0
    assert "images: left out: 1 file of no image format that is read (1 .heic" in caplog.text


def test_a_table_beside_the_images_becomes_groups_bands_and_a_cluster(place):
    write_images(place / "images", each=24)
    files = [f"{name}{n}.png" for name in ("cat", "dog") for n in range(24)]
    rows = [
        f"{file},{'AB'[n % 2]},{20 + n},p{n // 3},{file[:3]},{n}" for n, file in enumerate(files)
    ]
    (place / "people.csv").write_text("\n".join(["file,site,age,patient,label,note", *rows]))
    (place / "others.csv").write_text("file,site\nx.png,A\ny.png,B\n")
    metadata = drafted().data.metadata
    assert "48 of 48 images have a row (cat/cat0.png ← file cat0.png)" in Path(
        "search.yaml"
    ).read_text(encoding="utf-8")
    assert metadata is not None
    assert (metadata.path, metadata.key) == (Path("people.csv"), "file")
    assert metadata.groups == ("site", "age", "note")
    assert metadata.bands["age"] == (32.0, 44.0, 55.0)
    assert metadata.cluster == "patient"


def test_of_two_tables_the_one_that_tells_of_most_images_is_taken_and_the_other_named(place):
    write_images(place / "images")
    files = sorted(str(file.relative_to("images")) for file in Path("images").rglob("*.png"))
    for name, told in (("all.csv", files), ("a_few.csv", files[:3])):
        rows = [f"{file},{'AB'[n % 2]}" for n, file in enumerate(told)]
        Path(name).write_text("\n".join(["file,site", *rows]))
    metadata = drafted().data.metadata
    assert metadata is not None
    assert metadata.path == Path("all.csv")
    assert "# not taken: a_few.csv (3 images)" in Path("search.yaml").read_text(encoding="utf-8")


def test_a_folder_that_is_not_there_yet_is_made_for_the_file(place):
    write_images(place / "images")
    assert autokd("init", "images", "--output", "new/deeper/search.yaml").status == 0
    load_config(place / "new" / "deeper" / "search.yaml")


def test_a_teacher_s_model_alone_means_its_published_weights_and_students_that_inherit(place):
    write_images(place / "images", size=(96, 96))
    config = drafted("--teacher-model", "tf_efficientnet_lite0", "--max-macs", "30M")
    assert (config.teacher.model, config.teacher.pretrained) == ("tf_efficientnet_lite0", True)
    assert config.teacher.train is not None
    assert (config.students.model, config.students.start) == (("efficientnet_lite",), "heir")
    assert config.students.families["efficientnet_lite"]["padding"] == "same"


def test_a_teacher_s_model_without_published_weights_is_refused(place):
    write_images(place / "images")
    done = autokd("init", "images", "--teacher-model", "resnet19")
    assert done.status == 2
    assert "--teacher-model resnet19: timm has no published weights of it" in done.err


@pytest.mark.parametrize("name", HEIRS)
def test_the_largest_student_that_is_drafted_can_inherit_from_the_smallest_such_teacher(name):
    ladder = HEIRS[name]
    teacher = {"tf_efficientnet_lite": "tf_efficientnet_lite0", "efficientnet_lite": "efficientnet_lite0",
               "efficientnet_b": "efficientnet_b0"}.get(name, name)  # fmt: skip
    arguments = {**ladder.least, "width": ladder.widths[-1]}
    with torch.device("meta"):
        large, student = (
            create_student(spec, classes=5, channels=3)
            for spec in (
                StudentSpec(model=teacher, image_size=64),
                StudentSpec(model=ladder.model, arguments=arguments, image_size=64),
            )
        )
    assert can_inherit(student, large) > 0.99


def test_a_limit_is_kept_and_without_one_a_tenth_of_the_teacher_is(place):
    write_images(place / "images")
    assert drafted("--max-macs", "3M").budget.max_macs == 3e6
    config = drafted("--force")
    assert config.budget.max_macs == pytest.approx(25e6, rel=0.02)
    micro = drafted("--force", "--target", "micro")
    assert (micro.budget.target, micro.students.precision) == ("micro", "int8")


def test_a_budget_that_nothing_fits_is_refused_with_the_least_that_there_is(place):
    write_images(place / "images")
    done = autokd("init", "images", "--max-macs", "1k")
    assert done.status == 2
    assert "the smallest students at 32 px need macs " in done.err
    assert "(limit 1.00k)" in done.err
    assert not (place / "search.yaml").exists()


def test_a_file_that_is_there_is_overwritten_by_force_alone(place):
    write_images(place / "images")
    (place / "search.yaml").write_text("mine")
    done = autokd("init", "images")
    assert done.status == 2
    assert "search.yaml: is there already; give another --output, or --force" in done.err
    assert (place / "search.yaml").read_text() == "mine"
    assert autokd("init", "images", "--force").status == 0


def test_a_folder_that_is_wrong_gets_the_line_that_a_search_would_give(place):
    done = autokd("init", "images")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "images: is not a folder" in done.err


def save_weights_of(model: str, path: Path, *, classes: int = 2) -> Path:
    built = create_student(StudentSpec(model=model, image_size=32), classes=classes, channels=3)
    torch.save(built.state_dict(), path)
    return path


def test_a_teacher_is_recognised_by_its_weights(place):
    write_images(place / "images")
    save_weights_of("resnet18", place / "best.pt")
    teacher = drafted("--teacher", "best.pt").teacher
    assert (teacher.model, teacher.checkpoint) == ("resnet18", Path("best.pt"))


def test_a_teacher_of_other_classes_is_fine_tuned(place):
    write_images(place / "images")
    save_weights_of("resnet18", place / "imagenet.pt", classes=5)
    for named in ([], ["--teacher-model", "resnet18"]):
        teacher = drafted("--force", "--teacher", "imagenet.pt", *named).teacher
        assert (teacher.model, teacher.checkpoint) == ("resnet18", None)
        assert teacher.pretrained == Path("imagenet.pt")
        assert teacher.train is not None


@pytest.mark.slow
def test_a_teacher_of_no_usual_model_asks_for_its_name(tmp_path):
    torch.save({"weight": torch.zeros(2, 2)}, tmp_path / "own.pt")
    with pytest.raises(CheckpointError, match=r"own.pt: is none of timm's usual models; say which"):
        recognise(tmp_path / "own.pt", Maker(classes=2, channels=3), 32)


@pytest.mark.slow
def test_the_file_is_one_that_check_calls_valid(place):
    write_images(place / "images", each=20, size=(8, 8), mode="L")
    drafted("--max-macs", "4M")
    done = autokd("check", "search.yaml")
    assert done.status == 0, done.err
    assert "search.yaml: valid." in done.out
