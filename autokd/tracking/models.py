"""Students as MLflow models: graph, card and the one file of code that answers for image files. Nothing in one is pickled."""

from __future__ import annotations

import hashlib
import inspect
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.runtime import student_model
from autokd.runtime.student_model import StudentModel
from autokd.tracking.find import StoredTrial
from autokd.tracking.read import find_parent
from autokd.tracking.store import Store, one_line_errors

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow")
CONTENT_TAG = "autokd.content"  # hash of the files: the same student is not logged twice
DATA = "data"  # the folder of a model that MLflow puts the graph into


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentFile:
    """An exported student and what is known of the file itself."""

    graph: Path  # ONNX that takes pixels
    card: Path
    reference: Path  # what its val looked like, for who holds it against new images
    example: Path  # a script that asks the graph
    precision: str
    metrics: Mapping[str, float]


def log_student(store: Store, trial: StoredTrial, student: StudentFile) -> str:
    """The id of the student's model, an output of the trial's run; made where the run has none of the same content."""
    content = _hash([student.graph, student.card, Path(student_model.__file__)])
    with one_line_errors(store):
        for model in _ready(store, trial.experiment_id, f"source_run_id = '{trial.run_id}'"):
            if model.tags.get(CONTENT_TAG) == content:
                return str(model.model_id)
        return _log(store, trial, student, content)


def models_of(store: Store, study: str) -> set[tuple[int, str]]:
    """Trials of a search that have a model, each with the precision of it."""
    with one_line_errors(store):
        experiment = find_parent(store, study).info.experiment_id
        return {
            (int(model.params["trial"]), model.params["precision"])
            for model in _ready(store, experiment, f"params.study = '{study}'")
        }


def _ready(store: Store, experiment_id: str, condition: str) -> Iterator[LoggedModel]:
    """Models that were written to their end, page after page."""
    token = None
    while True:
        page = store.client.search_logged_models(
            [experiment_id], filter_string=condition, page_token=token
        )
        yield from (model for model in page if model.status == "READY")
        token = page.token
        if not token:
            return


def _log(store: Store, trial: StoredTrial, student: StudentFile, content: str) -> str:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

    client, number = store.client, trial.tags["autokd.trial"]
    known = {name: trial.tags.get(f"autokd.{name}", "") for name in ("study", "trial", "student")}
    model = client.create_logged_model(
        trial.experiment_id,
        name=f"trial-{int(number):04d}-{student.precision}",
        source_run_id=trial.run_id,
        params=known | {"precision": student.precision},
        tags={
            CONTENT_TAG: content,
            "mlflow.note.content": student.card.read_text(encoding="utf-8"),
        },
        model_type="autokd student",
    )
    status = LoggedModelStatus.FAILED
    try:
        with tempfile.TemporaryDirectory(prefix="autokd-model-") as place:
            folder = Path(place) / "model"
            _write_model(folder, student, model)
            client.log_model_artifacts(model.model_id, str(folder))
        status = LoggedModelStatus.READY
    finally:
        client.finalize_logged_model(model.model_id, status)
    client.log_outputs(trial.run_id, models=[LoggedModelOutput(model.model_id, step=0)])
    now = model.creation_timestamp
    metrics = [
        Metric(key, value, now, 0, model_id=model.model_id)
        for key, value in student.metrics.items()
    ]
    client.log_batch(trial.run_id, metrics=metrics)
    return str(model.model_id)


def _write_model(folder: Path, student: StudentFile, model: LoggedModel) -> None:
    """An MLflow model: what to install is named here, since finding it out takes MLflow 20 s and a whole environment."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    loaded = StudentModel(student.graph)
    # Its wrapper turns tracing off and on again, for which MLflow before 3.15 makes an mlflow.db in the working directory.
    save_model = inspect.unwrap(mlflow.pyfunc.save_model)
    save_model(
        str(folder),
        loader_module=Path(student_model.__file__).stem,
        data_path=str(student.graph),
        code_paths=[student_model.__file__],
        signature=_signature(loaded.classes),
        input_example=pd.DataFrame({student_model.COLUMN: [_example(loaded)]}),
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            model_uuid=model.model_id,
            model_id=model.model_id,
            run_id=model.source_run_id,
        ),
    )
    shutil.copy(student.card, folder)
    for file in (student.reference, student.example):
        shutil.copy(file, folder / DATA)


def _signature(classes: Sequence[str]) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    numbers = [student_model.PROBABILITY, *(f"p_{name}" for name in classes)]
    outputs = [ColSpec("string", student_model.PREDICTION)]
    outputs += [ColSpec("double", name) for name in numbers]
    return ModelSignature(Schema([ColSpec("binary", student_model.COLUMN)]), Schema([*outputs]))


def _example(student: StudentModel) -> bytes:
    """A plain grey PNG: an image of the data may show a person, and a model goes to places where the data do not."""
    from PIL import Image

    size = (student.image_size, student.image_size)
    content = io.BytesIO()
    Image.new("L" if student.channels == 1 else "RGB", size, "grey").save(content, "PNG")
    return content.getvalue()


def _hash(files: Sequence[Path]) -> str:
    digest = hashlib.sha256(b"with a reference")  # which earlier models had not
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
