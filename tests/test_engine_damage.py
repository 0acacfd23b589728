"""A ledger of which a byte has changed: the event is named, and a search goes on without it where it can."""

from __future__ import annotations

import json
import re
from contextlib import closing

import pytest
from engine_records import complete
from fake_training import AtOnce, make_driver
from sqlalchemy import create_engine, text
from test_engine_ledger import random_proposal

from autokd.engine.ledger import LOSABLE, Ledger
from autokd.engine.seal import seal, unseal
from autokd.errors import StorageError

WHERE = ("s", 3, "result", 1, 0.5)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def history_of(ledger: Ledger):
    return [(e.number, e.proposal.candidate.hash, e.results) for e in ledger.entries]


def searched(url: str, study: str = "s"):
    """A search that has ended, and what it came to."""
    with closing(Ledger(url, study)) as ledger:
        make_driver(ledger, trials=6).run(AtOnce())
        return history_of(ledger)


def events(url: str) -> list[tuple[int, str, int | None, str]]:
    with create_engine(url).connect() as connection:
        wanted = (
            "select place, kind, trial, record from autokd_events where study = 's' order by place"
        )
        return [tuple(row) for row in connection.execute(text(wanted))]


def change(url: str, place: int, column: str, value: object) -> None:
    with create_engine(url).begin() as connection:
        statement = f"update autokd_events set {column} = :v where place = :p and study = 's'"
        connection.execute(text(statement), {"v": value, "p": place})


def flip(record: str, at: int) -> str:
    return record[:at] + chr(ord(record[at]) ^ 1) + record[at + 1 :]


def test_a_sealed_record_is_json_and_comes_back_as_it_was():
    for record in ({}, {"a": [1.5, "é"], "checksum of": None}, {"checksum": "0123456789abcdef"}):
        sealed = seal(json.dumps(record), WHERE)
        assert {"checksum"} <= json.loads(sealed).keys()
        assert unseal(sealed, WHERE) == record
    assert unseal('{"written": "before there were checksums"}', WHERE)


def test_any_changed_byte_of_a_record_and_all_that_stands_beside_it_is_noticed():
    record = {"val": {"accuracy": 0.5}, "state": "complete"}
    sealed = seal(json.dumps(record), WHERE)
    for at in range(len(sealed)):
        try:
            assert unseal(flip(sealed, at), WHERE) != record
        except ValueError:
            continue
    for place, other in enumerate(("t", 4, "repeat", 2, 0.25)):
        where = (*WHERE[:place], other, *WHERE[place + 1 :])
        with pytest.raises(ValueError, match="its checksum does not fit"):
            unseal(sealed, where)


@pytest.mark.parametrize("kind", ["result", "proposal"])
def test_a_damaged_event_is_named_with_what_can_be_done(url, kind):
    searched(url)
    place, _, trial, record = next(e for e in events(url) if e[1] == kind and e[2] == 2)
    at = record.index("0.") + 2
    change(url, place, "record", flip(record, at))
    advice = {
        "result": r"or `autokd sync s --repair` does without it: a trial that loses its result is trained again",
        "proposal": r"or move it away and the same command begins anew",
    }
    with pytest.raises(
        StorageError,
        match=rf"search s: event {place} \({kind} of trial {trial}\) is not what was written there: "
        rf"its checksum does not fit; put back a copy of the ledger, {advice[kind]}",
    ):
        Ledger(url, "s")


