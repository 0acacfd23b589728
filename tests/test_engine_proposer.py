"""Proposals: the same for the same ledger and seed, within budget where that can be had, and never without end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_records import (
    OBJECTIVES,
    SPACE,
    TEACHER_INFO,
    complete,
    entry_of,
    made_up_cost,
    rejected,
)

from autokd.engine.proposer import Proposer
from autokd.engine.scale import Scale
from autokd.errors import ConfigError
from autokd.records import Budget, Cost
from autokd.trial import trial_seed


@pytest.fixture(scope="module", params=["forest", "tpe"])
def sampler(request):
    return request.param


def ask(
    entries,
    sampler,
    *,
    seed=0,
    budget=None,
    cost=made_up_cost,
    resamples=4,
    random_share=1 / 3,
    rungs=1,
    affords=lambda _: True,
    tried=None,
):
    proposer = Proposer(
        sample=SPACE.sample,
        exact_cost=cost,
        distributions=SPACE.distributions,
        budget=budget or Budget(),
        scale=Scale(objectives=OBJECTIVES, teacher=TEACHER_INFO, classes=10),
        rungs=rungs,
        sampler=sampler,
        random_share=random_share,
        resamples=resamples,
    )
    if tried is None:
        tried = {entry.proposal.candidate.hash for entry in entries}
    return proposer.propose(entries, tried, seed=seed, affords=affords)


def search(count: int, sampler, *, budget: Budget | None = None, resamples: int = 4):
    """A ledger as a search with made-up trials would fill it."""
    budget = budget or Budget()
    entries = []
    for number in range(count):
        proposal, cost = ask(
            entries, sampler, seed=trial_seed(0, number), budget=budget, resamples=resamples
        )
        assert isinstance(cost, Cost)
        close = complete if budget.admits(cost) else rejected
        entries.append(entry_of(proposal, number, close(proposal, number, budget=budget)))
    return entries


@pytest.fixture(scope="module")
def ledger(sampler):
    return search(16, sampler)


def test_the_same_ledger_and_seed_give_the_same_proposal(ledger, sampler):
    for seed in range(6):  # some at random, some by the sampler that learns
        first, _ = ask(ledger, sampler, seed=seed)
        again, _ = ask(ledger, sampler, seed=seed)
        assert first == again


def test_another_seed_or_ledger_gives_another_proposal(ledger, sampler):
    hashes = {ask(ledger, sampler, seed=seed)[0].candidate.hash for seed in range(5)}
    assert len(hashes) == 5
    # of several seeds, since one third of proposals are random and know no ledger
    changed = [
        ask(ledger, sampler, seed=s)[0] != ask(ledger[:11], sampler, seed=s)[0] for s in range(5)
    ]
    assert any(changed)


def test_a_forest_proposes_what_the_search_affords(ledger):
    for seed in range(6):
        proposal, _ = ask(ledger, "forest", seed=seed, affords=_has_stem_stride_1)
        assert _has_stem_stride_1(proposal.candidate)


@pytest.mark.parametrize("exhausted", [True, False])
def test_what_a_search_can_not_afford_is_proposed_where_there_is_nothing_else(ledger, exhausted):
    tried: set[str] = set()

    def affords(candidate) -> bool:
        if exhausted and _has_stem_stride_1(candidate):
            tried.add(candidate.hash)
        return exhausted and _has_stem_stride_1(candidate)

    for seed in range(6):
        proposal, cost = ask(ledger, "forest", seed=seed, affords=affords, tried=tried)
        assert proposal.candidate.hash not in tried
        assert cost == made_up_cost(proposal.candidate.student)


def _has_stem_stride_1(candidate) -> bool:
    return candidate.student.arguments["stem_stride"] == 1


def test_a_proposal_holds_the_choices_that_led_to_its_candidate(ledger, sampler):
    proposal, cost = ask(ledger, sampler, seed=3)
    assert proposal.params.keys() <= SPACE.distributions.keys()
    assert SPACE.sample(lambda name, _: proposal.params[name]) == proposal.candidate
    assert cost == made_up_cost(proposal.candidate.student)


def test_tpe_proposes_a_student_over_budget_only_after_as_many_further_tries_as_allowed():
    sampler = "tpe"
    asked = []

    def over(spec):
        asked.append(spec)
        return Cost(macs=10**9, params=1, size_bytes=1)

    _, cost = ask([], sampler, budget=Budget(macs=10**6), cost=over, resamples=3)
    assert len(asked) == 4
    assert cost == Cost(macs=10**9, params=1, size_bytes=1)


def test_the_first_student_of_tpe_within_budget_is_taken():
    sampler = "tpe"
    budget = Budget(macs=100_000)  # about one in three
    tries = []

    def counting(spec):
        tries.append(spec)
        return made_up_cost(spec)

    proposal, cost = ask([], sampler, budget=budget, cost=counting, resamples=50)
    assert budget.admits(cost)
    assert proposal.candidate.student == tries[-1]
    assert not any(budget.admits(made_up_cost(spec)) for spec in tries[:-1])


def test_a_student_that_cannot_be_built_is_proposed_again_and_its_error_handed_on_at_last(sampler):
    def broken(spec):
        raise ConfigError("too narrow")

    _, cost = ask([], sampler, cost=broken, resamples=2)
    assert isinstance(cost, ConfigError)
    tries = []

    def broken_once(spec):
        tries.append(spec)
        return broken(spec) if len(tries) == 1 else made_up_cost(spec)

    assert isinstance(ask([], sampler, cost=broken_once)[1], Cost)


def test_a_candidate_that_has_been_tried_is_not_proposed_again(ledger, sampler):
    tried = {entry.proposal.candidate.hash for entry in ledger}
    assert len(tried) == len(ledger)
    repeated, _ = ask(ledger[:3], sampler, seed=trial_seed(0, 3))
    assert repeated == ledger[3].proposal


def test_a_trial_that_is_still_running_counts_for_what_is_proposed_next(ledger, sampler):
    running = [*ledger[:-1], replace(ledger[-1], results=())]
    without = ledger[:-1]
    with_it = [ask(running, sampler, seed=seed)[0] for seed in range(24)]
    assert with_it != [ask(without, sampler, seed=seed)[0] for seed in range(24)]


def changed_results(entries, **changes):
    return [
        replace(entry, results=(replace(entry.result, **(changes | {"number": entry.number})),))
        for entry in entries
    ]


def proposals_of(sampler, entries):
    """Of several seeds, since one third of proposals are random and know no ledger."""
    return [ask(entries, sampler, seed=seed)[0] for seed in range(8)]


def test_proposals_follow_what_trials_came_to(ledger, sampler):
    upside_down = [
        replace(
            entry,
            results=(complete(entry.proposal, i, accuracy=1 - entry.result.val["accuracy"]),),
        )
        for i, entry in enumerate(ledger)
    ]
    assert proposals_of(sampler, upside_down) != proposals_of(sampler, ledger)


def test_proposals_of_tpe_follow_by_how_much_rejected_trials_were_over_budget():
    sampler, ledger = "tpe", search(16, "tpe")
    over = changed_results(ledger, state="rejected", val={})
    by_size = [
        replace(
            entry,
            results=(replace(entry.result, excess=Budget(macs=10**5).excess(entry.result.cost)),),
        )
        for entry in over
    ]
    alike = changed_results(over, excess={"macs": 1.0})
    assert proposals_of(sampler, by_size) != proposals_of(sampler, alike)


def test_a_search_does_not_starve_where_one_student_in_a_hundred_fits(sampler):
    # width 8, depth 1, stem stride 2: one of 72 architectures
    budget = Budget(macs=9_000)
    share = sum(
        500 * w**2 * d // s**2 <= budget.macs
        for w in range(8, 97, 8)
        for d in (1, 2, 3)
        for s in (1, 2)
    ) / (12 * 3 * 2)
    assert share < 0.02
    entries = search(40, sampler, budget=budget, resamples=4)
    fitting = [entry for entry in entries if entry.result and entry.result.state == "complete"]
    assert len(fitting) >= 10  # of at most 200 tries; at random: about 3


def test_a_student_over_budget_is_proposed_by_a_forest_only_when_nothing_else_was_drawn():
    def over(spec):
        return Cost(macs=10**9, params=1, size_bytes=1)

    _, cost = ask([], "forest", budget=Budget(macs=10**6), cost=over, resamples=3)
    assert cost == Cost(macs=10**9, params=1, size_bytes=1)
    within = [ask([], "forest", seed=seed, budget=Budget(macs=100_000))[1] for seed in range(20)]
    assert all(cost.macs <= 100_000 for cost in within)


def at_two_rungs(ledger, *, good_first, good_then):
    """Two results a trial: rung 0 says that good are those for whom the first holds, rung 1 the second."""

    def result(entry, good, state):
        accuracy = 0.9 if good(entry.proposal.params) else 0.2
        return replace(complete(entry.proposal, entry.number, accuracy=accuracy), state=state)

    return [
        replace(
            entry,
            results=(result(entry, good_first, "stopped"), result(entry, good_then, "complete")),
        )
        for entry in ledger
    ]


def cool(params) -> bool:
    return params["distill.temperature"] < 2.8


@pytest.mark.slow
def test_proposals_follow_the_highest_rung_that_tells_enough(sampler):
    ledger = search(40, "random")
    entries = at_two_rungs(ledger, good_first=lambda p: not cool(p), good_then=cool)
    few = [replace(e, results=e.results[: 1 + (e.number < 5)]) for e in entries]

    def share(entries):
        asked = [
            ask(entries, sampler, seed=seed, rungs=2, random_share=0.0)[0] for seed in range(40)
        ]
        return sum(cool(proposal.params) for proposal in asked) / len(asked)

    assert share(entries) > share(few) + 0.1


def test_of_many_results_a_forest_is_told_of_the_best_and_of_the_latest_alone(monkeypatch):
    monkeypatch.setattr("autokd.engine.proposer.TOLD", 20)
    told = []

    def most_promising(pool, seen, running, **_):
        told.append([result.number for _, result in seen])
        return [0]

    monkeypatch.setattr("autokd.engine.proposer.most_promising", most_promising)
    ledger = search(60, "random")
    first = complete(ledger[3].proposal, 3, accuracy=0.99)
    ledger[3] = replace(ledger[3], results=(first,))
    ask(ledger, "forest", random_share=0.0)
    (numbers,) = told
    assert {3, *range(50, 60)} <= {*numbers}
    assert len(numbers) <= 20
    assert numbers == sorted(numbers)
