"""Reading searches and trials back from the store alone."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tracking_records import (
    BUDGET,
    begin,
    finish,
    make_folder,
    make_info,
    make_result,
    trial_runs,
)

from autokd.errors import TrackingError
from autokd.report.frame import stored_front
from autokd.tracking.database import _newest_schema
from autokd.tracking.find import find_candidate
from autokd.tracking.read import COLUMNS, latest_page, list_studies, read_study, read_text
from autokd.tracking.rows import SCHEMAS, Rows
from autokd.tracking.standing import ON_FRONT
from autokd.tracking.store import Store, open_store, open_to_read
from autokd.tracking.view import view_key


@pytest.fixture(scope="module")
def searched(make_store_directory, tmp_path_factory):
    """A finished search of four trials, one of each state; to be read alone."""
    tmp_path = tmp_path_factory.mktemp("searched")
    store = open_store(None, make_store_directory(tmp_path))
    trials = [
        make_result(0, control="small student", folder=make_folder(tmp_path / "t0")),
        make_result(1, state="stopped", reason="stopped at rung 1"),
        make_result(2, state="rejected", reason="over budget: macs", val={}, history=()),
        make_result(3, state="failed", reason="diverged", val={}, cost=None, excess={}),
    ]
    finish(begin(store), trials, [0])
    return store


def test_a_search_is_read_back_as_it_was_written(searched):
    stored = read_study(searched, "digits")
    assert (stored.study, stored.status, stored.seed) == ("digits", "FINISHED", 3)
    assert stored.objectives == ("val_accuracy", "macs")
    assert stored.budget == BUDGET
    assert read_text(searched, stored.run_id, "search.yaml") == "name: digits\n"
    assert stored.hypervolume == 0.7
    assert stored.teacher == {
        "name": "resnet18",
        "hash": "beef",
        "source": "trained here",
        "val_accuracy": 0.98,
        "macs": 557_000_000,
        "params": 11_200_000,
        "size_bytes": 44_800_000,
    }
    assert stored.data["name"] == "digits"
    assert (stored.data["train_count"], stored.data["classes"]) == (100, 2)


def test_trials_are_a_table_with_one_row_each(searched):
    trials = read_study(searched, None).trials
    assert tuple(trials.columns) == COLUMNS
    assert list(trials.number) == [0, 1, 2, 3]
    assert list(trials.state) == ["complete", "stopped", "rejected", "failed"]
    assert list(trials.reason) == [None, "stopped at rung 1", "over budget: macs", "diverged"]
    first = trials.iloc[0]
    assert first.student == "resnet width=8 blocks=(1, 2) stem=3 pool=None, 16 px"
    assert first.stages == "T→A⇉S"
    assert (first.macs, first.front_rank, first.test_accuracy) == (1_000_000, 1, 0.75)
    last = trials.iloc[3]
    assert last.macs is pd.NA
    assert last.front_rank is pd.NA
    assert math.isnan(last.val_accuracy)


def test_a_search_without_trials_is_an_empty_table(store):
    begin(store)
    trials = read_study(store, None).trials
    assert tuple(trials.columns) == COLUMNS
    assert len(trials) == 0


def test_the_latest_search_is_the_one_that_was_worked_on_last(store):
    begin(store, make_info("first")).log_trial(make_result(0))
    begin(store, make_info("second"))
    assert read_study(store, None).study == "second"
    again = begin(store, make_info("first"))
    again.log_trial(make_result(0))
    finish(again, [make_result(0)], [0], make_info("first"))
    assert read_study(store, None).study == "second", "the first was only looked at again"
    begin(store, make_info("first")).log_trial(make_result(1))
    assert read_study(store, None).study == "first"
    assert [entry.study for entry in list_studies(store)] == ["first", "second"]
    study, page = latest_page(store)
    assert study == "first"
    assert f"viewStateShareKey={view_key('first')}" in page


def test_an_unknown_search_is_an_error_that_names_the_known_ones(searched):
    with pytest.raises(TrackingError, match=r"known searches: digits\. Did you mean 'digits'"):
        read_study(searched, "digit")


def test_a_store_without_a_search_says_what_to_do(store):
    assert latest_page(store) is None
    with pytest.raises(TrackingError, match="holds no search yet; run `autokd search` first"):
        read_study(store, None)
    assert list_studies(store) == ()


def test_a_trial_is_found_by_number_hash_and_run_id(searched):
    row = read_study(searched, None).trials.iloc[0]
    for reference in ("digits/0", row.candidate, row.candidate[:8], row.run_id, row.run_id[:12]):
        text, description = find_candidate(searched, reference)
        assert text == "stages: []\n"
        assert description.startswith("trial 0 of search digits (resnet width=8")


def test_one_candidate_tried_in_two_searches_is_not_ambiguous(store, tmp_path):
    result = make_result(0, folder=make_folder(tmp_path / "t0"))
    begin(store).log_trial(result)
    begin(store, make_info("other")).log_trial(replace(result, state="stopped"))
    _, description = find_candidate(store, result.candidate.hash)
    assert "search digits" in description  # the complete one


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("digits/9", "search 'digits' has no trial 9"),
        ("digit/0", "unknown search 'digit'"),
        ("abc", "'abc' names no trial; give a trial's number"),
        ("x' or '1'='1", "names no trial"),
        ("000000000000", "no trial .* starts with '000000000000'"),
        ("digits/2", r"trial 2 .*rejected.* has no candidate\.yaml"),
    ],
)
def test_a_reference_to_nothing_is_an_error_of_one_line(searched, reference, message):
    with pytest.raises(TrackingError, match=message) as caught:
        find_candidate(searched, reference)
    assert "\n" not in str(caught.value)


def test_digits_that_fit_several_trials_are_refused(store):
    begin(store)
    (experiment_id,) = store.experiment_ids()
    for candidate in ("abcdef1234567890", "abcdef0987654321"):
        tags = {"autokd.kind": "trial", "autokd.candidate": candidate}
        store.client.create_run(experiment_id, tags=tags)
    with pytest.raises(TrackingError, match=r"'abcdef' fits several: .*; give more digits"):
        find_candidate(store, "abcdef")


@pytest.mark.slow
def test_trials_beyond_a_page_are_read(store):
    """MLflow gives a thousand runs at a time."""
    tracker = begin(store)
    tracker.log_trial(make_result(0))
    (experiment_id,) = store.experiment_ids()
    tags = {"autokd.kind": "trial", "autokd.study": "digits"}
    for number in range(1, 1003):
        store.client.create_run(experiment_id, tags=tags | {"autokd.trial": str(number)})
    assert len(read_study(store, None).trials) == 1003


@pytest.mark.parametrize("seed", range(3))
def test_the_front_is_among_the_few_trials_that_are_marked_while_a_search_runs(store, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 9, size=(24, 2))  # few different ones: many ties
    results = [
        make_result(
            number,
            state="complete" if rng.random() < 0.8 else "stopped",
            val={"accuracy": accuracy / 10, "loss": 0.4},
            cost=replace(make_result().cost, macs=int(macs) * 10**6),
            excess={"macs": 0.1 if rng.random() < 0.2 else -0.1},
        )
        for number, (accuracy, macs) in enumerate(values)
    ]
    for first in (0, 12):  # as if the search had been interrupted
        tracker = begin(store)
        for result in results[first : first + 12]:
            tracker.log_trial(result)
    tracker.log_trial(replace(results[0], seconds=9.0))  # a run that is written anew
    whole, few = read_study(store, None), read_study(store, None, front_only=True)
    fronts = [stored_front(each.trials, each.objectives, each.teacher) for each in (whole, few)]
    pd.testing.assert_frame_equal(*fronts)
    assert len(fronts[0]) > 1
    marked = {n for n, run in trial_runs(store).items() if run.data.tags[ON_FRONT] == "true"}
    assert {*fronts[0].trial} <= marked
    beaten = whole.trials[whole.trials.number.isin(marked - {*fronts[0].trial})]
    for row in beaten.itertuples():  # equal to one on the front
        assert ((fronts[0].val_accuracy == row.val_accuracy) & (fronts[0].macs == row.macs)).any()


def test_the_front_of_a_search_that_marked_nobody_is_read_from_all_complete_trials(store):
    tracker = begin(store)
    for number in range(3):
        tracker.log_trial(make_result(number))
    for run in trial_runs(store).values():
        store.client.set_tag(run.info.run_id, ON_FRONT, "false")
    assert list(read_study(store, None, front_only=True).trials.number) == [0, 1, 2]


def test_controls_are_read_with_the_front(store):
    tracker = begin(store)
    tracker.log_trial(make_result(0, control="no distillation, small", excess={"macs": 1.0}))
    tracker.log_trial(make_result(1, excess={"macs": 1.0}))
    tracker.log_trial(make_result(2))
    assert list(read_study(store, None, front_only=True).trials.number) == [0, 2]


def test_the_tables_are_read_without_mlflow_where_their_schema_is_the_installed_ones():
    assert _newest_schema() in SCHEMAS, "rows.py: read MLflow's new tables, then say so there"


@pytest.mark.parametrize("front_only", [False, True])
def test_what_the_tables_say_is_what_mlflow_says(searched, front_only):
    rows = open_to_read(searched.uri, searched.directory)
    assert isinstance(rows, Rows)
    by_mlflow, by_tables = (
        read_study(each, None, front_only=front_only) for each in (searched, rows)
    )
    pd.testing.assert_frame_equal(by_tables.trials, by_mlflow.trials)
    assert replace(by_tables, trials=by_mlflow.trials) == by_mlflow
    assert list_studies(rows) == list_studies(searched)


def test_every_tag_param_and_metric_of_a_run_is_what_mlflow_says(store):
    tracker = begin(store)
    tracker.log_trial(make_result(0, val={"accuracy": math.nan, "loss": math.inf}))
    tracker.log_trial(make_result(1, state="rejected", reason="a 'quoted' \"reason\"", val={}))
    rows = open_to_read(store.uri, store.directory)
    for tags, status in (({"autokd.kind": "trial"}, ""), ({"autokd.reason": None}, "KILLED")):
        found = [
            each.tagged(list(each.experiments()), tags, status=status) for each in (store, rows)
        ]
        by_mlflow, by_tables = ({run.info.run_id: run for run in each} for each in found)
        assert list(by_tables) == list(by_mlflow) != []
        for run_id, run in by_tables.items():
            assert run.data.tags == by_mlflow[run_id].data.tags
            assert run.data.params == by_mlflow[run_id].data.params
            assert str(run.data.metrics) == str(by_mlflow[run_id].data.metrics)  # NaN is not NaN
            for name in ("run_id", "experiment_id", "status", "start_time"):
                assert getattr(run.info, name) == getattr(by_mlflow[run_id].info, name)


def test_deleted_runs_and_experiments_are_not_read(store):
    tracker = begin(store)
    tracker.log_trial(make_result(0))
    tracker.log_trial(make_result(1))
    store.client.delete_run(trial_runs(store)[0].info.run_id)
    rows = open_to_read(store.uri, store.directory)
    assert list(read_study(rows, None).trials.number) == [1]
    store.client.delete_experiment(*store.experiment_ids())
    assert list_studies(rows) == ()


def test_tables_of_another_version_are_left_to_mlflow(store):
    begin(store)
    with sqlite3.connect(store.directory / "mlflow.db") as database:
        database.execute("update alembic_version set version_num = 'another'")
    assert isinstance(open_to_read(store.uri, store.directory), Store)


def test_a_store_that_is_not_there_is_not_made_by_reading(tmp_path):
    with pytest.raises(
        TrackingError, match=r"no MLflow store at .* yet; run `autokd search` first"
    ):
        open_to_read(None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_front_is_read_without_importing_mlflow(searched):
    code = (
        "import sys; from autokd.cli.look import front; front();"
        "print('heavy:', *{'mlflow', 'sqlalchemy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=searched.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "resnet18" in done.stdout  # the teacher's row
    assert done.stdout.split("heavy:")[1].split() == []
