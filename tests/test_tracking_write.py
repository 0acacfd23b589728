"""Writing a search into MLflow."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest
from engine_records import make_audit
from tracking_records import (
    begin,
    finish,
    make_candidate,
    make_folder,
    make_info,
    make_result,
    trial_runs,
)

from autokd.errors import TrackingError
from autokd.records import Candidate, Epoch
from autokd.tracking.read import read_text
from autokd.tracking.store import Store
from autokd.tracking.trial_run import REASON_LENGTH
from autokd.tracking.write import Tracker


class FlakyClient:
    """Passes calls on to MLflow's client, or fails as one does whose server has gone."""

    def __init__(self, client):
        self.client = client
        self.down = False
        self.calls_left = math.inf

    def __getattr__(self, name):
        from mlflow.exceptions import MlflowException

        self.calls_left -= 1
        if self.down or self.calls_left < 0:
            raise MlflowException("connection refused")
        return getattr(self.client, name)


@pytest.fixture
def flaky(store: Store) -> Store:
    return replace(store, connect=lambda: FlakyClient(store.client))


def test_a_trial_logged_twice_is_one_run_with_no_point_doubled(store):
    tracker = begin(store)
    tracker.log_trial(make_result(7))
    first = trial_runs(store)[7].info.run_id
    tracker.log_trial(make_result(7))
    assert trial_runs(store)[7].info.run_id == first
    assert len(store.client.get_metric_history(first, "val/accuracy")) == 1
    assert len(store.client.get_metric_history(first, "train/loss")) == 4


def test_a_candidate_comes_back_from_the_params_of_its_run(store):
    candidate = make_candidate(learning_rate=1.23456789e-5)
    begin(store).log_trial(make_result(0, candidate=candidate))
    params = trial_runs(store)[0].data.params
    assert Candidate.from_params(params) == candidate
    assert (params["seed"], params["threads"]) == ("100", "1")


def test_a_trials_run_holds_its_figures_and_files(store, tmp_path):
    begin(store).log_trial(make_result(7, folder=make_folder(tmp_path / "t7")))
    run = trial_runs(store)[7]
    assert run.info.run_name == "trial-0007"
    assert run.info.end_time - run.info.start_time >= 8000
    assert run.data.metrics["cost/macs"] == 8e6
    assert run.data.metrics["excess/macs"] < 0
    assert (
        run.data.tags["autokd.student"] == "resnet width=15 blocks=(1, 2) stem=3 pool=None, 16 px"
    )
    steps = [m.step for m in store.client.get_metric_history(run.info.run_id, "val/epoch_accuracy")]
    assert steps == [1, 2, 3, 4]  # counted on over the stages
    files = {file.path for file in store.client.list_artifacts(run.info.run_id)}
    assert files == {"best.safetensors", "candidate.yaml"}


def test_a_trials_run_holds_its_audit_to_sort_by_and_to_read(store, tmp_path):
    folder = make_folder(tmp_path / "t2")
    (tmp_path / "t2" / "audit").mkdir()
    (tmp_path / "t2" / "audit" / "audit.html").write_text("<p>who lost what</p>")
    audit = make_audit(status="fail", worst_change=-0.192, gap_growth=None)
    begin(store).log_trial(make_result(2, folder=folder, audit=audit))
    run = trial_runs(store)[2]
    assert run.data.metrics["audit/worst_change"] == -0.192
    assert run.data.metrics["audit/worst_group_accuracy"] == 0.6
    assert "audit/gap_growth" not in run.data.metrics  # undefined
    assert (run.data.tags["autokd.audit"], run.data.tags["autokd.worst_group"]) == (
        "fail",
        "site=C",
    )
    assert "No group lost more" in run.data.tags["mlflow.note.content"]
    assert read_text(store, run.info.run_id, "audit/audit.html") == "<p>who lost what</p>"


def test_the_audit_of_the_teacher_is_with_the_search(store, tmp_path):
    report = tmp_path / "teacher_audit"
    report.mkdir()
    (report / "audit.md").write_text("the teacher alone")
    tracker = Tracker(store)
    tracker.begin(make_info(), versions={}, git_commit=None, command=None)
    tracker.attach(report)
    assert read_text(store, tracker.run_id, "teacher_audit/audit.md") == "the teacher alone"


def test_more_points_than_one_request_may_hold_are_all_written(store):
    epochs = tuple(replace(make_result().history[0], epoch=epoch) for epoch in range(1, 401))
    begin(store).log_trial(make_result(1, history=epochs))
    run_id = trial_runs(store)[1].info.run_id
    assert len(store.client.get_metric_history(run_id, "train/loss")) == 400


