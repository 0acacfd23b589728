"""From a search to the registry and to a server that answers for image files with class names."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from student_graph import image_file
from test_export import SEARCH, search
from typer.testing import CliRunner

import autokd
from autokd.cli import app
from autokd.config import load_config
from autokd.data import load_data
from autokd.engine.place import CACHE
from autokd.errors import ParityError, TrackingError
from autokd.exporting import log_front
from autokd.exporting.parity import Tolerance
from autokd.tracking.models import models_of
from autokd.tracking.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_latency")]
MINUTES = 3.0  # that a server may take to answer on a busy machine


@pytest.fixture(scope="module")
def place(make_store_directory, tmp_path_factory, quick_latency):
    directory = make_store_directory(tmp_path_factory.mktemp("register"))
    search(directory, "fp32")
    return directory


@pytest.fixture(scope="module")
def registered(place):
    return autokd.register(0, "digits", alias="champion", directory=place)


@pytest.fixture(scope="module")
def data(place):
    config = load_config(place / "fp32.yaml")
    return load_data(config.data, seed=config.seed, cache=place / CACHE)


@pytest.fixture(scope="module")
def store(place):
    return open_store(None, place)


@pytest.fixture(scope="module")
def files(data):
    return [image_file(image[0].numpy()) for image in data.val.images]


def expected(data, registered) -> float:
    """How many of val's images the student answers rightly, as it was recorded."""
    recorded = re.search(r"val accuracy ([0-9.]+)", registered.student)
    assert recorded
    return float(recorded[1])


def test_a_version_tells_what_the_student_is_how_good_and_what_its_audit_said(store, registered):
    version = store.client.get_model_version_by_alias("digits", "champion")
    assert {"study", "trial", "macs", "params", "size_bytes", "val_accuracy", "precision"} <= set(
        version.tags
    )
    assert version.tags["trial"] == "0"
    assert version.tags["audit_val"] == registered.audits["val"]
    assert float(version.tags["val_accuracy"]) == pytest.approx(registered.parity.accuracy)
    for part in ("# resnet width=8", "## Fairness", "## Limits", "Image files in, class names out"):
        assert part in version.description
    assert registered.version.page.startswith("#/models/digits/versions/")


def test_registering_it_again_changes_nothing(registered, place):
    again = autokd.register(0, "digits", directory=place)
    assert (again.version.number, again.version.is_new) == (registered.version.number, False)
    assert again.model_id == registered.model_id


@pytest.mark.parametrize("version", ["models:/digits@champion", "models:/digits/1"])
def test_a_registered_version_is_held_against_new_images_as_its_export_is(
    version, registered, place, data, tmp_path
):
    pixels = torch.stack([image[0] for image in data.val.images]).numpy()
    np.savez(tmp_path / "new.npz", images=pixels, labels=data.val.labels.numpy())
    shutil.rmtree(place / "shipped", ignore_errors=True)
    autokd.export(0, place / "shipped", directory=place)
    found, again = (
        autokd.monitor(each, tmp_path / "new.npz", directory=place)
        for each in (version, place / "shipped")
    )
    assert found.to_dict() == again.to_dict()
    assert found.change.now.correct == round(registered.parity.accuracy * len(pixels))


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("models:/digits", "names no version of a model; give models:/NAME/VERSION"),
        ("models:/digits/99", "digits.*99"),
        ("models:/digits@nobody", "nobody"),
        ("models:/other/1", "other"),
    ],
)
def test_a_version_that_is_not_there_is_one_line(version, message, registered, place, tmp_path):
    np.savez(tmp_path / "new.npz", images=np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(TrackingError, match=message) as caught:
        autokd.monitor(version, tmp_path / "new.npz", directory=place)
    assert "\n" not in str(caught.value)


def test_what_was_quantised_for_it_claims_no_audit_and_no_latency(store, registered, place):
    rounded = autokd.register(0, "digits-int8", int8=True, directory=place)
    assert rounded.precision == "int8"
    assert rounded.audits == {}
    version = store.client.get_model_version("digits-int8", str(rounded.version.number))
    unknown = {"audit_val", "audit_test", "test_accuracy", "latency_ms", "activation_bytes"}
    assert not unknown & set(version.tags)
    assert int(version.tags["size_bytes"]) == rounded.size_bytes < registered.size_bytes
    assert "Of the student before it became int8" in version.description


def test_a_student_that_fails_parity_is_not_registered(store, place, monkeypatch):
    impossible = Tolerance(difference=-1.0, agreement=1.0)
    monkeypatch.setattr("autokd.exporting.export.EXACT", impossible)
    with pytest.raises(
        ParityError, match=r"parity failed: the same answer .* Nothing was registered"
    ) as it:
        autokd.register(0, "never", directory=place)
    assert it.value.exit_status == 1
    assert not store.client.search_registered_models("name = 'never'")


def test_the_command_says_how_to_load_serve_and_see_it(registered, place, monkeypatch):
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, ["register", "0", "--name", "digits", "--alias", "champion"])
    assert done.exit_code == 0, done.output
    for part in (
        "digits version 1, alias champion (it was one already)",
        'mlflow.pyfunc.load_model("models:/digits@champion")',
        "mlflow models serve -m models:/digits@champion --env-manager local",
        "#/models/digits/versions/1?workflowType=machine_learning",
        "audit: val ",
    ):
        assert part in done.output


