"""A student as an MLflow model and as versions in the registry, with a graph made by hand in its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pandas as pd
import pytest
from student_graph import CLASSES, plain, write_student
from tracking_records import begin, make_result, trial_runs

from autokd.errors import ConfigError, TrackingError
from autokd.tracking.find import StoredTrial
from autokd.tracking.models import StudentFile, log_student
from autokd.tracking.registry import check_registry, create_version
from autokd.tracking.store import open_store

CARD = "# A student\n\nOf three classes.\n"


@pytest.fixture
def trial(store):
    begin(store).log_trial(make_result(0))
    run = trial_runs(store)[0]
    return StoredTrial(
        description="a trial",
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        metrics=run.data.metrics,
        tags=run.data.tags,
    )


@pytest.fixture
def student(tmp_path):
    (tmp_path / "MODEL_CARD.md").write_text(CARD)
    (tmp_path / "reference.json").write_text("{}")
    (tmp_path / "example.py").write_text("")
    return StudentFile(
        graph=write_student(tmp_path / "student.onnx"),
        card=tmp_path / "MODEL_CARD.md",
        reference=tmp_path / "reference.json",
        example=tmp_path / "example.py",
        precision="fp32",
        metrics={"export/val_accuracy": 0.5},
    )


def version(store, trial, model_id, *, name="levels", alias=None, card=CARD):
    return create_version(
        store, trial, model_id, name=name, alias=alias, card=card, tags={"audit_val": "warn"}
    )


def test_a_model_holds_graph_card_and_code_and_nothing_that_is_pickled(
    store, trial, student, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    model_id = log_student(store, trial, student)
    assert not list(elsewhere.iterdir())  # MLflow has a store of its own accord where it stands
    (folder,) = tmp_path.glob(f"mlartifacts/**/{model_id}/artifacts")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "MLmodel", "MODEL_CARD.md", "code/student_model.py", "conda.yaml", "data/example.py", "data/reference.json", "data/student.onnx",
        "input_example.json", "python_env.yaml", "requirements.txt", "serving_input_example.json",
    }  # fmt: skip
    wanted = {line.split("==")[0] for line in (folder / "requirements.txt").read_text().split()}
    assert wanted == {"mlflow", "numpy", "onnxruntime", "pandas", "pillow"}
    model = store.client.get_logged_model(model_id)
    assert (model.status, model.source_run_id) == ("READY", trial.run_id)
    run = store.client.get_run(trial.run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [model_id]
    assert run.data.metrics["export/val_accuracy"] == 0.5


def test_the_same_student_is_logged_once_and_another_beside_it(store, trial, student, tmp_path):
    first = log_student(store, trial, student)
    assert log_student(store, trial, student) == first
    write_student(student.graph, note="another file")
    assert log_student(store, trial, student) != first


def test_a_model_that_could_not_be_written_is_marked_as_failed(store, trial, student):
    student.graph.write_bytes(b"no graph")
    with pytest.raises(Exception, match="INVALID_PROTOBUF"):
        log_student(store, trial, student)
    models = store.client.search_logged_models([trial.experiment_id])
    assert [model.status for model in models] == ["FAILED"]


def test_a_version_has_the_card_the_tags_and_the_alias_which_moves(store, trial, student):
    first = version(store, trial, log_student(store, trial, student), alias="champion")
    write_student(student.graph, note="another file")
    second = version(store, trial, log_student(store, trial, student), alias="champion")
    assert [(v.number, v.is_new, v.uri) for v in (first, second)] == [
        (1, True, "models:/levels@champion"),
        (2, True, "models:/levels@champion"),
    ]
    assert second.page == "#/models/levels/versions/2?workflowType=machine_learning"
    known = store.client.get_model_version("levels", "1")
    assert known.tags == {"audit_val": "warn"}
    assert known.run_id == trial.run_id
    assert known.description.endswith(CARD)
    assert 'load_model("models:/levels/1")' in known.description
    assert int(store.client.get_model_version_by_alias("levels", "champion").version) == 2


def test_a_student_that_is_a_version_already_stays_that_version(store, trial, student):
    model_id = log_student(store, trial, student)
    version(store, trial, model_id)
    again = version(store, trial, model_id, alias="champion")
    assert (again.number, again.is_new) == (1, False)
    other = version(store, trial, model_id, name="other")
    assert (other.number, other.is_new) == (1, True)
    tags = store.client.get_logged_model(model_id).tags
    names = [entry["name"] for entry in json.loads(tags["mlflow.modelVersions"])]
    assert names == ["levels", "other"]


def test_a_card_that_is_too_long_for_the_registry_says_where_the_rest_is(store, trial, student):
    version(store, trial, log_student(store, trial, student), card="name, " * 2000)
    description = store.client.get_model_version("levels", "1").description
    assert len(description) == 5000
    assert description.endswith("(the rest is in MODEL_CARD.md among the model's files)")


LOAD = """
import sys
for name in ("torch", "torchvision", "timm", "autokd"):
    sys.modules[name] = None  # an import of it fails
