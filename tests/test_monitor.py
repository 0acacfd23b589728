"""A student in use: kept, looked at closer, or distilled again; and one line for what can't be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import autokd
from autokd.cli import app
from autokd.config import load_config
from autokd.data import load_data, read_arrived
from autokd.drift.reference import NAME
from autokd.engine.place import CACHE
from autokd.errors import AutoKDError, ConfigError, DataError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_latency")]
SEARCH = """
name: watched
data: {source: digits, views: 1, val_fraction: 0.25, test_fraction: 0.25}
teacher:
  model: resnet
  arguments: {width: 16, depth: 1, stages: 3, stem_stride: 1}
  train: {epochs: 6, learning_rate: 1e-2, batch_size: 32}
students:
  model: resnet
  families: {resnet: {width: 16, depth: 1, stages: 3, stem_stride: 2}}
train: {epochs: 10, learning_rate: 1e-2, batch_size: 32}
audit: {robustness_images: 0}
search: {trials: 1, strategy: full}
"""


@pytest.fixture(scope="module")
def place(make_store_directory, tmp_path_factory, quick_latency):
    """A folder with a finished search, its only student exported, and new images."""
    directory = make_store_directory(tmp_path_factory.mktemp("watched"))
    file = directory / "search.yaml"
    file.write_text(SEARCH)
    result = autokd.search(file, directory=directory)
    (number, *_) = result.front["trial"]
    (directory / "study").write_text(f"{result.study}/{number}")
    autokd.export(int(number), directory / "shipped", directory=directory)
    config = load_config(file)
    data = load_data(config.data, seed=config.seed, cache=directory / CACHE)
    images, labels = data.test.images.pixels.numpy()[:, 0], data.test.labels.numpy()
    for name, shown in {"test": images, "inverted": 255 - images, "few": images[:20]}.items():
        known = labels[: len(shown)]
        sites = np.array(["A", "B"])[np.arange(len(known)) % 2]
        np.savez(directory / f"{name}.npz", images=shown, labels=known, site=sites)
        np.savez(directory / f"{name}_alone.npz", images=shown)
    val = data.val.images.pixels.numpy()[:, 0]
    np.savez(directory / "val.npz", images=val, labels=data.val.labels.numpy())
    return directory


def monitor(place: Path, data: str, candidate: str = "shipped", **options):
    name = str(place / candidate) if candidate == "shipped" else candidate
    return autokd.monitor(name, place / data, directory=place, **options)


def test_the_images_that_it_was_chosen_on_let_it_be_kept(place):
    found = monitor(place, "val.npz")
    assert (found.recommendation, found.exit_code) == ("keep", 0), found.advice.reasons
    assert {shift.state for shift in found.shifts} == {"same"}
    assert found.change.now == found.change.then or found.change.then.split == "test"


def test_test_images_let_it_be_kept_with_and_without_labels(place):
    found = monitor(place, "test.npz")
    assert (found.recommendation, found.exit_code) == ("keep", 0), found.advice.reasons
    alone = monitor(place, "test_alone.npz")
    assert (alone.recommendation, alone.change, alone.audit) == ("keep", None, None)
    assert "accuracy was not measured" in " ".join(alone.notes)


def test_accuracy_is_held_against_test_which_chose_nothing(place):
    reference = json.loads((place / "shipped" / NAME).read_text())
    found = monitor(place, "test.npz")
    assert found.change.then.split == "test"
    assert found.change.loss == 0
    assert reference["accuracy"]["test"]["images"] == found.images


def test_inverted_images_call_for_another_distillation(place):
    found = monitor(place, "inverted.npz")
    assert (found.recommendation, found.exit_code) == ("re-distil", 1)
    assert found.change.state == "fell"
    alone = monitor(place, "inverted_alone.npz")
    assert (alone.recommendation, alone.exit_code) == ("look closer", 3)
    assert alone.expected_accuracy is None
    assert "Confidence says nothing of accuracy" in " ".join(alone.advice.reasons)
    assert alone.shifts == found.shifts  # labels have no part in drift


def test_few_images_are_undecided_and_never_kept(place):
    for name in ("few.npz", "few_alone.npz"):
        found = monitor(place, name)
        assert (found.recommendation, found.exit_code) == ("undecided", 3)
        assert "decide it" in " ".join(found.advice.reasons)


def test_a_student_from_the_store_is_told_the_same_as_its_export(place):
    shipped = monitor(place, "inverted.npz")
    stored = monitor(place, "inverted.npz", candidate=(place / "study").read_text())
    assert stored.recommendation == shipped.recommendation
    assert [s.state for s in stored.shifts] == [s.state for s in shipped.shifts]
    assert stored.change == shipped.change


def test_the_audit_goes_by_groups_and_against_the_teacher(place):
    found = monitor(place, "test.npz", groups=["site"])
    assert set(found.audit.record["by"]) == {"site"}
    assert found.audit.record["overall"]["teacher"]["n"] == found.images
    assert found.notes == ()


def test_a_teacher_that_is_not_at_hand_is_said_and_not_trained(place, tmp_path):
    found = autokd.monitor(place / "shipped", place / "test.npz", directory=tmp_path)
    assert found.audit.record["overall"]["teacher"] is None
    assert "without its teacher: it was trained elsewhere" in " ".join(found.notes)
    assert found.recommendation == "keep", found.advice.reasons
    assert not (tmp_path / CACHE / "teachers").exists()


def test_a_folder_of_classes_and_one_without_are_read_as_the_arrays_are(place, tmp_path):
    with np.load(place / "test.npz") as arrays:
        for row, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
            for folder in (tmp_path / "classes" / str(label), tmp_path / "flat"):
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / f"{row}.png")
    table = tmp_path / "people.csv"
    table.write_text("file,site\n" + "".join(f"{row}.png,{'AB'[row % 2]}\n" for row in range(500)))
    arrays = monitor(place, "test.npz", groups=["site"])
    classes = autokd.monitor(
        place / "shipped", tmp_path / "classes", metadata=table, key="file", directory=place
    )
    flat = autokd.monitor(place / "shipped", tmp_path / "flat", directory=place)
    assert classes.change == arrays.change
    assert classes.shifts == arrays.shifts == flat.shifts
    assert classes.audit.record["by"]["site"]["teacher"]["groups"].keys() == {"A", "B"}
    assert not flat.arrived.labelled


def test_the_reference_holds_figures_and_no_image(place):
    record = json.loads((place / "shipped" / NAME).read_text())
    columns = set(record["val"]["columns"])
    assert columns == {"brightness", "contrast", "sharpness", "confidence"}
    assert record["accuracy"]["val"]["images"] == len(record["val"]["answers"])
    assert (place / "shipped" / NAME).stat().st_size < 100_000


def test_the_report_is_plain_json_beside_the_audit(place, tmp_path):
    found = monitor(place, "inverted.npz")
    found.save(tmp_path)
    record = json.loads((tmp_path / "monitor.json").read_text())
    assert record["recommendation"] == "re-distil"
    assert record["accuracy"]["now"]["wilson95"][0] < record["accuracy"]["now"]["accuracy"]
    assert {shift["name"] for shift in record["drift"]} >= {"brightness", "predicted classes"}
    assert (tmp_path / "audit" / "audit.html").is_file()


def test_the_command_prints_the_verdict_and_exits_by_it(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    given = ["monitor", str(place / "shipped"), "--data", str(place / "inverted_alone.npz")]
    done = run.invoke(app, given)
    assert done.exit_code == 3, done.output
    assert "LOOK CLOSER" in done.output
    assert "drifted" in done.output
    told = run.invoke(app, [*given, "--json", "--out", str(tmp_path / "again")])
    assert json.loads(told.output)["recommendation"] == "look closer"


def test_redistil_searches_on_the_new_images_from_the_old_front_on(place, monkeypatch):
    monkeypatch.chdir(place)
    done = CliRunner().invoke(
        app, ["monitor", "shipped", "--data", "inverted.npz", "--out", "again", "--redistil"]
    )
    assert done.exit_code == 0, done.output
    assert "again with: autokd search again/redistil.yaml" in done.output
    written = yaml.safe_load((place / "again" / "redistil.yaml").read_text())
    study = (place / "study").read_text().split("/")[0]
    assert written["search"]["warm_start"] == [study]
    assert written["data"]["root"] == str(place / "inverted.npz")
    assert written["data"]["flip"] is False
    assert written["data"]["classes"] == [str(digit) for digit in range(10)]
    assert "watched-redistil" in done.output
    again = autokd.search(place / "again" / "redistil.yaml", directory=place)
    assert again.study.startswith("watched-redistil-")
    assert len(again.results) == 1  # it goes on with the one that has ended


def test_redistil_without_labels_is_refused_with_what_is_needed(place):
    with pytest.raises(DataError, match="has no labels, which a search needs; put the images"):
        monitor(place, "test_alone.npz", labels_needed=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "student.onnx").unlink(), "is not there; reference.json belongs"),
        (
            lambda folder: (folder / "student.onnx").write_bytes(b"other"),
            "is not the model that reference.json was made with",
        ),
        (
            lambda folder: (folder / NAME).write_text('{"schema": "autokd.reference/9"}'),
            "is autokd.reference/9, not autokd.reference/1; export",
        ),
        (lambda folder: (folder / NAME).write_text("{"), "is no reference of autokd"),
        (lambda folder: (folder / NAME).unlink(), "has neither reference.json"),
    ],
)
def test_a_damaged_export_is_one_line(change, message, place, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in (place / "shipped").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    change(folder)
    with pytest.raises(AutoKDError, match=message) as raised:
        autokd.monitor(folder, place / "test.npz", directory=place)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_status == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "file"}, "give --metadata, or --groups"),
        ({"groups": ["sex"]}, "has no column 'sex'"),
        ({"groups": ["site"], "bands": {"age": [3]}}, "bands.age is no group"),
        ({"metadata": "nowhere.csv"}, "nowhere.csv: can't be read"),
    ],
)
def test_groups_that_are_not_there_are_one_line(options, message, place):
    with pytest.raises((ConfigError, DataError), match=message) as raised:
        monitor(place, "test.npz", **options)
    assert "\n" not in str(raised.value)


def read(path: Path, tmp_path: Path, *classes: str):
    return read_arrived(path, class_names=classes, image_size=8, channels=1, cache=tmp_path)


def test_labels_are_matched_to_the_student_s_classes_by_name(tmp_path):
    images = np.zeros((4, 8, 8), np.uint8)
    np.savez(tmp_path / "names.npz", images=images, labels=np.array(["cat", "dog", "cat", "ant"]))
    arrived = read(tmp_path / "names.npz", tmp_path, "ant", "bee", "cat", "dog")
    assert arrived.split.labels.tolist() == [2, 3, 2, 0]
    np.savez(tmp_path / "places.npz", images=images, labels=np.array([2, 3, 2, 0]))
    by_place = read(tmp_path / "places.npz", tmp_path, "ant", "bee", "cat", "dog")
    assert by_place.split.labels.tolist() == [2, 3, 2, 0]
    np.savez(tmp_path / "numbers.npz", images=images, labels=np.array([7, 9, 7, 7]))
    named = read(tmp_path / "numbers.npz", tmp_path, "7", "9")
    assert named.split.labels.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.array(["cat", "dgo"])}, "class 'dgo' is none of the student's: cat, dog. Did you mean 'dog'"),
        ({"labels": np.array([0, 2])}, "class '2' is none of the student's"),
        ({"labels": np.array([0.5, 1])}, "labels must be whole numbers or texts, not such as 0.5"),
        ({"images": np.zeros((2, 8, 8))}, "images must be uint8"),
    ],
)  # fmt: skip
def test_arrays_of_no_use_are_one_line(arrays, message, tmp_path):
    np.savez(tmp_path / "new.npz", **{"images": np.zeros((2, 8, 8), np.uint8), **arrays})
    with pytest.raises(DataError, match=message):
        read(tmp_path / "new.npz", tmp_path, "cat", "dog")


def test_what_is_no_data_is_one_line(tmp_path):
    with pytest.raises(DataError, match="nowhere: is not there"):
        read(tmp_path / "nowhere", tmp_path, "cat")
    (tmp_path / "text.txt").write_text("")
    with pytest.raises(DataError, match=r"is neither a folder of images nor an \.npz"):
        read(tmp_path / "text.txt", tmp_path, "cat")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        read(tmp_path / "empty", tmp_path, "cat")


def test_a_class_of_which_no_new_image_came_is_left_out_and_said(tmp_path):
    for name in ("ant", "bee", "cat"):
        (tmp_path / "new" / name).mkdir(parents=True)
    for name in ("bee", "cat"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "new" / name / "a.png")
    arrived = read(tmp_path / "new", tmp_path, "ant", "bee", "cat")
    assert arrived.split.labels.tolist() == [1, 2]
    assert arrived.notes[0].endswith("left out: the empty class folder ant")


def test_folders_that_are_no_classes_are_said_to_be_none(tmp_path):
    for name in ("cam1", "cam2"):
        (tmp_path / "new" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "new" / name / "a.png")
    arrived = read(tmp_path / "new", tmp_path, "cat", "dog")
    assert not arrived.labelled
    assert "is named as one of the classes (cat, dog): no labels" in arrived.notes[0]
    (tmp_path / "new" / "cat").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "new" / "cat" / "a.png")
    with pytest.raises(DataError, match="class 'cam1' is none of the student's"):
        read(tmp_path / "new", tmp_path, "cat", "dog")
