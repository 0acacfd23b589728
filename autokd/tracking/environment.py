"""What mlflow is told before it is imported, and which of its errors are the store's."""

from __future__ import annotations

import json
import logging
import os

# Read by mlflow when it is imported or at each call; what the user has set already is kept.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # alembic tells of 60 migrations otherwise
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",  # pip in a process of its own for each model
    "MLFLOW_UV_AUTO_DETECT": "false",  # a model is not of the project that autokd is run in
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default retries for four minutes a call
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def prepare_environment() -> None:
    """Before the first ``import mlflow``: no telemetry, no chatter, no minutes of retries."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # On a locked database mlflow logs a traceback before it raises the error that we report.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def mlflow_failures() -> tuple[type[Exception], ...]:
    """What an mlflow call may raise because of the store; anything else is a bug of ours."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # of MLflow's migrations, as it is

    return (MlflowException, SQLAlchemyError, OSError, json.JSONDecodeError)
