"""What leaves: the student's answers through the runtime, from pixels or from normalised images, and its card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from student_graph import image_file
from typer.testing import CliRunner

from autokd.cli import app
from autokd.config import load_config
from autokd.data import load_data
from autokd.engine.place import CACHE
from autokd.errors import ConfigError, DataError, ExportError
from autokd.exporting import export_student
from autokd.exporting.example import run_script
from autokd.exporting.parity import ROUNDED, Tolerance
from autokd.quantities import format_cost

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_latency")]
SEARCH = """
data: {source: digits, views: 1, flip: false, limit: 500}
teacher:
  model: resnet
  arguments: {width: 8, depth: 1, stages: 3, stem_stride: 1}
  train: {epochs: 1}
students:
  model: resnet
  precision: PRECISION
  families: {resnet: {width: 8, depth: 1, stages: 3, stem_stride: 2}}
train: {epochs: 3, learning_rate: 1e-2, batch_size: 32}
search: {trials: 2, strategy: full}
"""


def search(directory: Path, precision: str) -> Path:
    import autokd

    file = directory / f"{precision}.yaml"
    file.write_text(SEARCH.replace("PRECISION", precision))
    result = autokd.search(file, directory=directory)
    (best, *_) = result.front["trial"]
    return Path(next(r.folder for r in result.results if r.number == best))


@pytest.fixture(scope="module")
def place(make_store_directory, tmp_path_factory):
    return make_store_directory(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def folders(place, quick_latency):
    return {precision: search(place, precision) for precision in ("fp32", "fp16", "int8")}


@pytest.fixture(scope="module")
def data(place):
    config = load_config(place / "fp32.yaml")
    return load_data(config.data, seed=config.seed, cache=place / CACHE)


def export(folder, place, output, **options):
    return export_student(folder, output, source="a test", cache=place / CACHE, **options)


def answer(path: Path, shown: torch.Tensor) -> tuple[np.ndarray, dict[str, str]]:
    """By ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(str(path))
    (entry,) = session.get_inputs()
    (logits,) = session.run(["logits"], {entry.name: shown.numpy().astype(np.float32)})
    return logits, session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_file_takes_pixels_and_has_the_accuracy_that_was_recorded(
    precision, folders, data, place, tmp_path
):
    exported = export(folders[precision], place, tmp_path / "out")
    assert exported.precision == precision
    assert exported.problems == []
    assert exported.path.name == "student.onnx"
    logits, facts = answer(exported.path, torch.stack([*data.val.images]))
    accuracy = float((logits.argmax(axis=1) == data.val.labels.numpy()).mean())
    assert accuracy == exported.parity.accuracy == pytest.approx(exported.recorded)
    assert json.loads(facts["classes"]) == list(data.info.class_names)
    assert facts["source"] == "a test"
    assert facts["input"] == exported.input
    assert "pixels 0..255" in facts["input"]


@pytest.mark.parametrize("form", ["onnx", "pt2"])
@pytest.mark.parametrize("normalise", [True, False])
def test_the_example_beside_it_names_classes_of_image_files_as_the_student_does(
    form, normalise, folders, data, place, tmp_path
):
    out = tmp_path / "out"
    exported = export(folders["fp32"], place, out, format_name=form, normalise=normalise)
    images = data.val.images.pixels[:, 0].numpy()
    files = [tmp_path / f"{number}.png" for number in range(len(images))]
    for file, pixels in zip(files, images, strict=True):
        file.write_bytes(image_file(pixels))
    right = np.array([int(name) for name in run_script(out / "example.py", files)])
    accuracy = (right == data.val.labels.numpy()).mean()
    assert accuracy == exported.parity.accuracy
    example = exported.example
    assert (example.images, example.agreement) == (min(200, len(images)), 1.0)
    assert example.accuracy == example.expected
    assert f"Run on {example.images} images of val it is right for" in exported.card.read_text()


def test_what_does_not_answer_as_the_student_does_is_not_named_as_if_it_were_ready(
    folders, place, tmp_path, monkeypatch
):
    impossible = Tolerance(difference=None, agreement=1.01)
    monkeypatch.setattr("autokd.exporting.export.EXACT", impossible)
    exported = export(folders["fp32"], place, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "MODEL_CARD.md", "example.py", "reference.json", "student.failed.onnx",
    ]  # fmt: skip
    first = exported.card.read_text().splitlines()[0]
    assert first.startswith("**Not ready to ship: parity failed: the same answer as in PyTorch for")
    assert '"student.failed.onnx"' in (tmp_path / "out" / "example.py").read_text()
    assert not exported.faithful


def test_costs_that_are_not_the_recorded_ones_are_a_problem_of_the_export(folders, place, tmp_path):
    exported = export(folders["fp32"], place, tmp_path / "out", facts={"cost/params": 7.0})
    (problem,) = exported.problems
    assert "instead of 7 that its record says" in problem
    assert problem in exported.card.read_text().splitlines()[0]
    assert exported.path.name == "student.onnx"


def test_normalisation_outside_is_said_in_the_file(folders, data, place, tmp_path):
    exported = export(folders["fp32"], place, tmp_path / "out", normalise=False)
    pixels = torch.stack([*data.val.images]).float()
    shown = (pixels / 255 - data.mean[0]) / data.std[0]
    logits, facts = answer(exported.path, shown)
    assert (logits.argmax(axis=1) == data.val.labels.numpy()).mean() == exported.parity.accuracy
    assert facts["input"].endswith(f"(pixels / 255 - [{data.mean[0]:.4f}]) / [{data.std[0]:.4f}]")


def test_fewer_bits_make_a_smaller_file(folders, place, tmp_path):
    sizes = [
        export(folders[name], place, tmp_path / name).size_bytes
        for name in ("fp32", "fp16", "int8")
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] < 0.65 * sizes[0]


