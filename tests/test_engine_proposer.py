"""Proposals: the same for the same ledger and seed, within budget where that can be had, and never without end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_records import (
    OBJECTIVES,
    SPACE,
    complete,
    entry_of,
    made_up_cost,
    rejected,
)

from autokd.engine.proposer import propose
from autokd.errors import ConfigError
from autokd.records import Budget, Cost
from autokd.trial import trial_seed


def ask(entries, *, seed=0, budget=None, cost=made_up_cost, resamples=4):
    return propose(
        entries,
        SPACE.sample,
        cost,
        budget=budget or Budget(),
        objectives=OBJECTIVES,
        seed=seed,
        resamples=resamples,
    )


def search(count: int, *, budget: Budget | None = None, resamples: int = 4):
    """A ledger as a search with made-up trials would fill it."""
    budget = budget or Budget()
    entries = []
    for number in range(count):
        proposal, cost = ask(
            entries, seed=trial_seed(0, number), budget=budget, resamples=resamples
        )
        assert isinstance(cost, Cost)
        close = complete if budget.admits(cost) else rejected
        entries.append(entry_of(proposal, number, close(proposal, number, budget=budget)))
    return entries


@pytest.fixture(scope="module")
def ledger():
    return search(16)


def test_the_same_ledger_and_seed_give_the_same_proposal(ledger):
    for seed in range(6):  # some at random, some by the sampler that learns
        first, _ = ask(ledger, seed=seed)
        again, _ = ask(ledger, seed=seed)
        assert first == again


def test_another_seed_or_ledger_gives_another_proposal(ledger):
    hashes = {ask(ledger, seed=seed)[0].candidate.hash for seed in range(5)}
    assert len(hashes) == 5
    # of several seeds, since one third of proposals are random and know no ledger
    changed = [ask(ledger, seed=s)[0] != ask(ledger[:11], seed=s)[0] for s in range(5)]
    assert any(changed)


def test_a_proposal_holds_the_choices_that_led_to_its_candidate(ledger):
    proposal, cost = ask(ledger, seed=3)
    assert proposal.params.keys() == proposal.distributions.keys()
    assert SPACE.sample(lambda name, _: proposal.params[name]) == proposal.candidate
    assert cost == made_up_cost(proposal.candidate.student)


def test_a_student_over_budget_is_proposed_only_after_as_many_further_tries_as_allowed():
    asked = []

    def over(spec):
        asked.append(spec)
        return Cost(macs=10**9, params=1, size_bytes=1)

    _, cost = ask([], budget=Budget(macs=10**6), cost=over, resamples=3)
    assert len(asked) == 4
    assert cost == Cost(macs=10**9, params=1, size_bytes=1)


def test_the_first_student_within_budget_is_taken():
    budget = Budget(macs=100_000)  # about one in three
    tries = []

    def counting(spec):
        tries.append(spec)
        return made_up_cost(spec)

    proposal, cost = ask([], budget=budget, cost=counting, resamples=50)
    assert budget.admits(cost)
    assert proposal.candidate.student == tries[-1]
    assert not any(budget.admits(made_up_cost(spec)) for spec in tries[:-1])


def test_a_student_that_cannot_be_built_is_proposed_again_and_its_error_handed_on_at_last():
    def broken(spec):
        raise ConfigError("too narrow")

    _, cost = ask([], cost=broken, resamples=2)
    assert isinstance(cost, ConfigError)
    tries = []

    def broken_once(spec):
        tries.append(spec)
        return broken(spec) if len(tries) == 1 else made_up_cost(spec)

    assert isinstance(ask([], cost=broken_once)[1], Cost)


def test_a_candidate_that_has_been_tried_is_not_proposed_again(ledger):
    tried = {entry.proposal.candidate.hash for entry in ledger}
    assert len(tried) == len(ledger)
    repeated, _ = ask(ledger[:3], seed=trial_seed(0, 3))
    assert repeated == ledger[3].proposal


def test_a_trial_that_is_still_running_counts_for_what_is_proposed_next(ledger):
    running = [*ledger[:-1], replace(ledger[-1], result=None)]
    without = ledger[:-1]
    with_it = [ask(running, seed=seed)[0] for seed in range(8)]
    assert with_it != [ask(without, seed=seed)[0] for seed in range(8)]


def changed_results(entries, **changes):
    return [
        replace(entry, result=replace(entry.result, **(changes | {"number": entry.number})))
        for entry in entries
    ]


def proposals_of(entries):
    """Of several seeds, since one third of proposals are random and know no ledger."""
    return [ask(entries, seed=seed)[0] for seed in range(8)]


def test_proposals_follow_what_trials_came_to(ledger):
    upside_down = [
        replace(
            entry, result=complete(entry.proposal, i, accuracy=1 - entry.result.val["accuracy"])
        )
        for i, entry in enumerate(ledger)
    ]
    assert proposals_of(upside_down) != proposals_of(ledger)


def test_proposals_follow_by_how_much_rejected_trials_were_over_budget(ledger):
    over = changed_results(ledger, state="rejected", val={})
    by_size = [
        replace(
            entry, result=replace(entry.result, excess=Budget(macs=10**5).excess(entry.result.cost))
        )
        for entry in over
    ]
    alike = changed_results(over, excess={"macs": 1.0})
    assert proposals_of(by_size) != proposals_of(alike)


def test_a_search_does_not_starve_where_one_student_in_a_hundred_fits():
    # width 8, depth 1, stem stride 2: one of 72 architectures
    budget = Budget(macs=9_000)
    share = sum(
        500 * w**2 * d // s**2 <= budget.macs
        for w in range(8, 97, 8)
        for d in (1, 2, 3)
        for s in (1, 2)
    ) / (12 * 3 * 2)
    assert share < 0.02
    entries = search(40, budget=budget, resamples=4)
    fitting = [entry for entry in entries if entry.result and entry.result.state == "complete"]
    assert len(fitting) >= 10  # of at most 200 tries; at random: about 3
