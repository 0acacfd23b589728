"""What a search tells: importances that know chance, a front's growth, broken limits, seconds; from the ledger alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from engine_records import OBJECTIVES, SPACE, TEACHER_INFO, complete, entry_of
from fake_training import SCALE, AtOnce, make_driver

from autokd.cli.look import insight as insight_command
from autokd.engine.importances import ENOUGH, LEAST, find_importances
from autokd.engine.insight import (
    count_broken,
    count_failures,
    describe_space,
    find_growth,
    find_insight,
    load_insight,
    sum_seconds,
)
from autokd.engine.ledger import Ledger, Proposal
from autokd.engine.progress import search_hypervolume
from autokd.engine.proposer import suggest_by
from autokd.engine.scale import Scale
from autokd.engine.status import Board
from autokd.errors import ConfigError
from autokd.records import Cost

pytestmark = pytest.mark.slow

RATE, DEPTH = "train.learning_rate", "students.resnet.depth"
FIXED = Cost(macs=1_000_000, params=1, size_bytes=1)


def proposal_of(rng: np.random.Generator) -> Proposal:
    params: dict = {}
    return Proposal(candidate=SPACE.sample(suggest_by(rng, {}, params)), params=params)


def best_near(rate: float, proposal: Proposal) -> float:
    return 0.9 - 0.2 * abs(math.log10(proposal.params[RATE] / rate))


def entries_with(accuracy, *, count: int = 60, seed: int = 0, **changes):
    """Trials at random, all of one cost; their accuracy is a function of generator and proposal."""
    rng = np.random.default_rng(seed)
    entries = []
    for number in range(count):
        proposal = replace(proposal_of(rng), **changes)
        result = complete(proposal, number, accuracy=accuracy(rng, proposal))
        entries.append(entry_of(proposal, number, replace(result, cost=FIXED)))
    return entries


def by_rate(_rng, proposal: Proposal) -> float:
    return best_near(0.01, proposal)


def importances(entries, *, pauses=(9,)):
    return find_importances(entries, distributions=SPACE.distributions, scale=SCALE, pauses=pauses)


def test_what_alone_decides_stands_out_and_nothing_else():
    found = importances(entries_with(by_rate))
    (leading,) = found.standing_out
    assert leading.parameter == RATE
    assert leading.share > 0.5
    assert leading is found.parameters[0]
    assert sum(each.share for each in found.parameters) == pytest.approx(1)
    low, high = (float(each) for each in leading.best_values.split(" – "))
    assert 0.003 < low < 0.01 < high < 0.03
    assert (found.students, found.best, found.epochs_share) == (60, 15, 1)


@pytest.mark.slow
def test_of_outcomes_that_nothing_decides_hardly_anything_stands_out():
    by_luck = [entries_with(lambda rng, _: rng.random(), seed=seed) for seed in range(8)]
    assert sum(bool(importances(entries).standing_out) for entries in by_luck) <= 1


def test_a_parameter_that_not_all_have_can_stand_out():
    def accuracy(_rng, proposal):
        return {None: 0.5, 1: 0.3}.get(proposal.params.get(DEPTH), 0.9)

    rng = np.random.default_rng(1)
    entries = [
        replace(
            entry,
            proposal=replace(
                entry.proposal,
                params={
                    name: value
                    for name, value in entry.proposal.params.items()
                    if name != DEPTH or entry.number % 3
                },
            ),
        )
        for entry in entries_with(lambda *_: 0.5)
    ]
    entries = [
        entry_of(
            e.proposal, e.number, replace(e.result, val={"accuracy": accuracy(rng, e.proposal)})
        )
        for e in entries
    ]
    assert DEPTH in {each.parameter for each in importances(entries).standing_out}


def test_the_same_ledger_gives_the_same_figures():
    entries = entries_with(by_rate, count=LEAST)
    assert importances(entries) == importances(entries)


def test_too_few_students_are_told_and_nothing_is_shown():
    found = importances(entries_with(by_rate, count=LEAST - 1))
    assert found.parameters == ()
    assert (
        found.missing == "19 students have been trained far enough, and fewer than 20 tell nothing"
    )
    assert importances([]).missing.startswith("0 students")


def test_controls_say_nothing_about_what_matters():
    found = importances(entries_with(by_rate, control="plain KD, large student"))
    assert (found.students, found.missing is None) == (0, False)


@pytest.mark.parametrize(("further", "students", "share"), [(ENOUGH, ENOUGH, 1), (20, 60, 1 / 3)])
def test_students_are_compared_where_enough_have_got(further, students, share):
    entries = []
    for entry in entries_with(by_rate):
        paused = replace(entry.result, state="stopped")
        ended = entry.result if entry.number < further else None
        entries.append(entry_of(entry.proposal, entry.number, paused, ended))
    found = importances(entries, pauses=(3, 9))
    assert (found.students, found.epochs_share) == (students, share)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search of 60 trials that pause once, some rejected, and the database's URL."""
    url = f"sqlite:///{tmp_path_factory.mktemp('insight')}/ledger.db"
    ledger = Ledger(url, "made-up")
    driver = make_driver(ledger, trials=60, strategy="one-epoch", resamples=0)
    ledger.note("scale", SCALE.to_record())
    pauses = driver.strategy.pauses(9)
    ledger.note("space", describe_space(driver.proposer.distributions, pauses))
    reason = driver.run(AtOnce())
    ledger.note("spent", driver.watch.seconds)
    Board(ledger).write(driver.progress(), ended=reason)
    return ledger, url


