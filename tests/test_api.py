"""What notebooks and scripts read of a search that is there: its trials, its insight, its audits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from engine_records import make_audit, make_member
from tracking_records import GROWTH, begin, finish, make_info, make_report, make_result

import autokd
from autokd.errors import ConfigError, TrackingError
from autokd.tracking.store import open_store


def audit_of(*, wrong: int) -> autokd.Audit:
    """Of 200 images, of which the student has so many wrong."""
    labels = np.arange(200) % 2
    return autokd.audit(labels, np.where(np.arange(200) < wrong, 1 - labels, labels))


@pytest.fixture(scope="module")
def searched(make_store_directory, tmp_path_factory):
    """The folder of a finished search; trial 0 is its front and has audits on val and on test, trial 1 was stopped."""
    place = make_store_directory(tmp_path_factory.mktemp("searched"))
    audit_of(wrong=2).save(place / "0000" / "audit")
    audit_of(wrong=9).save(place / "test")
    trials = [
        make_result(0, audit=make_audit(), folder=str(place / "0000")),
        make_result(1, state="stopped", reason="stopped at rung 1"),
    ]
    member = make_member(0, report=place / "test")
    begin(open_store(None, place)).finish(
        [member],
        trials,
        growth=GROWTH,
        stopped="5 trials",
        report=make_report,
        frame=pd.DataFrame({"trial": [0]}),
        info=make_info(),
    )
    return place


def test_all_trials_are_a_table_in_the_order_they_were_proposed(searched):
    table = autokd.trials(directory=searched)
    assert table["number"].tolist() == [0, 1]
    assert table["state"].tolist() == ["complete", "stopped"]


def test_the_table_is_of_the_named_study(store, store_directory):
    result = make_result(0)
    finish(begin(store), [result], [0])
    with pytest.raises(TrackingError, match="unknown search 'digit'; known searches: digits"):
        autokd.trials("digit", directory=store_directory)
    (macs,) = autokd.trials("digits", directory=store_directory)["macs"]
    assert macs == result.cost.macs


@pytest.mark.parametrize(("split", "wrong"), [("val", 2), ("test", 9)])
def test_a_stored_audit_is_the_one_that_was_made_of_that_split(searched, split, wrong):
    found = autokd.load_audit(0, split=split, directory=searched)
    assert found.to_dict() == audit_of(wrong=wrong).to_dict()
    assert found.to_html().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("trial", "split", "message"),
    [
        (0, "train", "split is 'train'; known: val, test"),
        (1, "val", r"trial 1 .*stopped.* has no audit on val; students that were trained"),
        (9, "val", "search 'digits' has no trial 9"),
    ],
)
def test_an_audit_that_is_not_there_is_refused_in_one_line(searched, trial, split, message):
    with pytest.raises(TrackingError, match=message) as caught:
        autokd.load_audit(trial, split=split, directory=searched)
    assert "\n" not in str(caught.value)


def test_insight_is_looked_for_in_the_folders_own_ledger(tmp_path):
    with pytest.raises(ConfigError, match=r"\.autokd/ledger\.db: no search has run here"):
        autokd.load_insight(directory=tmp_path)