@pytest.mark.slow
def test_what_was_lost_is_trained_again_to_the_same_end(url):
    whole = searched(url)
    written = events(url)
    for place, kind, trial, record in written:
        if kind == "result" and trial in (1, 5):
            change(url, place, "record", flip(record, len(record) // 2))
    with closing(Ledger(url, "s", repair=True)) as ledger:
        assert [e.number for e in ledger.entries if not e.results] == [1, 5]
        make_driver(ledger, trials=6).run(AtOnce())
        assert {n: results[-1] for n, _, results in history_of(ledger)} == {
            n: results[-1] for n, _, results in whole
        }
    with closing(Ledger(url, "s")) as again:  # no repair is needed any more
        assert len(again.entries) == 6


def test_results_that_build_on_a_lost_one_are_lost_with_it(url):
    with closing(Ledger(url, "s")) as ledger:
        entry = ledger.add(random_proposal(0))
        other = ledger.add(random_proposal(1))
        for _ in range(2):
            ledger.record(complete(entry.proposal, 0))
        ledger.record(complete(other.proposal, 1))
    (place, _, _, record) = next(e for e in events(url) if e[1] == "result")
    change(url, place, "record", flip(record, 20))
    with closing(Ledger(url, "s", repair=True)) as ledger:
        assert [len(e.results) for e in ledger.entries] == [0, 1]
    assert [e[1] for e in events(url)] == ["proposal", "proposal", "lost", "lost", "result"]


def test_a_ledger_without_checksums_is_read_and_gone_on_with(url):
    whole = searched(url)
    for place, _, _, record in events(url):
        known = json.loads(record)
        del known["checksum"]
        change(url, place, "record", json.dumps(known))
    with closing(Ledger(url, "s")) as ledger:
        assert history_of(ledger) == whole
        ledger.note("new", 1)
    assert "checksum" in events(url)[-1][3]
    with closing(Ledger(url, "s")) as ledger:
        assert ledger.notes["new"] == 1


@pytest.mark.parametrize(
    ("record", "told"), [('{"val":', "Expecting value"), ("[]", "list indices"), ("{}", "'")]
)
def test_a_row_without_a_checksum_that_can_not_be_understood_is_named_too(url, record, told):
    searched(url)
    place = next(e[0] for e in events(url) if e[1] == "result")
    change(url, place, "record", record)
    with pytest.raises(StorageError, match=rf"event {place} \(result of trial \d+\) .*{told}"):
        Ledger(url, "s")


@pytest.mark.parametrize("sealed", [True, False])
def test_a_byte_that_is_no_text_any_more_is_an_event_that_can_be_repaired(url, tmp_path, sealed):
    searched(url)
    place, _, trial, record = next(e for e in events(url) if e[1] == "result")
    if not sealed:
        change(url, place, "record", re.sub(', "checksum": "[0-9a-f]+"', "", record))
    path = tmp_path / "ledger.db"
    written = path.read_bytes()
    at = written.index(b'"state": "', written.index(f'"number": {trial}, "seed"'.encode())) + 12
    path.write_bytes(written[:at] + bytes([written[at] ^ 128]) + written[at + 1 :])
    with pytest.raises(StorageError, match=rf"event {place} \(result of trial {trial}\)"):
        Ledger(url, "s")
    with closing(Ledger(url, "s", repair=True)) as ledger:
        assert not ledger.entries[trial].results


@pytest.mark.parametrize(
    "damage", [lambda good: b"x" * len(good), lambda good: good[: len(good) // 2]]
)
def test_a_file_that_is_no_ledger_any_more_is_refused_with_what_to_do(url, tmp_path, damage):
    searched(url)
    path = tmp_path / "ledger.db"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StorageError, match=r"can't be opened: .*; put back a copy .* begins anew"):
        Ledger(url, "s")


def test_a_missing_event_is_named(url):
    searched(url)
    with create_engine(url).begin() as connection:
        connection.execute(text("delete from autokd_events where place = 3"))
    with pytest.raises(StorageError, match="search s: event 3 is missing; put back a copy"):
        Ledger(url, "s")


def test_no_flipped_byte_of_the_file_changes_a_result_in_silence(url, tmp_path):
    whole = searched(url)
    path = tmp_path / "ledger.db"
    good = path.read_bytes()
    records = [found.start() for found in re.finditer(rb'"val": .*?"accuracy": 0', good)][:40]
    for place in records:
        changed = bytearray(good)
        changed[good.index(b"accuracy", place) + 13] ^= 1  # a digit
        path.write_bytes(bytes(changed))
        with pytest.raises(StorageError, match="is not what was written there"):
            Ledger(url, "s")
    path.write_bytes(good)
    with closing(Ledger(url, "s")) as ledger:
        assert history_of(ledger) == whole
    assert len(records) > 5
    assert "proposal" not in LOSABLE
