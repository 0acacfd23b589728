"""A whole search whose front is trained again from further seeds, and one that begins with an earlier front."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_engine_driver import CONFIG, interrupt_after, outcomes, search

from autokd.config import override_config
from autokd.records import REMEASURED
from autokd.report.frame import stored_front
from autokd.tracking.read import read_study
from autokd.tracking.store import open_store

pytestmark = pytest.mark.slow
AGAIN = override_config(CONFIG, {"search": {"final_seeds": 2}})


@pytest.fixture(scope="module")
def found(tmp_path_factory, make_store_directory, quick_latency):
    directory = make_store_directory(tmp_path_factory.mktemp("finals"))
    return directory, search(directory, AGAIN)


def test_every_member_of_the_front_has_figures_that_nobody_chose(found):
    _, result = found
    front = result.front
    assert (front["seeds"] == 2).all()
    assert front[list(REMEASURED)].notna().all().all()
    assert front["shrink"].tolist() == pytest.approx(
        (front["val_accuracy"] - front["val_mean"]).tolist()
    )
    assert "Trained again from 2 further seeds" in result.summary
    assert "mean ± standard error of 2 seeds each" in result.summary


def test_mlflow_tells_the_same(found):
    directory, result = found
    stored = read_study(open_store(None, directory), result.study)
    again = stored_front(stored.trials, stored.objectives, stored.teacher)
    assert again["trial"].tolist() == result.front["trial"].tolist()
    for name in REMEASURED:
        assert again[name].astype(float).tolist() == result.front[name].astype(float).tolist()


def test_audits_on_test_tell_how_much_groups_change_from_seed_to_seed(found):
    _, result = found
    trial = next(r for r in result.results if r.number == result.front["trial"][0])
    record = json.loads((Path(trial.folder) / "test_audit" / "audit.json").read_text())
    assert record["across_seeds"]["seeds"]["student"] == 3


def test_asked_again_nothing_is_trained_or_tested_anew(found):
    directory, result = found
    again = search(directory, AGAIN)
    assert again.front.equals(result.front)
    assert again.summary == result.summary


def test_seeds_may_come_later_and_the_search_stays_what_it_was(found, store_directory):
    _, result = found
    first = search(store_directory)
    assert first.front["seeds"].isna().all()
    assert outcomes(first.results) == outcomes(result.results)
    later = search(store_directory, AGAIN)
    assert later.study == first.study == result.study
    assert later.front["val_mean"].tolist() == result.front["val_mean"].tolist()
    assert later.front["test_accuracy"].tolist() == first.front["test_accuracy"].tolist()


def test_a_search_on_other_data_begins_with_an_earlier_front_and_goes_on_with_it(found):
    directory, result = found
    other = override_config(
        CONFIG,
        {
            "": {"name": "warm"},
            "data": {"limit": 250},
            "search": {"warm_start": [result.study], "trials": 7},
        },
    )
    interrupted = search(directory, other, observe=interrupt_after(5))
    assert interrupted.interrupted
    warm = search(directory, other)
    assert {r.state for r in interrupted.results[5:]} <= {"rejected"}  # on the way to the next
    before = outcomes(interrupted.results)
    assert len(before) >= 5
    assert outcomes(warm.results)[: len(before)] == before
    students = {r.number: r.candidate.student.describe() for r in result.results}
    own = {students[n] for n in result.front["trial"]}
    begun = [r for r in warm.results if r.state == "complete" and not r.control]
    assert begun
    assert begun[0].candidate.student.describe() in own
