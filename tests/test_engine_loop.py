"""The driver's loop on made-up training: order, limits, death and resumption, without a single epoch trained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_training import EPOCHS, SCALE, SETTINGS, AtOnce, make_driver

from autokd.config import override_config
from autokd.engine.affording import MOST_SHARED
from autokd.engine.deaths import MOST_DEATHS
from autokd.engine.ledger import Ledger
from autokd.engine.progress import search_hypervolume
from autokd.engine.repeats import train_again
from autokd.engine.strategies import SETTLED
from autokd.records import Budget

pytestmark = pytest.mark.slow

HEIRS = override_config(SETTINGS, {"students": {"start": ["random", "heir"]}})


def open_ledger(path="") -> Ledger:
    return Ledger(f"sqlite:///{path}", "made-up")


def history_of(ledger: Ledger):
    """Everything that must not depend on how often a search was interrupted."""
    return [
        (entry.number, entry.proposal.candidate.hash, entry.proposal.control, entry.results)
        for entry in ledger.entries
    ]


@pytest.fixture(scope="module")
def undisturbed():
    ledger = open_ledger()
    reason = make_driver(ledger).run(AtOnce())
    return ledger, reason


def test_halving_begins_as_many_as_asked_and_trains_few_to_their_end(undisturbed):
    ledger, reason = undisturbed
    trained = [entry for entry in ledger.entries if entry.result.state != "rejected"]
    states = [entry.result.state for entry in trained]
    assert reason == "30 trials"
    assert len(trained) == 30
    assert 6 < states.count("complete") < 20
    assert states.count("complete") + states.count("stopped") == 30
    ways = {tuple(len(result.history) for result in entry.results) for entry in trained}
    assert {(1,), (1, 3, EPOCHS)} <= ways <= {(1,), (1, 3), (1, 3, EPOCHS)}


def test_nobody_goes_on_before_the_lowest_rung_can_tell_who_is_good():
    executor = AtOnce()
    make_driver(open_ledger(), controls=False).run(executor)
    begun = [work.before is None for work in executor.done]
    assert begun.index(False) == SETTLED


def test_a_search_of_few_trials_trains_them_on_when_all_have_begun():
    ledger = open_ledger()
    make_driver(ledger, controls=False, trials=5).run(AtOnce())
    assert max(len(entry.result.history) for entry in ledger.entries) == EPOCHS


def test_controls_are_first_and_trained_to_their_end(undisturbed):
    entries = undisturbed[0].entries
    assert [bool(entry.proposal.control) for entry in entries[:5]] == [True] * 4 + [False]
    assert {entry.result.state for entry in entries[:4]} == {"complete"}


def test_controls_have_to_earn_their_epochs_until_half_of_the_search_is_over():
    executor = AtOnce()
    make_driver(open_ledger()).run(executor)
    controls = [place for place, work in enumerate(executor.done) if work.control]
    begun = [sum(w.before is None for w in executor.done[: place + 1]) for place in controls]
    assert begun[:4] == [1, 2, 3, 4]
    forced = [trials for trials in begun[4:] if trials >= 15]
    assert forced, "none of those that paused was left"
    assert forced[0] == 15, "they are trained on as soon as half of 30 have begun"
    earned = [trials for trials in begun[4:] if trials < 15]
    assert all(trials >= SETTLED for trials in earned), "no privilege in halving"


def test_donors_are_trained_when_the_search_can_afford_them():
    ledger, executor = open_ledger(), AtOnce()
    make_driver(ledger, settings=HEIRS, trials=60).run(executor)
    own, donors = 0, set()
    for place, work in enumerate(executor.done):
        donor = work.candidate.donor
        if donor and str(donor) not in donors:
            donors.add(str(donor))
            begun = sum(each.before is None for each in executor.done[:place])
            forced = work.control and begun >= 30
            assert forced or EPOCHS * len(donors) <= MOST_SHARED * own
        done = len(work.before.history) if work.before else 0
        own += (work.until or EPOCHS) - done
    assert donors, "heirs have their turn"
    assert (own, EPOCHS * len(donors)) == (ledger.epochs - ledger.shared_epochs, ledger.shared_epochs)  # fmt: skip
    controls = [entry for entry in ledger.entries if entry.proposal.control]
    assert [entry.number for entry in controls[:4]] == [0, 1, 2, 3]
    assert len(controls) == 6
    assert {entry.result.state for entry in controls} == {"complete"}


def test_where_every_student_is_an_heir_the_first_trains_its_donor():
    executor = AtOnce()
    settings = override_config(HEIRS, {"students": {"start": "heir"}})
    make_driver(open_ledger(), settings=settings, controls=False).run(executor)
    assert executor.done[0].candidate.donor


def test_no_worker_waits_for_a_donor_that_another_trains():
    executor = AtOnce(room=2)  # the second work is given out before the first is done, and so on
    make_driver(open_ledger(), settings=HEIRS, trials=60).run(executor)
    donors = [str(work.candidate.donor or "") for work in executor.done]
    first = [donors.index(each) for each in {*donors} - {""}]
    assert first
    assert all(donors[place + 1] != donors[place] for place in first)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"epochs": 150}, "150 epochs"),
        ({"time": 60.0}, "time is up"),
        ({"patience": 2}, "no larger hypervolume in 2 finished trials"),
    ],
)
@pytest.mark.parametrize("settings", [SETTINGS, HEIRS], ids=["random", "heirs"])
def test_however_a_search_ends_its_controls_are_trained_to_their_end(
    limit, reason, settings, monkeypatch
):
    executor = AtOnce()
    clock = "autokd.engine.driver.time.monotonic"
    monkeypatch.setattr(clock, lambda: float(len(executor.done)))  # a second for each work
    ledger = open_ledger()
    assert make_driver(ledger, settings=settings, trials=200, **limit).run(executor) == reason
    assert len(ledger.entries) < 200
    controls = [entry for entry in ledger.entries if entry.proposal.control]
    assert len(controls) == (4 if settings is SETTINGS else 6)
    assert {entry.result.state for entry in controls} == {"complete"}


def test_nobody_who_could_go_on_is_left_behind(undisturbed):
    ledger, _ = undisturbed
    driver = make_driver(ledger)
    assert driver.strategy.next_to_advance(ledger.entries, (), all_begun=True) is None
    executor = AtOnce()
    assert driver.run(executor) == "30 trials"
    assert executor.done == []


class Killed(BaseException):
    """What no handler of the product catches."""


class MortalLedger(Ledger):
    """Ends its process, as it were, at one of its events: before it is written, or right after."""

    def __init__(self, url: str, dies_at: int, *, written: bool) -> None:
        super().__init__(url, "made-up")
        self._left, self._written = dies_at, written

    def _insert(self, kind, trial, text):
        if self._left == 0 and not self._written:
            raise Killed
        super()._insert(kind, trial, text)
        if self._left == 0:
            raise Killed
        self._left -= 1


@pytest.mark.parametrize("written", [False, True])
def test_killed_at_every_event_in_turn_a_search_is_what_it_would_have_been(
    undisturbed, tmp_path, written
):
    """The driver dies once at each event of the search, in one and the same ledger."""
    path = tmp_path / "ledger.db"
    deaths = 0
    while True:
        ledger = MortalLedger(f"sqlite:///{path}", 1 if not written else 0, written=written)
        try:
            make_driver(ledger).run(AtOnce())
        except Killed:
            deaths += 1
            ledger.close()
            continue
        break
    whole, _ = undisturbed
    events = sum(1 + len(entry.results) for entry in whole.entries)
    assert deaths == events - (not written)
    assert history_of(open_ledger(path)) == history_of(whole)


@pytest.mark.parametrize("strategy", ["halving", "full", "random", "one-epoch"])
def test_every_strategy_ends_and_goes_on_where_it_was_interrupted(strategy, tmp_path):
    whole = open_ledger()
    make_driver(whole, strategy=strategy).run(AtOnce())
    path = tmp_path / "ledger.db"
    for trials in (7, 19, 30):
        make_driver(open_ledger(path), strategy=strategy, trials=trials).run(AtOnce())
    complete = [e for e in whole.entries if e.result.state == "complete"]
    if strategy in ("full", "random"):
        assert len(complete) == 30
        assert history_of(open_ledger(path)) == history_of(whole)
    if strategy == "one-epoch":
        assert 4 + 1 <= len(complete) <= 4 + 4  # the controls, and a ninth of all
        lengths = {len(e.result.history) for e in whole.entries if e.result.state == "stopped"}
        assert lengths == {1}


@pytest.mark.parametrize("room", [1, 4])
def test_workers_are_never_idle_while_there_is_something_to_do(room):
    executor = AtOnce(room, last_first=True)
    driver = make_driver(open_ledger(), trials=40)
    held = []
    submit = executor.submit
    executor.submit = lambda work: (submit(work), held.append(len(executor.works)))
    driver.run(executor)
    assert max(held) == room
    begun = {work.number for work in executor.done}
    assert len(begun) == 40


def test_a_dead_workers_trial_is_tried_again_from_its_last_pause_twice_at_most(undisturbed):
    ledger = open_ledger()
    doomed = next(e.number for e in undisturbed[0].entries[4:] if len(e.results) > 1)
    executor = AtOnce(dies=lambda work: work.number == doomed and work.before is not None)
    make_driver(ledger).run(executor)
    tries = [work for work in executor.done if work.number == doomed]
    assert [work.before is None for work in tries] == [True] + [False] * (MOST_DEATHS + 1)
    result = ledger.entries[doomed].result
    assert (result.state, result.reason) == (
        "failed",
        "its process died 3 times: killed, or out of memory",
    )
    assert len(result.history) == len(ledger.entries[doomed].results[0].history)
    others = [entry.result.state for entry in ledger.entries if entry.number != doomed]
    assert "failed" not in others


class Here(AtOnce):
    """Trains in the driver's own process, which it ends with some of the work, but not with what is apart."""

    in_process = True

    def next_result(self):
        if self.dies(self.works[0]) and not self.works[0].apart:
            os._exit(1)
        return super().next_result()