@pytest.mark.parametrize(
    ("state", "status"),
    [("complete", "FINISHED"), ("stopped", "KILLED"), ("rejected", "KILLED"), ("failed", "FAILED")],
)
def test_a_trials_state_gives_its_runs_status(store, state, status):
    begin(store).log_trial(make_result(1, state=state, reason="why"))
    run = trial_runs(store)[1]
    assert run.info.status == status
    assert (run.data.tags["autokd.state"], run.data.tags["autokd.reason"]) == (state, "why")


def test_a_long_reason_is_cut_in_the_tag_and_whole_in_a_file(store):
    reason = "x" * 9000
    begin(store).log_trial(make_result(1, state="failed", cost=None, excess={}, reason=reason))
    run = trial_runs(store)[1]
    assert run.data.tags["autokd.reason"] == "x" * (REASON_LENGTH - 1) + "…"
    assert read_text(store, run.info.run_id, "reason.txt") == reason


def test_values_that_are_not_finite_are_left_out_and_named(store):
    bad = Epoch(
        stage="student",
        epoch=1,
        train_loss=math.nan,
        val_loss=math.inf,
        val_accuracy=0.1,
        learning_rate=1e-3,
        seconds=1.0,
    )
    result = make_result(1, state="failed", history=(bad,), val={"accuracy": math.nan})
    tracker = begin(store)
    tracker.log_trial(result)
    run = trial_runs(store)[1]
    assert run.data.tags["autokd.not_finite"] == "train/loss val/accuracy val/epoch_loss"
    assert not {"train/loss", "val/accuracy", "val/epoch_loss"} & run.data.metrics.keys()
    tracker.log_trial(result)  # NaN is not equal to itself, its record is
    assert trial_runs(store)[1].info.run_id == run.info.run_id


def test_a_search_that_goes_on_finds_its_run_and_opens_it_again(store):
    tracker = begin(store)
    finish(tracker, [make_result(0)], [0])
    run_id = tracker.links().run
    again = begin(store)
    assert again.links().run == run_id
    (study,) = store.runs(store.experiment_ids(), "tags.\"autokd.kind\" = 'study'")
    assert study.info.status == "RUNNING"
    assert len(store.client.get_metric_history(study.info.run_id, "teacher/macs")) == 1
    assert len(study.inputs.dataset_inputs) == 1


def test_a_name_taken_by_a_search_with_other_settings_is_refused(store):
    begin(store)
    with pytest.raises(TrackingError, match="has a search named 'digits' with other settings"):
        begin(store, make_info(fingerprint="other"))


def test_a_deleted_experiment_is_brought_back(store):
    tracker = begin(store)
    tracker.log_trial(make_result(0))
    (experiment_id,) = store.experiment_ids()
    store.client.delete_experiment(experiment_id)
    assert begin(store).links() == tracker.links()
    assert store.experiment_ids() == [experiment_id]


@pytest.mark.parametrize("calls", range(1, 8))
def test_a_trial_cut_off_at_any_call_is_complete_after_the_search_goes_on(flaky, tmp_path, calls):
    """As when the driver is killed there: nothing is taken back, nothing is closed."""
    result = make_result(3, folder=make_folder(tmp_path / "t3"))
    tracker = begin(flaky)
    flaky.client.calls_left = calls
    tracker.log_trial(result)
    flaky.client.calls_left = math.inf
    begin(flaky).log_trial(result)
    run = trial_runs(flaky)[3]
    assert run.info.status == "FINISHED"
    assert Candidate.from_params(run.data.params) == result.candidate
    assert len(flaky.client.get_metric_history(run.info.run_id, "val/accuracy")) == 1
    assert len(flaky.client.list_artifacts(run.info.run_id)) == 2


def test_an_orphan_is_closed_when_the_search_goes_on(flaky):
    tracker = begin(flaky)
    flaky.client.calls_left = 2  # search for the run, create it
    tracker.log_trial(make_result(3))
    flaky.client.calls_left = math.inf
    assert trial_runs(flaky)[3].info.status == "RUNNING"
    begin(flaky)
    assert trial_runs(flaky)[3].info.status == "KILLED"


def test_trials_wait_while_the_store_is_away_and_are_written_when_it_is_back(flaky, caplog):
    tracker = begin(flaky)
    flaky.client.down = True
    with caplog.at_level(logging.WARNING):
        tracker.log_trial(make_result(0))
        tracker.log_trial(make_result(1))
        tracker.interrupt("two students")
    assert tracker.pending == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    flaky.client.down = False
    tracker.log_trial(make_result(2))
    assert tracker.pending == 0
    assert sorted(trial_runs(flaky)) == [0, 1, 2]


