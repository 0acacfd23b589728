"""The finished front in MLflow."""

from __future__ import annotations

import base64
import json
import logging
import zlib
from dataclasses import replace

import pandas as pd
import pytest
from engine_records import make_audit, make_member
from test_tracking_write import FlakyClient
from tracking_records import (
    GROWTH,
    begin,
    finish,
    make_info,
    make_report,
    make_result,
    trial_runs,
)

from autokd.errors import TrackingError
from autokd.records import Remeasured
from autokd.tracking.read import read_study, read_text
from autokd.tracking.store import open_store
from autokd.tracking.study_run import make_links
from autokd.tracking.trial_run import FRONT_COLOUR, OTHER_COLOUR
from autokd.tracking.view import MOST_VIEWS, TAG_PREFIX, save_view, view_key
from autokd.variation import varying_params


def _study(store):
    (run,) = store.runs(store.experiment_ids(), "tags.\"autokd.kind\" = 'study'")
    return run


def test_finishing_writes_trials_that_are_missing_and_marks_the_front(store):
    finish(begin(store), [make_result(n) for n in range(3)], [2, 0])
    runs = trial_runs(store)
    marks = {
        n: (tags["autokd.pareto"], tags.get("autokd.pareto_rank"), tags["mlflow.runColor"])
        for n, tags in ((n, run.data.tags) for n, run in runs.items())
    }
    assert marks == {
        0: ("true", "02", FRONT_COLOUR),
        1: ("false", None, OTHER_COLOUR),
        2: ("true", "01", FRONT_COLOUR),
    }
    assert {n for n, run in runs.items() if "test/accuracy" in run.data.metrics} == {0, 2}


def test_a_members_audit_on_test_is_in_its_run_and_in_the_table_read_back(store, tmp_path):
    report = tmp_path / "report"
    report.mkdir()
    (report / "audit.json").write_text("{}")
    tracker = begin(store)
    trial = make_result(0, audit=make_audit())
    member = make_member(0, report=report, status="fail", worst_change=-0.2, undecided=3)
    tracker.finish(
        [member],
        [trial],
        growth=GROWTH,
        stopped="",
        report=make_report,
        frame=pd.DataFrame(),
        info=make_info(),
    )
    run = trial_runs(store)[0]
    assert run.data.tags["autokd.test_audit"] == "fail"
    assert run.data.metrics["test/worst_change"] == -0.2
    assert read_text(store, run.info.run_id, "test_audit/audit.json") == "{}"
    (row,) = read_study(store, None).trials.to_dict("records")
    assert (row["audit"], row["test_audit"], row["worst_change"]) == ("pass", "fail", -0.03)
    assert (row["undecided"], row["test_undecided"]) == (0, 3)
    assert row["feasible"]


def test_why_no_student_is_good_enough_is_read_back_until_one_is(store):
    for text in ("None of these students is good enough: …\n\n- More epochs.", ""):
        begin(store).finish(
            [make_member(0)],
            [make_result(0)],
            growth=GROWTH,
            stopped="",
            report=lambda places, text=text: replace(make_report(places), shortfall=text),
            frame=pd.DataFrame(),
            info=make_info(),
        )
        assert read_study(store, None).shortfall == text


def test_a_trial_beyond_a_limit_is_read_back_as_not_feasible(store):
    begin(store).log_trial(make_result(0, excess={"gap_growth": 0.02}))
    assert read_study(store, None).trials["feasible"].tolist() == [False]


def test_a_trial_that_leaves_the_front_loses_its_rank_and_colour(store):
    trials = [make_result(n) for n in range(3)]
    finish(begin(store), trials, [2, 0])
    finish(begin(store), trials, [1])
    tags = trial_runs(store)[2].data.tags
    assert "autokd.pareto_rank" not in tags
    assert (tags["autokd.pareto"], tags["mlflow.runColor"]) == ("false", OTHER_COLOUR)


def test_finishing_twice_adds_no_points(store):
    trials = [make_result(n) for n in range(3)]
    finish(begin(store), trials, [2, 0])
    finish(begin(store), trials, [2, 0])
    study = _study(store)
    for key, points in {"hypervolume": len(GROWTH), "front/size": 1}.items():
        assert len(store.client.get_metric_history(study.info.run_id, key)) == points
    history = store.client.get_metric_history(study.info.run_id, "front/macs")
    assert [(m.step, m.value) for m in history] == [(1, 3e6), (2, 1e6)]
    trial = trial_runs(store)[2].info.run_id
    assert len(store.client.get_metric_history(trial, "test/accuracy")) == 1


def test_the_report_is_told_where_every_run_is(store):
    tracker = begin(store)
    finish(tracker, [make_result(n) for n in range(3)], [2, 0])
    study = _study(store)
    assert study.info.status == "FINISHED"
    report = read_text(store, study.info.run_id, "report/report.md")
    for number in (0, 2):
        run = trial_runs(store)[number].info
        assert f"{number}: #/experiments/{run.experiment_id}/runs/{run.run_id}" in report
    assert read_text(store, study.info.run_id, "report/front.csv").split() == ["trial", "2", "0"]
    front = json.loads(read_text(store, study.info.run_id, "report/front.json"))
    assert front == {"columns": ["trial"], "data": [[2], [0]]}
    note = study.data.tags["mlflow.note.content"]
    assert tracker.links().view in note
    assert f"/runs/{study.info.run_id}/artifacts/report/report.md" in note


