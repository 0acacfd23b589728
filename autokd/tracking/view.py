"""The chart page that a search's link opens. MLflow keeps such pages in an undocumented format, so nothing depends on it."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autokd.errors import first_line
from autokd.records import COSTS, SearchInfo, TrialResult
from autokd.tracking.environment import mlflow_failures
from autokd.tracking.store import Store, tag_is
from autokd.variation import varying_params

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG_PREFIX = "mlflow.sharedViewState."
KEY_PREFIX = "autokd-"
MOST_VIEWS = 30  # of an experiment; the interface stops at 40, and people save some too
MOST_CHARACTERS = 20_000  # of a view's tag
# What runs are compared by, beside accuracy and costs.
AUDIT_METRICS = ("audit/worst_group_accuracy", "audit/worst_change")
TAG_COLUMNS = ("audit", "student", "pareto_rank", "control")
# Axes of the parallel coordinates while nothing is known about which parameters vary.
FIRST_AXES = (
    "student.student.model",
    "student.training.learning_rate",
    "student.temperature",
)
MOST_AXES = 5
# MLflow makes one for each first part of a metric's name, with a bar chart a metric: kept, folded up.
GENERATED_SECTIONS = (
    "audit",
    "cost",
    "excess",
    "test",
    "train",
    "val",
    "Model metrics",
    "System metrics",
)
_log = logging.getLogger(__name__)


def view_key(study: str) -> str:
    return KEY_PREFIX + hashlib.sha256(study.encode()).hexdigest()[:12]


def save_view(
    store: Store, experiment_id: str, info: SearchInfo, trials: Sequence[TrialResult] = ()
) -> None:
    """Best effort: without it the link opens MLflow's default page."""
    state = front_view(info, trials)
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    view = {"name": f"Front of {info.study}", "createdAt": now, "updatedAt": now}
    text = json.dumps(view | {"state": f"deflate;{packed}"})
    try:
        if len(text) > MOST_CHARACTERS:
            raise OSError(f"the view takes {len(text)} characters")
        _forget_oldest(store.client, experiment_id)
        store.client.set_experiment_tag(experiment_id, TAG_PREFIX + view_key(info.study), text)
    except mlflow_failures() as error:
        _log.warning("the chart page was not saved in MLflow: %s", first_line(error))


def front_view(info: SearchInfo, trials: Sequence[TrialResult]) -> dict[str, Any]:
    """Accuracy against each cost, and parameters as parallel coordinates, of a search's complete trials."""
    costs = [f"cost/{name}" for name in info.objectives if name in COSTS]
    axes = varying_params(trials, most=MOST_AXES) or list(FIRST_AXES)
    charts = [_scatter(info.study, cost) for cost in costs]
    charts.append(
        _chart("PARALLEL", "axes", "What the trials have in common")
        | {"selectedParams": axes, "selectedMetrics": [*costs, "val/accuracy"], "showAllRuns": True}
    )
    return {
        # the teacher's run is "complete" too, and shows where its students come from
        "searchFilter": " and ".join(
            [tag_is("autokd.study", info.study), tag_is("autokd.state", "complete")]
        ),
        # Charts draw the first hundred rows alone: the front comes first.
        "orderByKey": "tags.`autokd.pareto`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            f"metrics.`{key}`" for key in ("val/accuracy", *costs, "test/accuracy", *AUDIT_METRICS)
        ]
        + [f"tags.`autokd.{name}`" for name in TAG_COLUMNS],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": [
            _section("autokd", f"Search {info.study}", shown=True),
            *(_section(f"autokd-{name}", name, shown=False) for name in GENERATED_SECTIONS),
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,  # or the sections are sorted by name
        "useGroupedValuesInCharts": False,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _section(key: str, name: str, *, shown: bool) -> dict[str, Any]:
    return {
        "uuid": key,
        "name": name,
        "display": shown,
        "columns": 1 if shown else 3,
        "cardHeight": 440 if shown else 360,
        "isReordered": True,
        "deleted": False,
        "isGenerated": not shown,
    }


def _scatter(study: str, cost: str) -> dict[str, Any]:
    return _chart("SCATTER", cost.replace("/", "-"), f"{study}: accuracy and {cost}") | {
        "xaxis": {"key": cost, "type": "METRIC"},
        "yaxis": {"key": "val/accuracy", "type": "METRIC"},
    }


def _chart(kind: str, name: str, title: str) -> dict[str, Any]:
    return {
        "uuid": f"autokd-{name}",
        "type": kind,
        "runsCountToCompare": 500,
        "metricSectionId": "autokd",
        "deleted": False,
        "isGenerated": False,
        "displayName": title,
    }


def _forget_oldest(client: MlflowClient, experiment_id: str) -> None:
    """Views of other people, and everything that is not ours, stay."""
    tags = client.get_experiment(experiment_id).tags
    ours = {tag: text for tag, text in tags.items() if tag.startswith(TAG_PREFIX + KEY_PREFIX)}
    by_age = sorted(ours, key=lambda tag: json.loads(ours[tag]).get("updatedAt", 0))
    for tag in by_age[: max(0, len(by_age) - MOST_VIEWS + 1)]:
        client.delete_experiment_tag(experiment_id, tag)
