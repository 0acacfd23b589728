"""The ledger: what is written there is there when it is opened again, and only one driver writes it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_records import SPACE, complete, make_audit
from sqlalchemy.exc import OperationalError

from autokd.engine.database import known_studies, read_status
from autokd.engine.ledger import Ledger, Proposal
from autokd.engine.proposer import suggest_by
from autokd.errors import ConfigError, StorageError
from autokd.records import DONOR, TEACHER, Candidate, Cost, Epoch, Stage

STATE = ("entries", "ended", "notes", "clock", "epochs")


def random_proposal(seed: int, control: str | None = None) -> Proposal:
    params = {}
    candidate = SPACE.sample(suggest_by(np.random.default_rng(seed), {}, params))
    return Proposal(candidate=candidate, params=params, control=control)


def epochs(count: int) -> tuple[Epoch, ...]:
    return tuple(
        Epoch(
            stage="student", epoch=n, train_loss=0.1, val_loss=1 / 3, val_accuracy=2 / 3,
            learning_rate=1e-3, seconds=0.5,
        )
        for n in range(1, count + 1)
    )  # fmt: skip


def result(entry, trained: int, state: str = "stopped", **changes):
    done = complete(entry.proposal, entry.number)
    return replace(done, state=state, history=epochs(trained), folder="a/0", **changes)


def state_of(ledger: Ledger):
    return {name: getattr(ledger, name) for name in STATE} | {"entries": list(ledger.entries)}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("ledger") / "ledger.db"


@pytest.fixture
def open_ledger(path, request):
    """Opens this test's ledger: one study of a file that holds every test's."""
    return lambda: Ledger(f"sqlite:///{path}", request.node.name)


def a_history(ledger: Ledger):
    """Everything that can happen, one event a step."""
    ledger.note("teacher", {"accuracy": 0.99})
    yield
    first = ledger.add(random_proposal(0, control="plain KD"))
    yield
    second = ledger.add(random_proposal(1))
    yield
    ledger.clock = 1.5
    ledger.record(result(second, 1))
    yield
    ledger.died(second.number)
    yield
    ledger.clock = 2.5
    ledger.record(result(second, 4, "complete", audit=make_audit()))
    yield
    ledger.record(result(first, 2, "failed", reason="it broke"))
    yield
    third = ledger.add(random_proposal(2))
    yield
    ledger.died(third.number)
    yield
    ledger.note("teacher", {"accuracy": 0.5})
    yield
    ledger.record(replace(result(third, 0, "rejected"), val={}))
    yield
    ledger.price(second.number, replace(second_cost(ledger), latency_ms=0.5))
    yield


def second_cost(ledger: Ledger) -> Cost:
    cost = ledger.results[1].cost
    assert cost is not None
    return cost


def test_opened_again_after_any_event_it_is_what_it_was(open_ledger):
    ledger = open_ledger()
    steps = 0
    for _ in a_history(ledger):
        steps += 1
        again = open_ledger()
        assert state_of(again) == state_of(ledger)
        again.close()
    assert steps == 12


def test_what_came_of_trials_is_kept_in_the_order_in_which_it_came(open_ledger):
    ledger = open_ledger()
    [*_] = a_history(ledger)
    assert [(each.result.number, each.clock, each.epochs) for each in ledger.ended] == [
        (1, 2.5, 4),
        (0, 2.5, 6),
        (2, 2.5, 6),
    ]
    assert [len(entry.results) for entry in ledger.entries] == [1, 2, 1]
    assert [entry.is_closed for entry in ledger.entries] == [True] * 3
    assert [r.cost and r.cost.latency_ms for r in ledger.entries[1].results] == [None, 0.5]
    assert ledger.notes == {"teacher": {"accuracy": 0.5}}


def test_deaths_are_counted_until_something_comes_of_the_trial(open_ledger):
    ledger = open_ledger()
    entry = ledger.add(random_proposal(0))
    assert [ledger.died(0).deaths, ledger.died(0).deaths] == [1, 2]
    assert ledger.record(result(entry, 1)).deaths == 0


def test_what_is_under_way_when_a_ledger_is_read_again_was_neither_finished_nor_left(open_ledger):
    ledger = open_ledger()
    entry = ledger.add(random_proposal(0), under_way=True)
    assert open_ledger().entries[0].under_way
    ledger.record(result(entry, 1))
    assert not open_ledger().entries[0].under_way
    ledger.begin(0)
    assert open_ledger().entries[0].under_way
    ledger.leave([0])
    assert not open_ledger().entries[0].under_way
    ledger.begin(0)
    ledger.died(0, "SIGSEGV")
    again = open_ledger().entries[0]
    assert (again.under_way, again.died) == (False, ("SIGSEGV",))


@pytest.mark.parametrize("name", ["assistant_1", DONOR])
def test_the_epochs_of_what_trials_share_count_once(open_ledger, name):
    ledger = open_ledger()
    plain = random_proposal(0)
    student = plain.candidate.stages[-1]
    helper: Stage = replace(
        student, name=name, teachers=(TEACHER,),
        training=replace(student.training, epochs=7),
    )  # fmt: skip
    taught = replace(student, start_from=name)
    shared = Proposal(candidate=Candidate(stages=(helper, taught)), params={})
    for number in range(2):
        ledger.record(result(ledger.add(shared), 1))
        assert ledger.epochs == 7 + 1 + number
    ledger.record(result(ledger.entries[0], 3))
    assert ledger.epochs == 7 + 1 + 3


def test_two_searches_share_a_database_and_not_their_entries(open_ledger, path):
    open_ledger().add(random_proposal(0))
    assert list(Ledger(f"sqlite:///{path}", "lenses").entries) == []


def test_a_second_driver_is_refused_at_its_first_event_and_the_first_goes_on(open_ledger, request):
    first, second = open_ledger(), open_ledger()
    first.add(random_proposal(0))
    with pytest.raises(StorageError, match="another driver writes search") as refused:
        second.add(random_proposal(1))
    assert request.node.name in str(refused.value)
    assert first.add(random_proposal(2)).number == 1
    assert [e.proposal for e in open_ledger().entries] == [random_proposal(0), random_proposal(2)]


def test_an_event_whose_answer_was_lost_is_written_once(open_ledger, monkeypatch):
    ledger = open_ledger()
    begin = ledger._engine.begin
    lost = []

    class Answerless:
        def __enter__(self):
            self.inner = begin()
            return self.inner.__enter__()

        def __exit__(self, *error):
            self.inner.__exit__(*error)
            lost.append(True)
            gone = type("Gone", (Exception,), {"__module__": "psycopg"})()
            raise OperationalError("INSERT", {}, gone)

    monkeypatch.setattr(
        type(ledger._engine), "begin", lambda self: begin() if lost else Answerless()
    )
    ledger.add(random_proposal(0))
    assert lost == [True]
    monkeypatch.undo()
    assert len(open_ledger().entries) == 1


def test_others_see_the_latest_status_of_the_latest_search(path, open_ledger):
    ledger = open_ledger()
    ledger.show({"begun": 1})
    ledger.show({"begun": 2})
    Ledger(f"sqlite:///{path}", "later").show({"begun": 7})
    url = f"sqlite:///{path}"
    assert read_status(url, None)[::2] == ("later", {"begun": 7})
    name = "test_others_see_the_latest_status_of_the_latest_search"
    assert read_status(url, name)[::2] == (name, {"begun": 2})
    with pytest.raises(ConfigError, match=f"no search nowhere has run here; known: later, {name}"):
        read_status(url, "nowhere")


def test_a_file_that_is_no_ledger_is_refused_in_one_line(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_text("a shopping list, long enough to be no database at all " * 10)
    with pytest.raises(StorageError, match=r"ledger\.db: the ledger can't be opened: ") as refused:
        Ledger(f"sqlite:///{path}", "glasses")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "open_it",
    [lambda url: Ledger(url, "glasses"), lambda url: read_status(url, None), known_studies],
    ids=["Ledger", "read_status", "known_studies"],
)
@pytest.mark.parametrize("url", ["here", "nosuchdb://localhost/x", "mysql://localhost/x"])
def test_what_is_no_database_is_refused_in_one_line(url, open_it):
    with pytest.raises(
        ConfigError, match="is no database; give sqlite:///FILE or postgresql"
    ) as no:
        open_it(url)
    assert "\n" not in str(no.value)


def test_a_password_is_never_shown():
    with pytest.raises(StorageError, match="can't be opened") as refused:
        Ledger("postgresql+psycopg://me:secret@127.0.0.1:1/x", "glasses")
    assert "secret" not in str(refused.value)