def run_until_it_ends(path: Path, executor: AtOnce, *, again: bool = False) -> int:
    """How many processes died; `again` finished trials are trained from a further seed."""
    deaths = 0
    while True:
        child = os.fork()
        if child == 0:
            ledger = open_ledger(path)
            make_driver(ledger).run(executor)
            if again:
                train_again(ledger, executor, [0, 1], times=1, seed=0, folder=Path("nowhere"))
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return deaths
        deaths += 1
        assert deaths < 20


@pytest.mark.parametrize("paused", [False, True])
def test_a_trial_that_ends_its_driver_is_passed_over_when_it_has_ended_two_more_processes(
    undisturbed, tmp_path, paused
):
    path = tmp_path / "ledger.db"
    doomed = next(e.number for e in undisturbed[0].entries[4:] if len(e.results) > 1)
    executor = Here(dies=lambda work: work.number == doomed and bool(work.before) == paused)
    assert run_until_it_ends(path, executor) == 1
    ledger = open_ledger(path)
    result = ledger.entries[doomed].result
    assert (result.state, result.reason) == (
        "failed",
        "its process died 3 times: the search's own process, by a crash, a kill or out of memory; "
        "killed, or out of memory",
    )
    assert len(result.history) == (1 if paused else 0)
    others = [entry.result.state for entry in ledger.entries if entry.number != doomed]
    assert "failed" not in others
    assert len(others) == 29


