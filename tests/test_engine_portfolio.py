"""Warm starts: what earlier searches ended with is proposed first, as far as the new space and budget have it."""

from __future__ import annotations

import pytest
from engine_records import SPACE, made_up_cost
from fake_training import BUDGET, EPOCHS, SCALE, SETTINGS, AtOnce, make_driver
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.config import override_config
from autokd.engine.ledger import Ledger
from autokd.engine.portfolio import MOST, _nearest, carry_over, earlier_fronts
from autokd.engine.progress import find_front
from autokd.errors import ConfigError
from autokd.records import Budget
from autokd.space import Space


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A ledger with two finished searches, and one that has no result yet."""
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}"
    for name, seed in (("old-1", 1), ("old-2", 2)):
        book = Ledger(url, name)
        book.note("scale", SCALE.to_record())
        make_driver(book, trials=20, strategy="full", seed=seed).run(AtOnce())
        book.close()
    Ledger(url, "empty").note("scale", SCALE.to_record())
    return url


def front_of(url, study):
    book = Ledger(url, study)
    results = [entry.result for entry in book.entries]
    return [book.entries[r.number] for r in find_front(results, SCALE.objectives)]


def recall(url, *studies, space=SPACE, budget=BUDGET):
    told = earlier_fronts(url, studies)
    return carry_over(told, sample=space.sample, exact_cost=made_up_cost, budget=budget)


def test_in_the_same_space_the_earlier_front_comes_back_most_accurate_first(url):
    front = front_of(url, "old-1")
    proposals = recall(url, "old-1")
    own = {e.proposal.candidate.student.describe() for e in front if not e.proposal.control}
    assert own <= {proposal.candidate.student.describe() for proposal in proposals}
    assert proposals[0].origin == f"old-1, trial {front[0].number}"
    assert len({proposal.candidate.hash for proposal in proposals}) == len(proposals)


def test_fronts_take_turns_and_there_are_not_too_many(url):
    told = earlier_fronts(url, ["old-1", "old-2"])
    assert [each["origin"].split(",")[0] for each in told[:4]] == ["old-1", "old-2"] * 2
    assert len(told) <= MOST


def test_what_is_over_the_new_budget_is_left_out(url):
    tight = Budget(macs=200_000)
    proposals = recall(url, "old-1", "old-2", budget=tight)
    costs = [made_up_cost(p.candidate.student).macs for p in proposals]
    everything = recall(url, "old-1", "old-2")
    assert max(costs) <= 200_000
    assert 0 < len(costs) < len(everything)


def test_in_another_space_it_is_the_nearest_that_there_is(url):
    narrow = {"students": {"families": {"resnet": {"width": [16, 24], "depth": 3, "stages": 3}}}}
    config = override_config(SPACE._config, narrow)
    space = Space(config, image_size=8)
    for proposal in recall(url, "old-1", space=space, budget=Budget()):
        assert proposal.candidate.student.arguments["width"] in (16, 24)
        assert set(proposal.params) <= set(space.distributions)


def test_a_search_begins_with_its_controls_and_then_the_earlier_front(url):
    portfolio = recall(url, "old-1", space=Space(SETTINGS, image_size=8))
    ledger = Ledger("sqlite://", "new")
    driver = make_driver(ledger, trials=4 + len(portfolio) + 3, seed=5)
    driver.portfolio = portfolio
    driver.run(AtOnce())
    origins = [entry.proposal.origin for entry in ledger.entries]
    assert origins[:4] == [None] * 4
    assert origins[4 : 4 + len(portfolio)] == [p.origin for p in portfolio]
    assert set(origins[4 + len(portfolio) :]) == {None}
    recalled = ledger.entries[4 : 4 + len(portfolio)]
    assert {len(entry.results[0].history) for entry in recalled} == {1}, "no privilege in halving"
    assert max(len(entry.result.history) for entry in recalled) == EPOCHS


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("old-3", r"unknown search 'old-3'; known: empty, old-1, old-2\. Did you mean 'old-[12]'"),
        ("empty", "empty has no finished student yet"),
    ],
)
def test_a_search_that_has_no_front_can_be_no_beginning(url, study, message):
    with pytest.raises(ConfigError, match=rf"^search\.warm_start: {message}"):
        earlier_fronts(url, [study])


VALUES = st.one_of(st.floats(-1e3, 1e3), st.integers(-1000, 1000), st.sampled_from(["a", "b", "c"]))


@settings(deadline=None)
@given(
    VALUES,
    st.sampled_from(
        [
            CategoricalDistribution(("a", "b")),
            CategoricalDistribution((1, 2, 4)),
            IntDistribution(8, 96, step=8),
            IntDistribution(1, 50, log=True),
            FloatDistribution(0.5, 8.0, log=True),
            FloatDistribution(0.0, 1.0, step=0.25),
        ]
    ),
)
def test_whatever_was_chosen_once_what_is_carried_over_lies_in_the_space(value, distribution):
    low = getattr(distribution, "low", None)
    otherwise = distribution.choices[0] if low is None else low
    found = _nearest(distribution, value, otherwise)
    assert distribution._contains(distribution.to_internal_repr(found))
    inside = value in getattr(distribution, "choices", ())
    assert found == value or not inside