@pytest.mark.parametrize("normalise", [True, False])
def test_pt2_is_run_without_the_model_s_code(normalise, folders, data, place, tmp_path):
    exported = export(
        folders["fp32"], place, tmp_path / "out", format_name="pt2", normalise=normalise
    )
    assert exported.parity.holds
    images = torch.stack([*data.val.images]).float()
    shown = images if normalise else (images / 255 - data.mean[0]) / data.std[0]
    torch.save(shown, tmp_path / "shown.pt")
    code = (
        "import sys, torch\n"
        f"model = torch.export.load({str(exported.path)!r}).module()\n"
        f"print((model(torch.load({str(tmp_path / 'shown.pt')!r})).argmax(1)).tolist())\n"
        "assert 'timm' not in sys.modules and 'autokd' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    right = np.array(json.loads(done.stdout)) == data.val.labels.numpy()
    assert right.mean() == exported.parity.accuracy


def test_executorch_runs_it_image_by_image(folders, place, tmp_path):
    pytest.importorskip("executorch", reason="optional: pip install 'autokd[executorch]'")
    exported = export(folders["fp32"], place, tmp_path / "out", format_name="executorch")
    assert exported.path.name == "student.pte"
    assert exported.parity.holds
    assert exported.parity.accuracy == pytest.approx(exported.recorded)


def test_executorch_that_is_not_there_is_one_line(folders, place, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "executorch", None)
    with pytest.raises(ExportError, match=r"pip install 'autokd\[executorch\]'"):
        export(folders["fp32"], place, tmp_path / "out", format_name="executorch")


def test_a_float_student_is_quantised_on_request_and_held_against_pytorch(folders, place, tmp_path):
    exported = export(folders["fp32"], place, tmp_path / "out", int8=True)
    assert exported.precision == "int8"
    assert exported.recorded is None
    assert exported.parity.tolerance == ROUNDED
    assert exported.parity.difference > 0
    assert exported.parity.agreement > 0.9


def test_the_card_says_what_it_is_how_good_and_what_was_not_measured(folders, place, tmp_path):
    facts = {"test/accuracy": 0.75, "test/teacher_accuracy": 0.8125, "autokd.audit": "warn", "cost/latency_ms": 2.0,
             "autokd.latency_device": "a device", "audit/worst_group_accuracy": 0.5, "autokd.worst_group": "a=b"}  # fmt: skip
    exported = export(folders["fp32"], place, tmp_path / "out", facts=facts)
    card = exported.card.read_text()
    for part in ("# resnet width=8", "`student.onnx`, fp32", "| 75.00% |", "| 81.25% |", "a device",
                 "**warn**", "a=b, accuracy 50.00%", "the classes in order are 0, 1, 2", "student, from "):  # fmt: skip
        assert part in card, part
    bare = export(folders["fp32"], place, tmp_path / "bare").card.read_text()
    assert "| test |" not in bare
    assert "latency" not in bare
    assert f"- macs: {format_cost('macs', exported.costs['macs'])}" in card


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"format_name": "onx"},
            r"unknown format 'onx'; known: onnx, pt2, executorch\. Did you mean 'onnx'",
        ),
        ({"format_name": "pt2", "int8": True}, "pt2 holds fp32, not int8"),
    ],
)
def test_what_can_not_be_exported_is_one_line(options, message, folders, place, tmp_path):
    with pytest.raises(ConfigError, match=message):
        export(folders["fp32"], place, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_and_data_that_changed_are_refused(folders, place, tmp_path):
    with pytest.raises(ConfigError, match="already; name a new folder"):
        export(folders["fp32"], place, folders["fp16"])
    changed = tmp_path / "changed"
    changed.mkdir()
    for name in ("candidate.yaml", "best.safetensors"):
        (changed / name).write_bytes((folders["fp32"] / name).read_bytes())
    text = (changed / "candidate.yaml").read_text()
    (changed / "candidate.yaml").write_text(text.replace("limit: 500", "limit: 400"))
    with pytest.raises(DataError, match="was trained on other data"):
        export(changed, place, tmp_path / "out")


def test_the_command_exports_a_trial_of_the_store_or_a_folder(
    folders, place, tmp_path, monkeypatch
):
    monkeypatch.chdir(place)
    run = CliRunner()
    done = run.invoke(
        app, ["export", f"{folders['int8'].parent.name}/0", "--output", str(tmp_path / "a")]
    )
    assert done.exit_code == 0, done.output
    assert "val accuracy through ONNX Runtime" in done.output
    assert done.output.startswith(f"trial 0 of search {folders['int8'].parent.name} (resnet ")
    assert "of the latest search" not in done.output
    again = run.invoke(
        app, ["export", str(folders["fp32"]), "--output", str(tmp_path / "b"), "--format", "pt2"]
    )
    assert again.exit_code == 0, again.output
    assert (tmp_path / "b" / "student.pt2").is_file()
    by_number = run.invoke(app, ["export", "0", "--output", str(tmp_path / "c")])
    assert by_number.output.splitlines()[0].endswith("), of the latest search")


def test_an_exported_model_is_run_where_there_is_no_torch(folders, data, place, tmp_path):
    exported = export(folders["int8"], place, tmp_path / "out")
    np.save(tmp_path / "pixels.npy", torch.stack([*data.val.images]).float().numpy())
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy, onnxruntime\n"
        f"session = onnxruntime.InferenceSession({str(exported.path)!r})\n"
        f"(logits,) = session.run(None, {{'pixels': numpy.load({str(tmp_path / 'pixels.npy')!r})}})\n"
        "print(logits.argmax(1).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        np.array(json.loads(done.stdout)) == data.val.labels.numpy()
    ).mean() == exported.parity.accuracy