def test_a_driver_that_is_killed_again_and_again_within_one_part_blames_no_trial(
    undisturbed, tmp_path
):
    path, died = tmp_path / "ledger.db", tmp_path / "died"

    class Killed(Here):
        def next_result(self):
            if self.works[0].number == 3 and not died.exists():
                os._exit(1)
            return super().next_result()

    def run(kills: int) -> int:
        for _ in range(kills):
            if os.fork() == 0:
                make_driver(open_ledger(path)).run(Killed())
            os.wait()
        died.touch()
        return run_until_it_ends(path, Killed())

    assert run(2 * MOST_DEATHS + 1) == 0
    assert history_of(open_ledger(path)) == history_of(undisturbed[0])


def test_a_further_seed_that_ends_its_driver_is_passed_over_likewise(tmp_path):
    path = tmp_path / "ledger.db"
    executor = Here(dies=lambda work: work.number == 1 and work.folder.name == "repeat_1")
    assert run_until_it_ends(path, executor, again=True) == 1
    entries = open_ledger(path).entries
    assert [entries[n].repeats[0].state for n in (0, 1)] == ["complete", "failed"]
    assert entries[1].result.state == "complete"


def test_a_search_that_was_interrupted_blames_no_trial(tmp_path):
    path = tmp_path / "ledger.db"

    class Interrupted(Here):
        def next_result(self):
            if self.works[0].number == 3:
                raise KeyboardInterrupt
            return super().next_result()

    for _ in range(MOST_DEATHS + 2):
        with pytest.raises(KeyboardInterrupt):
            make_driver(open_ledger(path)).run(Interrupted())
    assert open_ledger(path).entries[3].deaths == 0
    make_driver(open_ledger(path)).run(Here())
    assert open_ledger(path).entries[3].result.state != "failed"


