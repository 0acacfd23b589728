"""Whole searches, as small as they get: to their end, interrupted, continued, repeated and run again from a file."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from autokd.config import Config, override_config, parse_config
from autokd.engine.candidate_file import parse_candidate_file
from autokd.engine.check import check_search
from autokd.engine.database import ledger_url
from autokd.engine.deaths import MOST_DEATHS
from autokd.engine.insight import load_insight
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE, make_writable
from autokd.engine.progress import Progress
from autokd.engine.rerun import rerun
from autokd.engine.search import run_search
from autokd.engine.status import load_status
from autokd.errors import ConfigError, DataError, StorageError
from autokd.records import TrialResult
from autokd.tracking.read import read_study
from autokd.tracking.store import open_store

pytestmark = pytest.mark.slow

CONFIG = parse_config(
    {
        "name": "tiny",
        "data": {"source": "digits", "limit": 300, "flip": False, "views": 1},
        "teacher": {
            "model": "resnet",
            "arguments": {"width": 16, "depth": 1, "stages": 3, "stem_stride": 2},
            "train": {"epochs": 1, "batch_size": 32, "augmentation": "none"},
        },
        "budget": {"max_macs": "60k", "runtime": "pytorch"},  # an export to ONNX takes seconds
        "students": {
            "model": "resnet",
            "families": {
                "resnet": {
                    "width": {"low": 8, "high": 16, "step": 4},
                    "depth": [1, 2],
                    "stages": 3,
                    "stem_stride": [2, 4],
                }
            },
        },
        "distill": {"temperature": {"low": 1, "high": 8, "log": True}},
        "schedule": {"assistants": [0, 1]},
        "train": {
            "epochs": 1,
            "batch_size": 32,
            "learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
            "augmentation": "none",
        },
        "search": {"trials": 6, "resamples": 0},  # so that some are rejected
    },
    source="",
)


def search(directory: Path, config: Config = CONFIG, **options):
    return run_search(config, directory=directory, device="cpu", **options)


def with_trials(count: int) -> Config:
    return override_config(CONFIG, {"search": {"trials": count}})


def outcomes(results: tuple[TrialResult, ...]):
    """What must not depend on how a search was run."""
    return [(r.number, r.seed, r.candidate.hash, r.state, dict(r.val)) for r in results]


def interrupt_after(count: int) -> Callable[[Progress], None]:
    def observe(progress: Progress) -> None:
        if progress.latest is not None and progress.trained == count:
            raise KeyboardInterrupt

    return observe


@pytest.fixture(scope="module")
def new_directory(tmp_path_factory, make_store_directory):
    return lambda name: make_store_directory(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def finished(new_directory, quick_latency):
    """A search that was not disturbed: its folder, its result, and each state that was observed."""
    directory = new_directory("finished")
    seen: list[Progress] = []
    return directory, search(directory, observe=seen.append), seen


def test_a_search_trains_its_controls_first_and_then_as_many_trials_as_asked(finished):
    _, result, _ = finished
    trained = [r for r in result.results if r.state != "rejected"]
    assert len(trained) == 6
    assert [r.number for r in result.results] == list(range(len(result.results)))
    assert [bool(r.control) for r in result.results[:5]] == [True] * 4 + [False]
    assert {r.state for r in trained} == {"complete"}
    assert result.stopped_because == "6 trials"


def test_students_over_budget_are_recorded_untrained_and_none_of_them_is_trained(finished):
    _, result, _ = finished
    assert {trial.state for trial in result.results} == {"complete", "rejected"}
    for trial in result.results:
        assert trial.cost is not None
        assert (trial.state == "rejected") == (trial.cost.macs > 60_000)
        assert (trial.state == "rejected") == (trial.history == ())


def test_the_front_alone_is_tested(finished):
    _, result, _ = finished
    assert len(result.front) >= 1
    assert result.front["test_accuracy"].notna().all()
    assert result.front["val_accuracy"].is_monotonic_decreasing
    assert result.front["macs"].is_monotonic_decreasing


def test_every_trial_is_observed_once_and_the_hypervolume_never_shrinks(finished):
    _, result, seen = finished
    assert seen[0].latest is None
    assert [p.latest.number for p in seen[1:]] == [r.number for r in result.results]
    volumes = [progress.hypervolume for progress in seen]
    assert volumes == sorted(volumes)
    assert 0 < volumes[-1] < 1


def test_mlflow_has_every_trial_and_the_front(finished):
    directory, result, _ = finished
    stored = read_study(open_store(None, directory), result.study)
    assert sorted(stored.trials["number"]) == [r.number for r in result.results]
    assert result.pending == 0
    accuracy = dict(zip(stored.trials["number"], stored.trials["val_accuracy"], strict=True))
    for trial in result.results:
        if trial.state == "complete":
            assert accuracy[trial.number] == trial.val["accuracy"]


def test_the_teacher_is_timed_in_the_end_where_latency_decides_nothing(finished):
    directory, result, _ = finished
    timed = result.info.teacher.cost.latency_ms
    assert timed > 0
    stored = read_study(open_store(None, directory), result.study)
    assert stored.teacher["latency_ms"] == timed
    with closing(Ledger(ledger_url(None, directory / CACHE), result.study)) as book:
        assert book.notes["search"]["teacher"]["cost"]["latency_ms"] == timed
        assert book.notes["scale"]["teacher"]["cost"]["latency_ms"] is None


def test_front_and_controls_are_timed_in_the_end_where_latency_decides_nothing(finished):
    directory, result, _ = finished
    controls = {r.number for r in result.results if r.control}
    timed = {r.number: r.cost.latency_ms for r in result.results if r.cost.latency_ms is not None}
    assert timed.keys() == {*result.front["trial"], *controls}
    assert result.front["latency_ms"].tolist() == [
        timed[number] for number in result.front["trial"]
    ]
    stored = read_study(open_store(None, directory), result.study).trials.set_index("number")
    assert stored["latency_ms"].dropna().to_dict() == timed


def test_its_report_has_a_page_of_insight_made_from_the_ledger(finished):
    directory, result, _ = finished
    (page,) = (directory / "mlartifacts").rglob("report/insight.html")
    assert f"What the search {result.study} tells" in page.read_text(encoding="utf-8")
    found = load_insight(ledger_url(None, directory / CACHE), result.study)
    assert found.states["complete"] == 6
    assert found.growth[-1].trials == 6
    assert found.worker_seconds["train"] > 0
    assert found.driver_seconds.keys() >= {"ask", "record", "log", "wait"}
    assert [broken.limit for broken in found.broken] == ["macs"]


def test_a_finished_search_adds_nothing_when_it_is_run_again(finished):
    directory, result, _ = finished
    again = search(directory)
    assert outcomes(again.results) == outcomes(result.results)
    assert again.run_id == result.run_id
    assert again.front.equals(result.front)


@pytest.mark.slow
def test_an_interrupted_search_goes_on_to_what_an_undisturbed_one_finds(finished, new_directory):
    directory = new_directory("interrupted")
    first = search(directory, observe=interrupt_after(2))
    assert first.stopped_because.startswith("interrupted")
    assert len(first.results) == 2
    assert first.front["test_accuracy"].isna().all(), "the test split is for finished searches"
    second = search(directory, observe=interrupt_after(5))
    assert outcomes(second.results)[:2] == outcomes(first.results)
    last = search(directory)
    _, undisturbed, _ = finished
    assert outcomes(last.results) == outcomes(undisturbed.results)
    assert last.study == undisturbed.study
    assert last.run_id == first.run_id


def open_ledger(directory: Path, study: str) -> Ledger:
    return Ledger(ledger_url(None, directory / CACHE), study)


@pytest.mark.slow
def test_a_trial_that_was_killed_in_training_is_trained_first_when_the_search_goes_on(
    finished, new_directory
):
    whole_directory, undisturbed, _ = finished
    directory = new_directory("killed")
    study = search(directory, observe=interrupt_after(2)).study
    # what a killed driver leaves: a proposal written down, and some of its files
    started = open_ledger(directory, study).entries[2]
    assert started.result is None
    assert started.proposal == open_ledger(whole_directory, study).entries[2].proposal
    folder = directory / CACHE / "studies" / study / "0002"
    folder.mkdir()
    (folder / "best.safetensors").write_bytes(b"half of it")
    last = search(directory)
    assert outcomes(last.results) == outcomes(undisturbed.results)


@pytest.mark.slow
def test_more_trials_go_on_where_fewer_ended(finished, new_directory):
    directory = new_directory("more")
    few = search(directory, with_trials(3))
    assert len(few.results) == 3
    more = search(directory)
    _, undisturbed, _ = finished
    assert more.study == few.study
    assert outcomes(more.results) == outcomes(undisturbed.results)


def test_another_seed_or_budget_is_another_search(finished):
    directory, result, _ = finished
    interrupted = search(
        directory, override_config(CONFIG, {"": {"seed": 5}}), observe=interrupt_at_once
    )
    assert interrupted.study != result.study
    assert interrupted.results == ()


def interrupt_at_once(progress: Progress) -> None:
    raise KeyboardInterrupt


def test_two_drivers_of_one_search_do_not_write_its_ledger_together(finished):
    directory, result, _ = finished
    with (
        FileLock(directory / CACHE / f"{result.study}.lock"),
        pytest.raises(StorageError, match=f"search {result.study} is already running here"),
    ):
        search(directory)


def candidate_file(directory: Path, trial: TrialResult) -> str:
    assert trial.folder is not None
    return (directory / trial.folder / "candidate.yaml").read_text()


def test_a_check_counts_no_time_for_a_teacher_that_is_there(finished, tmp_path):
    directory, _, _ = finished
    assert check_search(CONFIG, directory=directory, device="cpu").teacher_seconds is None
    assert check_search(CONFIG, directory=tmp_path, device="cpu").teacher_seconds > 0


def test_a_candidate_file_holds_all_that_a_trial_needs(finished):
    directory, result, _ = finished
    trial = result.results[-1]
    recorded = parse_candidate_file(candidate_file(directory, trial), source="candidate.yaml")
    assert recorded.candidate == trial.candidate
    assert recorded.config == CONFIG
    assert (recorded.seed, recorded.threads) == (trial.seed, trial.threads)
    assert recorded.val_accuracy == trial.val["accuracy"]
    assert recorded.teacher_hash == result.info.teacher.hash


def test_a_candidate_run_again_from_its_file_is_as_accurate_as_it_was(finished):
    directory, result, _ = finished
    with_assistant = [r for r in result.results if len(r.candidate.stages) > 1]
    for trial in (result.results[1], *with_assistant[:1]):
        text = candidate_file(directory, trial)
        again = rerun(text, source="candidate.yaml", directory=directory, device="cpu")
        assert again.same_teacher
        assert dict(again.result.val) == dict(trial.val)


def test_a_candidate_of_other_data_is_not_run(finished):
    directory, result, _ = finished
    record = yaml.safe_load(candidate_file(directory, result.results[0]))
    text = yaml.safe_dump(record | {"data_hash": "0" * 16})
    with pytest.raises(
        DataError, match=r"mine\.yaml: was trained on other data than digits holds now"
    ):
        rerun(text, source="mine.yaml", directory=directory, device="cpu")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "candidate: {}",
        "a: [",
        "candidate: {stages: 3}",
        "candidate: {stages: [{}]}",
    ],
)
def test_what_is_no_candidate_file_is_refused_in_one_line(text):
    with pytest.raises(
        ConfigError, match=r"^mine\.yaml: is (no candidate file of autokd|not valid YAML)"
    ) as refused:
        parse_candidate_file(text, source="mine.yaml")
    assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_written_is_found_before_the_search(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"file: can't be written: .*; run autokd where you may write"
    ):
        make_writable(tmp_path / "file")


def test_a_device_that_is_not_there_is_found_before_the_search(tmp_path):
    with pytest.raises(ConfigError, match="device 'tpu9' can't be used: "):
        run_search(CONFIG, directory=tmp_path, device="tpu9")
    assert {path.suffix for path in (tmp_path / CACHE).iterdir()} <= {".lock"}  # its claim's


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_search_with_several_workers(store_directory):
    """Worker processes must not run the script again."""
    record = CONFIG.model_dump(mode="json")
    (store_directory / "mine.yaml").write_text(yaml.safe_dump(record))
    script = store_directory / "script.py"
    script.write_text(
        "import autokd\n"
        "result = autokd.search('mine.yaml', workers=2, trials=3)\n"
        "print('states', sorted(r.state for r in result.results))\n"
    )
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=store_directory,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines() == ["states ['complete', 'complete', 'complete']"], done.stderr


LONGER = override_config(CONFIG, {"train": {"epochs": 3}, "search": {"trials": 8}})


@pytest.mark.slow
def test_a_halving_search_pauses_trials_and_goes_on_wherever_it_was_interrupted(new_directory):
    whole = search(new_directory("halving"), LONGER)
    lengths = {len(r.history) for r in whole.results if r.state != "rejected"}
    assert lengths == {1, 3}
    assert {r.state for r in whole.results if len(r.history) == 1} == {"stopped"}
    directory = new_directory("halving in parts")
    events = []

    def interrupt_at_times(progress: Progress) -> None:
        if progress.latest is not None:
            events.append(progress.latest)
            if len(events) % 3 == 0:
                raise KeyboardInterrupt

    while True:
        last = search(directory, LONGER, observe=interrupt_at_times)
        if not last.interrupted:
            break
    assert len(events) > 8
    assert outcomes(last.results) == outcomes(whole.results)
    status = load_status(ledger_url(None, directory / CACHE), None)
    assert (status.study, status.ended, status.begun) == (last.study, "8 trials", 8)
    assert [member["number"] for member in status.front] == last.front["trial"].tolist()


@pytest.mark.slow
def test_a_killed_worker_process_costs_nothing_but_time(new_directory):
    whole = search(new_directory("whole"), LONGER)
    directory = new_directory("killed workers")
    killed = []

    def kill_a_worker(progress: Progress) -> None:
        if (
            progress.running and progress.latest is not None and len(killed) < MOST_DEATHS
        ):  # it may be the same trial each time
            worker = multiprocessing.active_children()[0]
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    two = override_config(LONGER, {"search": {"workers": 2}})
    found = search(directory, two, observe=kill_a_worker)
    assert len(killed) == MOST_DEATHS
    assert {r.state for r in found.results} <= {"complete", "stopped", "rejected"}
    controls = [r for r in found.results if r.control]
    assert outcomes(controls) == outcomes([r for r in whole.results if r.control])