def test_the_hypervolume_is_a_curve_over_trials_that_a_longer_search_goes_on_with(store):
    trials = [make_result(n) for n in range(3)]
    finish(begin(store), trials, [2, 0])
    longer = (*GROWTH[:-1], *(replace(GROWTH[-1], trials=n, hypervolume=n / 10) for n in (4, 8)))
    begin(store).finish(
        [],
        trials,
        growth=longer,
        stopped="",
        report=make_report,
        frame=pd.DataFrame(),
        info=make_info(),
    )
    run_id = _study(store).info.run_id
    history = store.client.get_metric_history(run_id, "hypervolume")
    assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == [
        (0, 0.0), (2, 0.6), (3, 0.7), (4, 0.4), (8, 0.8),
    ]  # fmt: skip
    assert read_study(store, None).hypervolume == 0.8


def test_the_teacher_has_a_run_that_is_written_once(store):
    begin(store)
    begin(store)
    (run,) = store.runs(store.experiment_ids(), "tags.\"autokd.kind\" = 'teacher'")
    assert (run.info.run_name, run.info.status) == ("teacher: resnet18", "FINISHED")
    assert run.data.metrics["val/accuracy"] == 0.98
    assert run.data.metrics["cost/macs"] == 557_000_000
    assert run.data.tags["mlflow.parentRunId"] == _study(store).info.run_id
    assert len(store.client.get_metric_history(run.info.run_id, "cost/macs")) == 1
    assert [d.dataset.name for d in run.inputs.dataset_inputs] == ["digits"]


def test_runs_have_figures_of_further_seeds_where_there_are_some(store):
    again = Remeasured(
        seeds=3, val_mean=0.81, val_std=0.012, test_mean=0.79, test_std=None, shrink=0.01
    )
    trials = [make_result(n) for n in range(2)]
    members = [replace(make_member(0), again=again), make_member(1, rank=2)]
    begin(store).finish(
        members, trials, growth=GROWTH, stopped="2 trials", report=make_report, frame=pd.DataFrame(),
        info=make_info(),
    )  # fmt: skip
    metrics = trial_runs(store)[0].data.metrics
    assert (metrics["again/seeds"], metrics["again/val_mean"], metrics["again/shrink"]) == (
        3, 0.81, 0.01,
    )  # fmt: skip
    assert "again/test_std" not in metrics
    assert "again/seeds" not in trial_runs(store)[1].data.metrics
    assert _study(store).data.tags["autokd.stopped"] == "2 trials"


def test_a_front_without_members_can_be_finished(store):
    finish(begin(store), [make_result(0, state="failed", cost=None, excess={}, val={})], [])
    assert _study(store).data.metrics["front/size"] == 0


def test_finishing_without_the_store_says_what_is_missing(store_directory):
    store = open_store(None, store_directory)
    client = FlakyClient(store.client)
    object.__setattr__(store, "client", client)
    tracker = begin(store)
    client.down = True
    with pytest.raises(TrackingError, match="connection refused"):
        finish(tracker, [make_result(0)], [0])


def test_the_saved_view_decodes_and_is_small_enough_to_be_kept(store):
    info = make_info(objectives=("val_accuracy", "macs", "size_bytes"))
    finish(begin(store, info), [make_result(n) for n in range(3)], [2], info)
    (experiment_id,) = store.experiment_ids()
    text = store.client.get_experiment(experiment_id).tags[TAG_PREFIX + view_key("digits")]
    assert len(text) <= 20_000
    packed = json.loads(text)["state"].removeprefix("deflate;")
    charts = json.loads(zlib.decompress(base64.b64decode(packed)))["compareRunCharts"]
    assert [chart["type"] for chart in charts] == ["SCATTER", "SCATTER", "PARALLEL"]
    assert charts[0]["xaxis"]["key"] == "cost/macs"
    assert charts[-1]["selectedParams"] == ["student.student.arguments.width"]


def test_axes_are_parameters_that_all_complete_trials_have_and_that_differ():
    trials = [make_result(n) for n in range(3)]
    assert varying_params(trials, most=5) == ["student.student.arguments.width"]
    assert varying_params([make_result(0, state="rejected")], most=5) == []


def test_old_views_make_room_and_those_of_people_stay(store):
    begin(store)
    (experiment_id,) = store.experiment_ids()
    store.client.set_experiment_tag(experiment_id, f"{TAG_PREFIX}mine", "{}")
    for number in range(MOST_VIEWS + 3):
        save_view(store, experiment_id, make_info(f"s{number}"))
    tags = store.client.get_experiment(experiment_id).tags
    views = [tag for tag in tags if tag.startswith(TAG_PREFIX)]
    assert f"{TAG_PREFIX}mine" in views
    assert len(views) == MOST_VIEWS + 1


def test_a_view_that_can_not_be_saved_is_a_warning(store, caplog):
    with caplog.at_level(logging.WARNING):
        save_view(store, "987654321", make_info())
    assert "chart page was not saved" in caplog.text


def test_links_name_the_work_flow_or_mlflow_opens_another_page():
    links = make_links("digits", "5", "abc")
    assert links.run == "#/experiments/5/runs/abc?workflowType=machine_learning"
    assert links.view.startswith("#/experiments/5/runs?workflowType=machine_learning&")
