"""What searches keep: listed, cleared, evicted by age, and never a result."""

from __future__ import annotations

import os

import numpy as np
import pytest
from filelock import FileLock

from autokd.data.array_file import array_file
from autokd.errors import ConfigError, StorageError
from autokd.kept import KINDS, clear, evict, list_kept


@pytest.fixture
def cache(tmp_path):
    """An array of 100 bytes of each kind, older from kind to kind, and a result."""
    files = {
        "images": "decoded-a.npy", "views": "views-a-0.npy", "logits": "logits/logits-a-0.npy",
        "teachers": "teachers/a/best.safetensors", "assistants": "assistants/a/best.safetensors",
        "donors": "donors/a/best.safetensors",
        "latencies": "latencies/a.json",
    }  # fmt: skip
    for age, name in enumerate(files.values()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    result = tmp_path / "studies" / "one" / "0000" / "best.safetensors"
    result.parent.mkdir(parents=True)
    result.write_bytes(bytes(7))
    (tmp_path / "ledger.db").write_bytes(b"")
    return tmp_path


def kinds_in(cache):
    return [kept.kind for kept in list_kept(cache)]


def test_everything_that_is_kept_is_listed_with_its_size(cache):
    assert kinds_in(cache) == list(KINDS)
    assert {kept.size_bytes for kept in list_kept(cache)} == {100}
    assert list_kept(cache / "nowhere") == []


def test_what_is_cleared_is_gone_and_results_stay(cache):
    assert clear(cache, ["logits", "teachers"]) == 200
    assert kinds_in(cache) == ["images", "views", "assistants", "donors", "latencies"]
    assert clear(cache, list(KINDS)) == 500
    assert (cache / "studies" / "one" / "0000" / "best.safetensors").exists()
    assert (cache / "ledger.db").exists()


def test_nothing_is_cleared_under_a_search_that_runs(cache):
    with (
        FileLock(cache / "digits-12345678.lock"),
        pytest.raises(StorageError, match="digits-12345678 is in use by a search that runs"),
    ):
        clear(cache, ["logits"])
    assert len(kinds_in(cache)) == len(KINDS)


def test_an_unknown_kind_is_refused_with_those_that_there_are(cache):
    with pytest.raises(ConfigError, match=r"unknown kind 'logit'; known: images, .* Did you mean"):
        clear(cache, ["logit"])


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (300, ["images", "views", "logits"]),
        (299, ["images", "views"]),
        (100, ["images"]),
        (0, []),
    ],
)
def test_a_limit_takes_what_was_not_used_for_longest_and_no_trained_model(cache, limit, left):
    freed = evict(cache, limit)
    assert freed == 300 - 100 * len(left)
    assert kinds_in(cache) == [*left, "teachers", "assistants", "donors", "latencies"]


def test_an_array_that_is_opened_again_is_the_last_to_go(cache):
    for name in ("old", "new"):
        path = cache / f"views-{name}-0.npy"
        array_file(path, shape=(2,), dtype=np.uint8, make=lambda: [np.zeros(2, np.uint8)])
        os.utime(path, (1, 1) if name == "old" else (2, 2))
    mapped = array_file(
        cache / "views-old-0.npy", shape=(2,), dtype=np.uint8, make=lambda: pytest.fail("made")
    )
    evict(cache, 400)
    assert not (cache / "views-new-0.npy").exists()
    assert (cache / "views-old-0.npy").exists()
    evict(cache, 0)
    assert mapped.tolist() == [0, 0]  # who has it open keeps it
