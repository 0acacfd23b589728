"""Does a search starve where about 1 % of its space fits the budget? Asks for each trained trial, by strategy.

    python benchmarks/tight_budget.py

The space of `made_up_search.py` with exact costs and made-up training. An ask is a line of the ledger: what is over budget
after all further tries is recorded as rejected. Nothing here depends on the machine.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from made_up_search import MadeUpTraining, Search

from autokd.engine.ledger import Ledger
from autokd.engine.proposer import suggest_by
from autokd.engine.strategies import make_strategy
from autokd.records import Budget, TrialResult

STRATEGIES = ("halving", "full", "random")


class Nowhere:
    """A mirror that keeps nothing."""

    def log_trial(self, result: TrialResult) -> None: ...


def draw_macs(search: Search, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    students = [search.space.sample_student(suggest_by(rng, {}, {})) for _ in range(count)]
    return np.array([search.costs(student).macs for student in students])


def asks(search: Search, strategy: str, *, trials: int, seed: int, folder: Path) -> tuple[int, str]:
    limits = search.config.search.model_copy(update={"strategy": strategy})
    search.strategy = make_strategy(limits, search.scale, epochs=search.space.most_epochs)
    ledger = Ledger("sqlite://", "tight")
    driver = search.driver(ledger, Nowhere(), new=trials, folder=folder)
    driver.seed = seed
    reason = driver.run(MadeUpTraining())
    return len(ledger.entries), reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        search = Search(Path(place))
        macs = draw_macs(search, 20_000)
        limit = float(np.quantile(macs, 0.01))
        budget: dict[str, Any] = {"budget": Budget(macs=limit)}
        search.info = replace(search.info, **budget)
        print(f"{(macs <= limit).mean():.2%} of 20,000 random students fit {limit:,.0f} MACs")
        print(
            f"| strategy | asks for each of {options.trials} trained trials, {options.seeds} seeds | ended by |"
        )
        print("| --- | --- | --- |")
        for strategy in STRATEGIES:
            found = [
                asks(search, strategy, trials=options.trials, seed=seed, folder=Path(place))
                for seed in range(options.seeds)
            ]
            each = sorted(count / options.trials for count, _ in found)
            reasons = ", ".join(sorted({reason for _, reason in found}))
            middle = each[len(each) // 2]
            print(f"| {strategy} | {middle:.1f} ({each[0]:.1f} to {each[-1]:.1f}) | {reasons} |")


if __name__ == "__main__":
    main()
