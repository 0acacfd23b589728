"""A search that goes on on another machine: its ledger and its store are what both can reach."""

from __future__ import annotations

import pytest
from test_engine_driver import LONGER, interrupt_after, outcomes, search

from autokd.config import override_config
from autokd.engine.place import CACHE
from autokd.errors import ConfigError, StorageError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_latency")]


def test_a_search_goes_on_on_another_machine_to_what_one_would_have_found(
    tmp_path, make_store_directory
):
    places = {name: tmp_path / name for name in ("whole", "first", "second")}
    for place in places.values():
        place.mkdir()
        make_store_directory(place)
    whole = search(places["whole"], LONGER)
    (tmp_path / "store").mkdir()
    config = override_config(LONGER, {"search": {"shared": str(tmp_path / "store")}})
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    begun = search(places["first"], config, ledger=ledger, observe=interrupt_after(4))
    assert begun.interrupted
    (places["first"] / CACHE).rename(tmp_path / "out of reach")
    found = search(places["second"], config, ledger=ledger)
    assert (found.study, outcomes(found.results)) == (whole.study, outcomes(whole.results))
    assert found.front["test_accuracy"].tolist() == whole.front["test_accuracy"].tolist()
    (teacher,) = (places["second"] / CACHE / "teachers").iterdir()
    assert not (teacher / "last.safetensors").exists(), "it was trained again"


@pytest.mark.parametrize(
    ("url", "error", "problem"),
    [
        ("nosuch://bucket", ConfigError, "Protocol not known: nosuch"),
        ("/no/such/place", StorageError, "/no/such/place: is not there; make it first"),
    ],
)
def test_a_store_of_no_use_is_found_before_anything_is_trained(tmp_path, url, error, problem):
    config = override_config(LONGER, {"search": {"shared": url}})
    with pytest.raises(error, match=problem):
        search(tmp_path, config)
    left = {path.suffix for path in (tmp_path / CACHE).iterdir()}
    assert left == {".lock"}, "nothing but the claim on it"