import mlflow, pandas
from pathlib import Path
model = mlflow.pyfunc.load_model("models:/levels@champion")
files = [Path(name).read_bytes() for name in sys.argv[1:]]
print(",".join(model.predict(pandas.DataFrame({"image": files}))["prediction"]))
"""


@pytest.mark.slow
def test_it_is_loaded_by_mlflow_alone_where_there_is_no_torch_and_no_autokd(
    store, trial, student, tmp_path
):
    version(store, trial, log_student(store, trial, student), alias="champion")
    files = []
    for grey in (10, 128, 250):
        files.append(tmp_path / f"{grey}.png")
        files[-1].write_bytes(plain(grey, width=11))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, files)],
        capture_output=True,
        text=True,
        cwd=elsewhere,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {"MLFLOW_TRACKING_URI": store.uri, "MLFLOW_DISABLE_TELEMETRY": "true"},
        check=False,
    )
    assert done.stdout.strip() == ",".join(CLASSES), done.stderr


def test_mlflow_checks_the_table_against_the_signature(
    store, trial, student, monkeypatch, tmp_path
):
    import mlflow.exceptions
    import mlflow.pyfunc

    monkeypatch.chdir(tmp_path)  # MLflow before 3.15 makes a store where a model is loaded
    model_id = log_student(store, trial, student)
    (folder,) = tmp_path.glob(f"mlartifacts/**/{model_id}/artifacts")
    model = mlflow.pyfunc.load_model(str(folder))
    assert model.predict(pd.DataFrame({"image": [plain(250)]}))["prediction"].tolist() == ["light"]
    assert model.predict(model.input_example)["prediction"].tolist() == ["medium"]
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"missing inputs \['image'\]"):
        model.predict(pd.DataFrame({"file": [b""]}))


@pytest.mark.parametrize("name", ["", "a/b", "a:b", ".hidden", "a@b", "it's", "ends ", "x" * 251])
def test_a_name_that_no_model_can_have_is_one_line(name, store):
    with pytest.raises(
        ConfigError, match=r"--name '.*' can't be a registered model's; use letters"
    ):
        check_registry(store, name, None)


@pytest.mark.parametrize("alias", ["", "latest", "Latest", "v3", "a b", "a@b", "x" * 251])
def test_an_alias_that_mlflow_has_another_use_for_is_one_line(alias, store):
    with pytest.raises(ConfigError, match=r"--alias '.*' can't be an alias; use letters"):
        check_registry(store, "digits", alias)


@pytest.mark.parametrize(("name", "alias"), [("digits", None), ("Zahlen 2.0_ä-b", "champion-1")])
def test_other_names_are_taken(name, alias, store):
    check_registry(store, name, alias)


class _WithoutRegistry(BaseHTTPRequestHandler):
    """A tracking server that knows nothing of registered models."""

    def do_GET(self) -> None:
        known = "registered-models" not in self.path
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(
            b"{}" if known else b'{"error_code": "ENDPOINT_NOT_FOUND", "message": "no"}'
        )

    do_POST = do_GET  # noqa: N815 - http.server's

    def log_message(self, *_: object) -> None:
        """Not on the tests' standard error."""


def test_a_store_without_a_registry_is_one_line_that_names_the_way_out(tmp_path):
    with HTTPServer(("127.0.0.1", 0), _WithoutRegistry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = open_store(f"http://127.0.0.1:{server.server_port}", tmp_path, create=False)
        with pytest.raises(
            TrackingError, match=r"has no model registry that answers: .*autokd export"
        ):
            check_registry(store, "digits", None)
        server.shutdown()
