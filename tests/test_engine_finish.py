"""What follows the last trial."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from engine_records import OBJECTIVES, complete
from test_engine_ledger import random_proposal

from autokd.engine.conclusion import TEST
from autokd.engine.finish import describe_rest
from autokd.engine.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    """One student on the front, a control that it beats, and one that was rejected."""
    with closing(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "search")) as book:
        for seed, control in ((0, None), (0, "plain KD"), (1, None)):
            entry = book.add(random_proposal(seed, control=control))
            accuracy = 0.5 if control else 0.9
            result = complete(entry.proposal, entry.number, accuracy=accuracy)
            book.record(replace(result, state="rejected") if seed else result)
        yield book


def test_what_is_left_to_do_after_the_last_trial_is_counted(ledger):
    rest = describe_rest(ledger, OBJECTIVES, models=True)
    assert rest == (
        "latency of students (2), test of the front (1), models for MLflow (1), the report"
    )


def test_what_an_earlier_run_has_done_is_not_left(ledger):
    timed = replace(ledger.results[0].cost, latency_ms=1.0)
    for number in (0, 1):
        ledger.price(number, timed)
    ledger.note(TEST, {"0": {}})
    assert describe_rest(ledger, OBJECTIVES, models=False) == "the report"
