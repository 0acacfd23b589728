"""What benchmarks/ keeps as data can be read by this version, and a search runs on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def replay():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import replay

        yield replay
    sys.modules.pop("replay")


@pytest.mark.parametrize("table", ["digits", "fashion"])
def test_a_search_on_recorded_curves_finds_a_front(replay, table):
    path = BENCHMARKS / "data" / f"{table}.json.gz"
    epochs = 5 * replay.load(path).space.most_epochs
    for strategy in ("halving", "plain"):
        seen = replay.run(path, strategy, {}, 0, epochs)
        assert seen[-1][0] >= epochs
        assert 0 < replay.at(seen, epochs) < 1
