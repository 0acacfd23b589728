"""The code that travels inside a model: image files in, class names out, prepared as autokd prepares images."""

from __future__ import annotations

import ast
import base64
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from student_graph import CLASSES, SIZE, image_file, plain, write_student

from autokd.data.images import fit
from autokd.runtime import student_model
from autokd.runtime.student_model import StudentModel
from autokd.students import InputFormat


@pytest.fixture
def student(tmp_path):
    return StudentModel(write_student(tmp_path / "student.onnx"))


def table(*files: object) -> pd.DataFrame:
    return pd.DataFrame({"image": pd.Series(files, dtype=object)})


def test_each_image_gets_a_class_name_its_probability_and_one_for_each_class(student):
    answers = student.predict(table(plain(10), plain(128, width=9), plain(250, height=20)))
    assert answers.columns.tolist() == ["prediction", "probability", *(f"p_{c}" for c in CLASSES)]
    assert answers["prediction"].tolist() == list(CLASSES)
    each = answers[[f"p_{name}" for name in CLASSES]].to_numpy()
    assert each.sum(axis=1) == pytest.approx([1, 1, 1])
    assert answers["probability"].to_numpy() == pytest.approx(each.max(axis=1))


def test_rows_keep_their_index_and_more_images_than_a_batch_their_order(student):
    greys = [10, 250] * student_model.BATCH
    rows = table(*(plain(grey) for grey in greys)).set_index(pd.Index(greys))
    answers = student.predict(rows)
    assert answers.index.tolist() == greys
    assert answers["prediction"].tolist() == ["dark", "light"] * student_model.BATCH


def test_a_table_without_rows_gives_one_without_rows(student):
    assert student.predict(table()).shape == (0, 2 + len(CLASSES))


def test_base64_is_taken_as_text(student):
    text = base64.encodebytes(
        plain(250)
    ).decode()  # with line breaks, as MLflow's examples have them
    assert student.predict(table(text))["prediction"].tolist() == ["light"]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
def test_colour_files_are_shown_in_grey_to_a_student_that_sees_grey(form, student):
    colour = np.full((SIZE, SIZE, 3), 250, dtype=np.uint8)
    assert student.predict(table(image_file(colour, form)))["prediction"].tolist() == ["light"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense", "row 1: 'image' is not a readable image: cannot identify image file$"),
        (plain(0)[:45], "row 1: 'image' is not a readable image: "),
        ("not base64", "row 1: 'image' is not a readable image: "),
        (7, "row 1: 'image' holds int; give the bytes of an image file, or their base64 as text"),
        (
            image_file(np.full((SIZE, SIZE), 300, dtype=np.uint16)),
            "row 1: .* its mode is I;16; convert it to 8 bits a channel",
        ),
    ],
    ids=["no image", "cut off", "no base64", "a number", "16 bits"],
)
def test_a_wrong_row_is_named_with_what_is_wrong(content, message, student):
    with pytest.raises(ValueError, match=message):
        student.predict(table(plain(0), content))


def test_a_table_without_images_says_what_it_needs(student):
    with pytest.raises(ValueError, match=r"needs a column 'image' with the bytes .*; has file, x"):
        student.predict(pd.DataFrame({"file": ["a.png"], "x": [1]}))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(30, 40, 24), (97, 61, 32), (28, 28, 28), (10, 31, 24), (51, 8, 16)],
)
def test_images_are_resized_and_cut_as_autokd_does(height, width, side, channels, tmp_path):
    """Pillow and torch round differently by 1 of 255: in noise for a tenth of the pixels (a fifth with PyTorch 2.8), in photographs for fewer."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    loaded = StudentModel(write_student(tmp_path / "s.onnx", channels=channels, image_size=side))
    shown = loaded.prepare(Image.fromarray(noise.squeeze()))
    stored = torch.from_numpy(noise).permute(2, 0, 1).contiguous()
    expected = fit(stored, image_size=side, channels=channels).numpy().astype(np.float32)
    difference = np.abs(shown - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < (0.15 if torch.__version__ >= "2.15" else 0.22)


@pytest.mark.parametrize("image_size", [7, 12, 30])
def test_a_student_of_another_size_than_its_data_sees_them_by_way_of_that_size(
    image_size, tmp_path
):
    path = write_student(tmp_path / "s.onnx", image_size=image_size, loaded_size="20")
    noise = np.random.default_rng(1).integers(0, 256, (20, 20), dtype=np.uint8)
    shown = StudentModel(path).prepare(Image.fromarray(noise))
    inputs = InputFormat(image_size=image_size, mean=(0.0,), std=(1 / 255,))
    expected = inputs.prepare(torch.from_numpy(noise)[None, None])[0].numpy()
    assert shown == pytest.approx(expected, abs=0.01)


def test_a_graph_that_says_no_classes_is_refused(tmp_path):
    path = write_student(tmp_path / "other.onnx")
    path.write_bytes(path.read_bytes().replace(b"classes", b"clauses"))
    with pytest.raises(ValueError, match=r"other\.onnx: was not written by `autokd export`"):
        StudentModel(path)


def test_the_file_needs_no_torch_no_autokd_and_no_mlflow():
    tree = ast.parse(Path(student_model.__file__).read_text(encoding="utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    others = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    assert others == {"numpy", "pandas", "PIL", "onnxruntime"}
