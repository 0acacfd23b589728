"""A search that is not the same any more is not gone on with in silence: what differs is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_engine_driver import CONFIG as TINY
from test_engine_driver import interrupt_after, search
from test_engine_ledger import random_proposal, result
from tiny_task import make_data

from autokd.config import override_config, parse_config
from autokd.data import load_data
from autokd.engine.database import BegunStudy, begun_studies
from autokd.engine.identity import claim_of, identify, refuse_changed, say_changed
from autokd.engine.ledger import Ledger
from autokd.engine.place import CACHE, only_driver
from autokd.errors import ConfigError, StorageError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_data(TINY.data, seed=0, cache=tmp_path_factory.mktemp("data"))


def identity_of(data, changes=None):
    return identify(override_config(TINY, changes or {}), data)


def studies(*identities):
    return [
        BegunStudy(name=f"tiny-{i}", identity=each, has_ended=False)
        for i, each in enumerate(identities)
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"budget": {"max_macs": "70k"}},
            r"budget\.max_macs was 60000\.0 and is 70000\.0; put that back to go on with it",
        ),
        ({"train": {"epochs": 2}}, r"train\.epochs was 1 and is 2; put"),
        ({"search": {"strategy": "full"}}, "search.strategy was not given and is 'full'; put"),
        (
            {"train": {"epochs": 2}, "budget": {"max_macs": None, "max_params": "1k"}},
            r"\(and 1 more differences\)",
        ),
        (
            {"students": {"families": {}}},
            r"students\.families\.resnet\.depth was \[1, 2\] and is not given",
        ),
    ],
)
def test_what_differs_is_named(data, changes, message):
    with pytest.raises(ConfigError, match=message) as refused:
        refuse_changed(identity_of(data, changes), studies(identity_of(data)))
    assert str(refused.value).startswith("search tiny-0 has not ended, and this is not the same: ")
    assert "--new" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("images", "the images are not the same"),
        ("people", "who is on the images is not the same"),
        ("teacher_weights", "the teacher has other weights, or its code was edited"),
        ("rules", "it was begun by an autokd that searches by other rules"),
    ],
)
def test_changed_data_and_teachers_are_named_in_words(data, name, sentence):
    own = identity_of(data) | {"teacher_weights": "abc"}
    with pytest.raises(ConfigError, match=f"not the same: {sentence}; put that back"):
        refuse_changed(own, studies(own | {name: "other"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"search": {"trials": 99, "workers": 2, "time": "1h", "final_seeds": 3}},
        {"audit": {"accept_teacher_bias": "a pilot without users"}},
        {"": {"seed": 7}},
        {"": {"name": "other"}},
    ],
)
def test_how_long_and_where_a_search_runs_may_change_and_another_seed_is_no_mistake(data, changes):
    refuse_changed(identity_of(data, changes), studies(identity_of(data)))


def test_a_default_that_is_written_out_is_no_difference(data):
    refuse_changed(
        identity_of(data, {"search": {"strategy": "halving"}}), studies(identity_of(data))
    )


def test_a_teacher_that_is_not_known_yet_is_not_compared(data):
    refuse_changed(identity_of(data), studies(identity_of(data) | {"teacher_weights": "abc"}))


def test_where_the_same_search_is_open_too_nothing_is_refused(data):
    other = identity_of(data, {"train": {"epochs": 2}})
    refuse_changed(identity_of(data), studies(other, identity_of(data)))
    refuse_changed(identity_of(data), [])


def test_a_search_that_has_ended_does_not_stand_in_the_way_of_another(data):
    other = identity_of(data, {"train": {"epochs": 2}})
    (ended,) = studies(other)
    refuse_changed(identity_of(data), [replace(ended, has_ended=True)])


def test_what_differs_from_the_latest_search_that_has_ended_is_said(data, caplog):
    caplog.set_level("INFO", "autokd")
    ended = [replace(each, has_ended=True) for each in studies(identity_of(data))]
    say_changed(identity_of(data, {"": {"seed": 1}}), ended)
    assert not caplog.messages
    say_changed(identity_of(data) | {"images": "others"}, ended)
    assert caplog.messages == [
        "search tiny-0 has ended, and this is another one: the images are not the same"
    ]


def test_begun_are_searches_of_this_name_with_results(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    assert begun_studies(url, "mine") == []
    for name in ("mine-aaaaaa", "mine-bbbbbb", "mine-cccccc", "mine-too-aaaaaa", "mine_-aaaaaa"):
        book = Ledger(url, name)
        book.note("identity", {"of": name})
        if name != "mine-cccccc":
            book.record(result(book.add(random_proposal(0)), 1))
        if name == "mine-bbbbbb":
            book.note("ended", "1 trials")
        book.close()
    found = {study.name: study.has_ended for study in begun_studies(url, "mine")}
    assert found == {"mine-aaaaaa": False, "mine-bbbbbb": True}


@pytest.mark.slow
def test_an_edited_search_file_is_refused_until_it_is_to_be_a_new_search(
    store_directory, quick_latency
):
    first = search(store_directory, observe=interrupt_after(1))
    edited = override_config(TINY, {"budget": {"max_macs": "50k"}, "search": {"trials": 1}})
    with pytest.raises(ConfigError, match=rf"^search {first.study} has not ended.*max_macs"):
        search(store_directory, edited)
    second = search(store_directory, edited, new=True)
    assert second.study != first.study
    assert second.stopped_because == "1 trial"
    assert search(store_directory, edited).study == second.study, "known now: no need to say new"
    on = search(store_directory, override_config(TINY, {"search": {"trials": 2}}))
    assert on.study == first.study


def test_a_second_driver_is_refused_before_it_loads_anything(tmp_path):
    """Its images are not there, and nothing asks for them."""
    begun = override_config(TINY, {"data": {"source": "folder", "root": str(tmp_path / "none")}})
    longer = override_config(begun, {"search": {"trials": 40, "workers": 2}})
    with (
        only_driver(tmp_path / CACHE, claim_of(begun)),
        pytest.raises(StorageError, match="search tiny is already running here; wait for it"),
    ):
        search(tmp_path, longer)


def test_another_search_file_is_another_claim():
    assert claim_of(override_config(TINY, {"": {"seed": 1}})) != claim_of(TINY)


def test_a_teachers_weights_may_lie_elsewhere_when_a_search_goes_on():
    def identity(pretrained, **teacher):
        record = {
            "data": {"source": "digits"},
            "teacher": {"model": "resnet18", "pretrained": pretrained, "train": {}} | teacher,
            "students": {"model": "resnet"},
        }
        return identify(parse_config(record, source="mine.yaml"), make_data())["teacher"]

    assert identity("a.pt") == identity("elsewhere/b.pt")
    assert identity("a.pt") != identity(True)
    assert identity("a.pt") != identity("a.pt", train={"what": "head"})
