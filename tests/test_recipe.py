"""How an image becomes what an exported student takes: every step in words, and a script that does them without torch."""

from __future__ import annotations

import ast
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from student_graph import CLASSES, image_file, write_student

from autokd.data.images import fit
from autokd.errors import ExportError
from autokd.exporting.example import Example, run_script
from autokd.exporting.formats import FORMATS
from autokd.exporting.recipe import Recipe
from autokd.runtime.student_model import StudentModel
from autokd.students import InputFormat

GREY = Recipe(channels=1, loaded_size=8, image_size=8, mean=(0.5,), std=(0.25,), normalised=True)
COLOUR = Recipe(
    channels=3, loaded_size=64, image_size=48, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25), normalised=False
)  # fmt: skip


def script(recipe: Recipe, form: str = "onnx") -> str:
    kind = FORMATS[form]
    return recipe.script(kind.runner, file=f"student{kind.suffix}", classes=CLASSES)


def prepared(text: str, file, tmp_path) -> np.ndarray:
    """What the script would ask the model about."""
    lines = text.splitlines()
    (place,) = (n for n, line in enumerate(lines) if line.startswith("    logits = "))
    lines[place:] = [f"    np.save({str(tmp_path / 'pixels.npy')!r}, pixels)"]
    kept = [line for line in lines if "session" not in line]
    subprocess.run([sys.executable, "-c", "\n".join(kept), str(file)], check=True)
    return np.load(tmp_path / "pixels.npy")


def test_a_student_of_another_size_than_its_data_has_a_step_for_each():
    assert GREY.steps == [
        "read as grey, 8 bits a channel (transparency dropped, EXIF rotation not applied)",
        "the short side resized to 8 pixels (bilinear, antialiased)",
        "the centre 8 x 8 cut out",
        "pixels 0..255 as they are: the file normalises them itself",
    ]
    assert COLOUR.steps[1:] == [
        "the short side resized to 64 pixels (bilinear, antialiased)",
        "the centre 64 x 64 cut out",
        "that resized to 48 x 48 (bilinear, antialiased, not rounded)",
        "(pixels / 255 - [0.5000, 0.4000, 0.3000]) / [0.2000, 0.3000, 0.2500]",
    ]
    assert COLOUR.describe().startswith("float32 (N, 3, 48, 48), made of an image so: read as RGB")


@pytest.mark.parametrize("recipe", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 71), (40, 110)])
def test_the_script_prepares_images_as_autokd_does(recipe, height, width, tmp_path):
    shape = (height, width) if recipe.channels == 1 else (height, width, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    shown = prepared(script(recipe), tmp_path / "noise.png", tmp_path)
    stored = torch.from_numpy(noise.reshape(height, width, -1)).permute(2, 0, 1).contiguous()
    loaded = fit(stored, image_size=recipe.loaded_size, channels=recipe.channels)[None]
    none = InputFormat(image_size=recipe.image_size, mean=(0.0,), std=(1 / 255,))
    own = InputFormat(image_size=recipe.image_size, mean=recipe.mean, std=recipe.std)
    expected = (none if recipe.normalised else own).prepare(loaded)[0].numpy()
    unit = 1 if recipe.normalised else 1 / (255 * 0.2)  # of a pixel, after normalisation
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= 1.01 * unit


@pytest.mark.parametrize(("loaded", "image_size"), [(20, 20), (20, 12)])
def test_the_script_and_a_registered_model_give_the_same_answers(loaded, image_size, tmp_path):
    path = write_student(tmp_path / "student.onnx", image_size=image_size, loaded_size=str(loaded))
    recipe = Recipe(
        channels=1, loaded_size=loaded, image_size=image_size, mean=(0,), std=(1,), normalised=True
    )
    (tmp_path / "example.py").write_text(script(recipe))
    rng = np.random.default_rng(1)
    files = []
    for place, grey in enumerate(rng.integers(0, 256, 12)):
        noise = rng.integers(max(0, grey - 40), min(256, grey + 40), (31, 45), dtype=np.uint8)
        files.append(tmp_path / f"{place} of them.png")
        files[-1].write_bytes(image_file(noise))
    table = pd.DataFrame({"image": [file.read_bytes() for file in files]})
    registered = StudentModel(path).predict(table)["prediction"].tolist()
    assert run_script(tmp_path / "example.py", files) == registered
    assert len(set(registered)) > 1


@pytest.mark.parametrize(
    ("form", "needed"),
    [("onnx", {"onnxruntime"}), ("pt2", {"torch"}), ("executorch", {"torch", "executorch"})],
)
def test_the_script_needs_numpy_pillow_and_what_runs_the_file_alone(form, needed):
    tree = ast.parse(script(COLOUR, form))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    others = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    assert others == {"numpy", "PIL"} | needed


def test_a_script_that_fails_says_why_in_one_line(tmp_path):
    (tmp_path / "example.py").write_text("import sys\nraise ValueError('no such thing')")
    with pytest.raises(ExportError, match=r"example\.py can't be run here: ValueError: no such"):
        run_script(tmp_path / "example.py", [tmp_path / "a.png"])


def test_a_script_with_other_answers_than_autokd_does_not_hold():
    wrong = Example(images=50, accuracy=0.26, expected=0.32, agreement=0.8)
    (problem,) = wrong.problems
    assert "is right for 26.0% of 50 val images where autokd is for 32.0%" in problem
    for images, agreement in ((50, 0.96), (4, 0.75)):
        near = Example(images=images, accuracy=0.3, expected=0.32, agreement=agreement)
        assert near.problems == []
    assert not Example(images=4, accuracy=0.3, expected=0.32, agreement=0.5).holds