def test_mlflow_answers_for_val_s_files_as_it_was_recorded(registered, place, data, files):
    code = (
        "import sys\n"
        "for name in ('torch', 'timm', 'autokd'): sys.modules[name] = None\n"
        "import mlflow, numpy, pandas\n"
        "model = mlflow.pyfunc.load_model('models:/digits@champion')\n"
        "files = [bytes(f) for f in numpy.load('files.npz').values()]\n"
        "print(','.join(model.predict(pandas.DataFrame({'image': files}))['prediction']))"
    )
    np.savez(place / "files.npz", *(np.frombuffer(file, dtype=np.uint8) for file in files))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=place, env=_environment(place), check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    right = _right(done.stdout.strip().split(","), data)
    assert (
        right == registered.parity.accuracy == pytest.approx(expected(data, registered), abs=1e-4)
    )


def test_mlflow_serves_it_and_images_in_json_get_class_names(registered, place, data, files):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["models", "serve", "-m", "models:/digits@champion", "--env-manager", "local"]
    with subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command, "--port", str(port)],
        cwd=place, env=_environment(place), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            rows = [[base64.b64encode(file).decode()] for file in files]
            answers = _ask(port, {"dataframe_split": {"columns": ["image"], "data": rows}})
            assert (
                _right([row["prediction"] for row in answers], data) == registered.parity.accuracy
            )
            (one,) = _ask(port, {"dataframe_records": [{"image": rows[0][0]}]})
            assert one == answers[0]
            assert one["probability"] == max(one[f"p_{digit}"] for digit in range(10))
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def _right(predictions: list[str], data) -> float:
    names = np.array(data.info.class_names)[data.val.labels.numpy()]
    return float(torch.tensor(np.array(predictions) == names, dtype=torch.float64).mean())


def _environment(place: Path) -> dict[str, str]:
    """As in an activated environment, since `mlflow models serve` looks for uvicorn there; without the tests' own path."""
    own = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return known | own | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _ask(port: int, body: dict[str, object]) -> list[dict[str, object]]:
    """Of a server that may still be starting."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    end = time.monotonic() + 60 * MINUTES
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["predictions"]
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


@pytest.fixture
def with_models(tmp_path, make_store_directory):
    """Makes a search whose front's students become models."""
    file = make_store_directory(tmp_path) / "search.yaml"
    text = SEARCH.replace("PRECISION", "fp32").replace("full}", "full, log_models: true}")
    file.write_text(text)
    return lambda: autokd.search(file, directory=tmp_path)


def test_students_of_a_finished_front_become_models_if_the_search_says_so(
    with_models, tmp_path, caplog
):
    with caplog.at_level(logging.INFO):
        result = with_models()
        with_models()  # nothing is left to do
    numbers = [*result.front["trial"]]
    told = re.findall(r"model of \S+/(\d+): .* the same answer as in PyTorch for 100", caplog.text)
    assert [int(number) for number in told] == numbers
    store = open_store(None, tmp_path)
    assert models_of(store, result.study) == {(number, "fp32") for number in numbers}
    for model in store.client.search_logged_models(store.experiment_ids()):
        kept = Path(model.artifact_location.removeprefix("file://"))
        described = yaml.safe_load((kept / "MLmodel").read_text())
        assert {"signature", "saved_input_example_info"} <= described.keys()
        assert not [*kept.rglob("*.pkl")]


def test_a_student_that_fails_parity_has_no_model_and_the_search_is_done_all_the_same(
    with_models, tmp_path, caplog, monkeypatch
):
    impossible = Tolerance(difference=-1.0, agreement=1.0)
    monkeypatch.setattr("autokd.exporting.export.EXACT", impossible)
    result = with_models()
    assert len(result.front)
    assert f"no model of {result.study}/" in caplog.text
    assert models_of(open_store(None, tmp_path), result.study) == set()


def test_a_store_that_is_away_by_then_is_a_warning_and_the_search_is_done(tmp_path, caplog):
    log_front("a-study", [], tracking_uri="http://127.0.0.1:9", directory=tmp_path)
    assert "127.0.0.1:9 does not answer" in caplog.text
    assert "the front has no models there yet: autokd register" in caplog.text