def test_growth_is_the_hypervolume_of_all_that_had_ended_by_then(searched):
    ledger, _ = searched
    growth = find_growth(ledger, SCALE)
    assert growth[0].hypervolume == 0
    for each in growth[1:-1]:
        ended = [e.result for e in ledger.ended if (e.clock, e.epochs) <= (each.clock, each.epochs)]
        assert each.hypervolume == pytest.approx(search_hypervolume(ended, SCALE))
    volumes = [each.hypervolume for each in growth]
    assert volumes[:-1] == sorted(set(volumes))
    end = growth[-1]
    assert (end.epochs, end.clock, end.trials) == (ledger.epochs, ledger.clock, 60)
    assert end.hypervolume == volumes[-2]
    for axis in ("clock", "epochs", "trials"):
        assert [getattr(g, axis) for g in growth] == sorted(getattr(g, axis) for g in growth)


def test_the_ledger_alone_tells_what_the_open_one_tells(searched):
    ledger, url = searched
    found = load_insight(url, None)
    assert found == find_insight(ledger, study="made-up")
    assert found.objectives == OBJECTIVES
    assert found.importances.students >= ENOUGH
    assert (
        sum(family.proposed for family in found.families) == found.proposed == len(ledger.entries)
    )
    assert sum(family.rejected for family in found.families) == found.states["rejected"] > 0
    assert found.driver_seconds.keys() == {"ask", "record", "log", "show", "wait"}


def test_a_study_that_is_not_there_is_named_with_those_that_are(searched):
    with pytest.raises(ConfigError, match=r"no search other has run here; known: made-up"):
        load_insight(searched[1], "other")


def test_a_ledger_of_an_earlier_version_says_what_to_do():
    with pytest.raises(ConfigError, match="give its search command again"):
        find_insight(Ledger("sqlite://", "old"), study="old")


def test_a_broken_limit_is_counted_with_how_far_and_whether_alone():
    rng = np.random.default_rng(0)
    excesses = (
        {"macs": math.log(2), "params": 0.0},
        {"macs": math.log(4), "params": math.log(3)},
        {"macs": math.log(8), "params": -0.1},
        {"macs": -1.0, "params": -1.0, "memory": math.log(2)},
        {"macs": -1.0, "params": -1.0},
    )
    results = [
        replace(complete(proposal_of(rng), n), excess=each) for n, each in enumerate(excesses)
    ]
    macs, params, memory = count_broken(results)
    assert (macs.limit, macs.trials, macs.alone) == ("macs", 3, 2)
    assert macs.excess == pytest.approx(math.log(4))
    assert (params.limit, params.trials, params.alone) == ("params", 1, 0)
    assert (memory.limit, memory.alone, memory.excess) == ("memory", 1, None)
    assert count_broken(results[4:]) == ()


def test_failures_that_differ_in_numbers_have_one_reason():
    done = complete(proposal_of(np.random.default_rng(0)), 0)
    reasons = (
        "student, epoch 1: the loss became nan",
        "student, epoch 12: the loss became nan",
        None,
    )
    results = [replace(done, state="failed", reason=each) for each in reasons]
    first, second = count_failures([*results, done])
    assert (first.reason, first.trials) == ("student, epoch N: the loss became nan", 2)
    assert (second.reason, second.trials) == ("unknown", 1)


def test_seconds_are_those_of_trials_and_repeats_and_what_nobody_claims_is_other():
    proposal = proposal_of(np.random.default_rng(0))
    done = replace(complete(proposal, 0), seconds=10.0, spent={"train": 7.0, "audit": 1.0})
    paused = replace(done, state="stopped", seconds=4.0, spent={"train": 3.0})
    entry = replace(entry_of(proposal, 0, paused, done), repeats=(done,))
    untimed = entry_of(proposal, 1, complete(proposal, 1))
    assert sum_seconds([entry, untimed]) == {"train": 14.0, "other": 4.0, "audit": 2.0}


def test_the_command_prints_tables_and_writes_the_page(searched, tmp_path, capsys):
    page = tmp_path / "insight.html"
    insight_command(study="made-up", html=page, ledger=searched[1])
    printed = capsys.readouterr().out
    assert "What the search made-up tells" in printed
    assert RATE in printed
    assert "plotly" in page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"nowhere/page\.html: can't be written"):
        insight_command(study=None, html=tmp_path / "nowhere" / "page.html", ledger=searched[1])


def test_three_objectives_are_no_special_case():
    scale = Scale(objectives=(*OBJECTIVES, "params"), teacher=TEACHER_INFO, classes=10)
    found = find_importances(
        entries_with(by_rate), distributions=SPACE.distributions, scale=scale, pauses=(9,)
    )
    assert RATE in {each.parameter for each in found.standing_out}


def test_the_drivers_seconds_go_on_from_those_of_earlier_runs():
    ledger = Ledger("sqlite://", "made-up")
    ledger.note("spent", {"ask": 50.0, "wait": 70.0})
    driver = make_driver(ledger, trials=5)
    driver.run(AtOnce())
    assert driver.watch.seconds["ask"] > 50
    assert driver.watch.seconds["wait"] > 70