def test_a_search_that_ends_now_and_then_is_what_it_would_have_been(undisturbed, tmp_path):
    path, died = tmp_path / "ledger.db", tmp_path / "died"
    died.mkdir()

    def dies(work):
        mark = died / f"{work.number}-{work.until}"
        return work.number % 3 == 0 and not (mark.exists() or mark.touch())

    assert run_until_it_ends(path, Here(dies=dies)) > 10
    assert history_of(open_ledger(path)) == history_of(undisturbed[0])


def test_a_worker_that_dies_once_costs_nothing_but_time(undisturbed):
    died = set()

    def dies(work):
        part = (work.number, work.until)
        return part not in died and not died.add(part)

    ledger = open_ledger()
    make_driver(ledger).run(AtOnce(dies=dies))
    assert len(died) > 30
    assert history_of(ledger) == history_of(undisturbed[0])


def test_epochs_are_a_limit_and_the_search_goes_on_with_a_higher_one(undisturbed, tmp_path):
    path = tmp_path / "ledger.db"
    reason = make_driver(open_ledger(path), epochs=60).run(AtOnce())
    assert reason == "60 epochs"
    assert 60 <= open_ledger(path).epochs < 60 + EPOCHS
    make_driver(open_ledger(path)).run(AtOnce())
    assert history_of(open_ledger(path)) == history_of(undisturbed[0])


def test_time_is_a_limit():
    assert make_driver(open_ledger(), time=1e-9).run(AtOnce()) == "time is up"


def test_a_search_stops_when_finished_trials_add_nothing_any_more():
    ledger = open_ledger()
    reason = make_driver(ledger, strategy="random", trials=400, patience=15).run(AtOnce())
    assert reason == "no larger hypervolume in 15 finished trials"
    complete = [each.result for each in ledger.ended if each.result.state == "complete"]
    before = search_hypervolume(complete[:-15], SCALE)
    assert search_hypervolume(complete, SCALE) <= before * 1.001
    assert search_hypervolume(complete[:-15], SCALE) > search_hypervolume(complete[:-17], SCALE)


def test_a_search_does_not_starve_where_few_students_fit():
    tight = Budget(macs=40_000)
    ledger = open_ledger()
    reason = make_driver(ledger, trials=20, budget=tight, resamples=4).run(AtOnce())
    assert reason == "20 trials"


@pytest.mark.parametrize(("strategy", "most_asked"), [("halving", 60), ("full", 200)])
def test_with_one_student_in_a_hundred_feasible_a_search_fills_its_trials(strategy, most_asked):
    tight = Budget(macs=9_000)  # one architecture of 72
    ledger = open_ledger()
    driver = make_driver(ledger, trials=40, strategy=strategy, budget=tight, resamples=4)
    assert driver.run(AtOnce()) == "40 trials"
    trained = [entry for entry in ledger.entries if entry.result.state != "rejected"]
    assert len(trained) == 40
    assert all(tight.admits(entry.result.cost) for entry in trained)
    assert len(ledger.entries) <= most_asked  # at random and without resamples: about 3,000


def test_a_search_gives_up_where_nothing_fits():
    ledger = open_ledger()
    driver = make_driver(ledger, trials=2, controls=False, resamples=0)
    object.__setattr__(driver.proposer, "budget", Budget(macs=1))
    assert driver.run(AtOnce()) == "too few candidates fit the budget"