def test_what_is_attached_while_the_store_is_away_is_there_when_it_is_back(flaky, tmp_path):
    (tmp_path / "teacher_audit").mkdir()
    (tmp_path / "teacher_audit" / "audit.md").write_text("the teacher alone")
    tracker = begin(flaky)
    flaky.client.down = True
    tracker.attach(tmp_path / "teacher_audit")
    flaky.client.down = False
    assert flaky.client.list_artifacts(tracker.run_id, "teacher_audit") == []
    tracker.log_trial(make_result(0))
    assert read_text(flaky, tracker.run_id, "teacher_audit/audit.md") == "the teacher alone"


def test_a_trial_that_mlflow_never_takes_does_not_hold_up_the_others(store):
    tracker = begin(store)
    tracker.log_trial(make_result(0, excess={"a%b": 0.0}))  # MLflow refuses such a key
    tracker.log_trial(make_result(1))
    tracker.log_trial(make_result(2))
    assert tracker.pending == 1
    assert {1, 2} <= set(trial_runs(store))


def test_an_interrupted_search_is_marked_so(store):
    tracker = begin(store)
    tracker.interrupt("3 students trained to their end.")
    (study,) = store.runs(store.experiment_ids(), "tags.\"autokd.kind\" = 'study'")
    assert study.info.status == "KILLED"
    note = study.data.tags["mlflow.note.content"]
    assert "3 students trained to their end." in note
    assert "the same command goes on" in note
    begin(store)
    again = store.client.get_run(study.info.run_id).data.tags["mlflow.note.content"]
    assert "3 students" not in again


def test_interrupting_before_the_search_began_does_nothing(store):
    Tracker(store).interrupt("nothing")


def test_a_search_that_goes_on_rewrites_what_earlier_drivers_wrote_and_looks_for_nothing_else(
    store,
):
    tracker = begin(store)
    for number in range(3):
        tracker.log_trial(make_result(number, state="stopped"))
    again = Tracker(store)
    again.begin(make_info(), versions={}, git_commit=None, command=None, begun=3)
    searches = []
    search_runs = store.client.search_runs
    store.client.search_runs = lambda *args, **kwargs: (
        searches.append(kwargs["filter_string"]) or search_runs(*args, **kwargs)
    )
    again.log_trial(make_result(2))
    assert len(searches) == 1
    for number in (3, 4):
        again.log_trial(make_result(number, state="stopped"))
        again.log_trial(make_result(number))
    assert len(searches) == 1
    states = {number: run.info.status for number, run in trial_runs(store).items()}
    assert states == {0: "KILLED", 1: "KILLED", 2: "FINISHED", 3: "FINISHED", 4: "FINISHED"}


def test_a_search_whose_ledger_was_lost_replaces_the_runs_of_the_lost_one(store):
    tracker = begin(store)
    for number in range(3):
        tracker.log_trial(make_result(number))
    again = Tracker(store)
    again.begin(make_info(), versions={}, git_commit=None, command=None, begun=0)
    for number in range(3):
        again.log_trial(make_result(number, seconds=9.0))
    assert sorted(trial_runs(store)) == [0, 1, 2]


def test_runs_that_a_slow_server_was_asked_to_make_twice_are_one_when_the_search_ends(store):
    """MLflow's client gives the request again when the answer takes too long; the server carries out both."""
    tracker = begin(store)
    parent = store.client.get_run(tracker.run_id)
    (teacher,) = store.tagged(store.experiment_ids(), {"autokd.kind": "teacher"})
    tags = ("autokd.kind", "autokd.study", "autokd.fingerprint")
    for run in (parent, teacher):
        twin_tags = {tag: run.data.tags[tag] for tag in tags if tag in run.data.tags}
        store.client.create_run(run.info.experiment_id, tags=twin_tags, run_name=run.info.run_name)
    finish(tracker, [make_result(0)], [0])
    runs = {run.info.run_name: run.info for run in store.runs(store.experiment_ids())}
    assert {run.status for run in runs.values()} == {"FINISHED"}
    assert len(list(store.runs(store.experiment_ids()))) == 3
    assert runs["digits"].run_id == tracker.run_id


def test_a_server_that_comes_back_while_the_end_waits_for_it_is_told_the_end(tmp_path, monkeypatch):
    answers = iter([None, "refused", "refused", None])
    monkeypatch.setattr("autokd.tracking.store._ping", lambda _: next(answers))
    monkeypatch.setattr("time.sleep", lambda _: None)
    server = Store(uri="http://127.0.0.1:9", directory=tmp_path, connect=lambda: None)
    assert server.answers()
    assert not server.answers()
    assert server.answers(patience=60.0)
