"""A space with few candidates: each is trained once, and the search stops and says so."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from engine_records import CONFIG, made_up_cost
from fake_training import AtOnce, make_driver

from autokd.config import override_config
from autokd.engine.exhaustion import EXHAUSTED, TooMany, every_proposal, first_untried
from autokd.engine.ledger import Ledger
from autokd.records import Budget
from autokd.space import Space

FEW = override_config(
    CONFIG,
    {
        "students": {"families": {"resnet": {"width": [8, 16], "depth": 1, "stem_stride": 1}}},
        "distill": {"temperature": {"low": 2, "high": 6, "step": 2}, "loss": ["kd", "none"]},
        "schedule": {"assistants": 0},
        "train": {"learning_rate": 0.01, "epochs": 9},
    },
)


def driver_of(ledger: Ledger, config, *, budget: Budget | None = None, **options):
    space = Space(config, image_size=8)
    made = make_driver(ledger, controls=False, **options)
    made.proposer = replace(
        made.proposer,
        sample=space.sample,
        distributions=space.distributions,
        budget=budget or made.proposer.budget,
    )
    return made


def test_every_candidate_of_a_space_comes_once():
    proposals = [*every_proposal(Space(FEW, image_size=8).sample)]
    seen = [
        (p.params["students.resnet.width"], p.params["distill.loss"], p.params.get("distill.temperature"))
        for p in proposals
    ]  # fmt: skip
    wanted = [*product((8, 16), ("kd",), (2.0, 4.0, 6.0)), (8, "none", None), (16, "none", None)]
    assert Counter(seen) == Counter(wanted)
    assert len({p.candidate.hash for p in proposals}) == 8


def test_a_continuous_range_has_no_end():
    endless = override_config(FEW, {"train": {"learning_rate": {"low": 0.01, "high": 0.1}}})
    with pytest.raises(TooMany):
        [*every_proposal(Space(endless, image_size=8).sample)]


@pytest.mark.parametrize("strategy", ["halving", "full", "random"])
def test_a_search_of_a_space_that_is_exhausted_trains_nothing_twice_and_says_so(strategy):
    ledger = Ledger("sqlite://", "made-up")
    assert driver_of(ledger, FEW, strategy=strategy).run(AtOnce()) == EXHAUSTED
    hashes = [entry.proposal.candidate.hash for entry in ledger.entries]
    assert len(hashes) == len({*hashes}) == 8
    assert any(result.state == "complete" for result in ledger.results)
    # and again: it is known at once
    executor = AtOnce()
    assert driver_of(ledger, FEW, strategy=strategy, trials=60).run(executor) == EXHAUSTED
    assert executor.done == []


def test_what_is_over_budget_is_not_waited_for():
    ledger = Ledger("sqlite://", "made-up")
    tight = Budget(macs=50_000)
    assert driver_of(ledger, FEW, budget=tight).run(AtOnce()) == EXHAUSTED
    trained = [e for e in ledger.entries if e.result.state != "rejected"]
    assert len(trained) == 4
    assert all(made_up_cost(e.proposal.candidate.student).macs <= 50_000 for e in trained)


def test_the_last_untried_candidate_is_found():
    proposer = driver_of(Ledger("sqlite://", "s"), FEW).proposer
    *tried, last = (proposal.candidate.hash for proposal in every_proposal(proposer.sample))
    found, cost = first_untried(proposer, tried)
    assert found.candidate.hash == last
    assert cost == made_up_cost(found.candidate.student)
    assert first_untried(proposer, [*tried, last]) is None
