"""Every strategy on recorded learning curves: epochs until a front is as good as the one that plain TPE ends with.

    python benchmarks/replay.py benchmarks/data/digits.json.gz --seeds 20

The search's own driver, ledger, proposer and strategies run; only training is replaced by looking it up. A proposal
stands for the recorded candidate that is nearest to it and not tried yet.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from scipy.stats import spearmanr

from autokd.config import Config, SearchConfig, parse_config
from autokd.engine.driver import Driver
from autokd.engine.executors import Work
from autokd.engine.halving import count_rungs, rung_epochs
from autokd.engine.ledger import Ledger, Proposal
from autokd.engine.proposer import DRAWN, FEW, SETTINGS, Proposer, suggest_from
from autokd.engine.scale import Scale
from autokd.engine.strategies import make_strategy
from autokd.records import Budget, Candidate, Cost, Epoch, TeacherInfo, TrialResult
from autokd.space import Space

START = "students.start"
NO_HEIRS = "plain, no heirs"


@dataclass(frozen=True)
class Table:
    """Recorded candidates with their curves."""

    config: Config
    space: Space
    teacher: TeacherInfo
    classes: int
    candidates: tuple[Candidate, ...]
    params: tuple[dict[str, Any], ...]
    costs: tuple[Cost, ...]
    curves: tuple[tuple[float, ...], ...]

    @cached_property
    def cost_of(self) -> dict[str, Cost]:
        return {
            c.student.describe(): cost for c, cost in zip(self.candidates, self.costs, strict=True)
        }

    @cached_property
    def place(self) -> dict[str, int]:
        return {candidate.hash: i for i, candidate in enumerate(self.candidates)}

    def features(self, params: dict[str, Any]) -> np.ndarray:
        """A parameter's place in its range; a choice as one of several corners. What a candidate has not is 0.5."""
        parts = []
        for name, distribution in self.space.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                corner = [float(params.get(name) == choice) for choice in distribution.choices]
                parts += [c * (2.0 if name == "students.model" else 0.7) for c in corner]
            else:
                low, high = float(distribution.low), float(distribution.high)
                value = float(
                    params.get(name, (low * high) ** 0.5 if distribution.log else (low + high) / 2)
                )
                f = np.log if distribution.log else float
                parts.append((f(value) - f(low)) / (f(high) - f(low)))
        return np.array(parts)


@cache
def load(path: Path, start: str | None = None) -> Table:
    """`start`: of students that start so alone; None: of all."""
    record = json.loads(gzip.decompress(path.read_bytes()))
    if start:
        record["search"]["students"]["start"] = start
        record["curves"] = [c for c in record["curves"] if c["params"].pop(START) == start]
    config = parse_config(record["search"], source=str(path))
    teacher = record["teacher"]
    candidates = tuple(Candidate.from_dict(curve["candidate"]) for curve in record["curves"])
    space = Space(config, image_size=candidates[0].student.image_size)
    return Table(
        config=config,
        space=space,
        teacher=TeacherInfo(**teacher | {"cost": Cost(**teacher["cost"])}),
        classes=10,
        candidates=candidates,
        params=tuple(curve["params"] for curve in record["curves"]),
        costs=tuple(Cost(**curve["cost"]) for curve in record["curves"]),
        curves=tuple(tuple(curve["val"]) for curve in record["curves"]),
    )


@dataclass(frozen=True, kw_only=True)
class FromTable(Proposer):
    """Proposes recorded candidates: TPE's is the one that is nearest to what it would have had."""

    table: Table
    features: np.ndarray  # (N, F)
    plain: bool = False  # Optuna's own defaults, as a script would have them
    pool: int = DRAWN * SETTINGS

    def _ask_forest(self, entries, tried, seed, affords):
        """The search's own, which sees no more of the table than it would have drawn."""
        rng = np.random.default_rng(seed)
        left = [i for name, i in self.table.place.items() if name not in tried]
        some = rng.permutation(left)[: self.pool].tolist()
        few = rng.permutation(left)[:FEW].tolist()

        def draw(_parents, _rng, *, count):
            return [
                (self._proposal(i), self.table.costs[i]) for i in (few if count == FEW else some)
            ]

        object.__setattr__(self, "_draw", draw)
        return super()._ask_forest(entries, tried, seed, affords)

    def _ask_optuna(self, entries, tried, seed):
        view = self._view(entries, seed)
        if self.plain:
            view.sampler = optuna.samplers.TPESampler(seed=seed)
        trial = view.ask()
        self.table.space.sample(suggest_from(trial), lambda _student, _count: ())
        left = [i for name, i in self.table.place.items() if name not in tried]
        wanted = self.table.features(trial.params)
        nearest = min(left, key=lambda i: float(((self.features[i] - wanted) ** 2).sum()))
        return self._proposal(nearest), self.table.costs[nearest]

    def _proposal(self, i: int) -> Proposal:
        return Proposal(candidate=self.table.candidates[i], params=self.table.params[i])

    def cost_or_error(self, spec):
        return self.table.cost_of[spec.describe()]


def controls(table: Table, seed: int) -> list[Proposal]:
    """The cheapest and the dearest recorded candidate, each one of the five that are nearest to the centre of the space, as a search begins.

    From random weights and without assistants, as most of a search's own controls are. One of several by the search's
    seed: a single one would be as lucky in every search.
    """
    rng = np.random.default_rng(seed)
    middle = table.features({})
    found = []
    plain = [
        i for i, c in enumerate(table.candidates) if len(c.stages) == 1 and not c.student.start
    ]
    for name, pick in (("large", max), ("small", min)):
        end = pick(table.costs[i].macs for i in plain)
        those = [i for i in plain if table.costs[i].macs == end]
        those.sort(key=lambda i: float(((table.features(table.params[i]) - middle) ** 2).sum()))
        i = those[rng.integers(min(5, len(those)))]
        found.append(Proposal(candidate=table.candidates[i], params=table.params[i], control=name))
    return found


class Lookup:
    """An executor that finds the result instead of training for it."""

    in_process = False

    def __init__(self, table: Table) -> None:
        self._table, self._place, self._work = table, table.place, None

    @property
    def has_room(self) -> bool:
        return self._work is None

    def submit(self, work: Work) -> None:
        self._work = work

    def next_result(self) -> tuple[int, TrialResult]:
        work, self._work = self._work, None
        i = self._place[work.candidate.hash]
        curve = self._table.curves[i][: work.until]
        history = tuple(
            Epoch(stage="student", epoch=n, train_loss=0.0, val_loss=0.0, val_accuracy=accuracy,
                  learning_rate=0.0, seconds=0.0)
            for n, accuracy in enumerate(curve, start=1)
        )  # fmt: skip
        return work.number, TrialResult(
            number=work.number,
            seed=work.seed,
            candidate=work.candidate,
            state="complete" if work.until is None else "stopped",
            cost=self._table.costs[i],
            excess={},
            val={"accuracy": max(curve), "loss": 0.0},
            history=history,
        )

    def close(self) -> None: ...


def run(path: Path, strategy: str, changes: dict[str, Any], seed: int, epochs: int):
    """(epochs spent, hypervolume) after every event of one search."""
    table = load(path, changes.get("start"))
    plain = strategy == "plain"
    limits = table.config.search.model_copy(
        update={
            "strategy": "full" if plain else strategy,
            "trials": len(table.candidates) - 1,
            "epochs": epochs,
        }
        | {k: v for k, v in changes.items() if k in SearchConfig.model_fields}
    )
    scale = Scale(objectives=limits.objectives, teacher=table.teacher, classes=table.classes)
    how = make_strategy(limits, scale, epochs=table.space.most_epochs)
    own = {key: changes[key] for key in ("random_share", "sampler") if key in changes}
    how = replace(how, **own)
    seen: list[tuple[int, float]] = []
    proposer = FromTable(
        sample=lambda suggest: table.space.sample(suggest),
        exact_cost=lambda _spec: table.costs[0],
        distributions=table.space.distributions,
        budget=Budget(),
        scale=scale,
        rungs=how.rungs,
        sampler=how.sampler,
        random_share=how.random_share,
        resamples=0,
        table=table,
        features=np.stack([table.features(dict(p)) for p in table.params]),
        plain=plain,
    )
    driver = Driver(
        ledger=Ledger("sqlite://", "replay"),
        proposer=proposer,
        strategy=how,
        controls=[] if plain or changes.get("no_controls") else controls(table, seed),
        limits=limits,
        seed=seed,
        folder=Path("nowhere"),
        mirror=lambda _: None,
        observe=lambda progress: seen.append((progress.epochs, progress.hypervolume)),
    )
    driver.run(Lookup(table))
    return seen


def at(seen: list[tuple[int, float]], epochs: float) -> float:
    return max((volume for spent, volume in seen if spent <= epochs), default=0.0)


def median_at(runs: list[list[tuple[int, float]]], epochs: float) -> float:
    return statistics.median(at(seen, epochs) for seen in runs)


def reached(runs: list[list[tuple[int, float]]], goal: float, total: int) -> float:
    """Epochs after which the median run is as good."""
    return next((e for e in range(1, total + 1) if median_at(runs, e) >= goal), float("inf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("curves", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trainings", type=int, default=60, help="that plain TPE has")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--try", dest="tries", action="append", default=[],
                        help="strategy,key=value,… beside the defaults")  # fmt: skip
    options = parser.parse_args()
    table = load(options.curves)
    total = options.trainings * table.space.most_epochs
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        name: (name, {}) for name in ("random", "plain", "full", "one-epoch", "halving")
    }
    for text in options.tries:
        name, *pairs = text.split(",")
        cases[text] = (name, {k: json.loads(v) for k, v in (pair.split("=") for pair in pairs)})
    if START in table.space.distributions:
        cases[NO_HEIRS] = ("plain", {"start": "random"})
    if "one-epoch" in cases:  # as many trials as its epochs buy
        share = 1 + (table.space.most_epochs - 1) / 9
        cases["one-epoch"] = (
            "one-epoch",
            {"trials": min(len(table.candidates) - 1, int(total / share))},
        )
    with ProcessPoolExecutor(options.workers) as pool:
        futures = {
            name: [
                pool.submit(run, options.curves, strategy, changes, seed, total)
                for seed in range(options.first_seed, options.first_seed + options.seeds)
            ]
            for name, (strategy, changes) in cases.items()
        }
        found = {name: [future.result() for future in each] for name, each in futures.items()}
    best = at(run(options.curves, "random", {"trials": len(table.candidates)}, 0, 10**9), 10**9)
    goals = {
        name: median_at(found[name], total)
        for name in ("random", "plain", NO_HEIRS)
        if name in found
    }
    print(
        f"{len(table.candidates)} curves, {options.seeds} seeds, {total} epochs each; hypervolume of all curves {best:.4f}"
    )
    marks = [total * share for share in (0.1, 0.2, 0.33, 0.5, 1.0)]
    print(
        "hypervolume of the median run (share of all curves') after so many epochs; share of the epochs until the median run "
        "is as good as those are in the end, in brackets the quartiles of single runs"
    )
    heads = [f"{mark:.0f}" for mark in marks] + [f"to {name}" for name in goals]
    print(f"| strategy | {' | '.join(heads)} |")
    print("| --- |" + " --- |" * len(heads))
    for name, runs in found.items():
        cells = [f"{median_at(runs, mark) / best:.3f}" for mark in marks]
        cells += [shares_of(runs, goal, total) for goal in goals.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    print()
    starts = table.space.distributions.get(START)
    for start in starts.choices if isinstance(starts, CategoricalDistribution) else [None]:
        print(f"{start or 'all'}: {describe_ranks(load(options.curves, start))}")


def describe_ranks(table: Table) -> str:
    """How well the order at each rung foretells that at the end."""
    epochs = table.space.most_epochs
    limits = table.config.search
    most = count_rungs(epochs, most=limits.rungs, reduction=limits.reduction)
    rungs = rung_epochs(epochs, rungs=most, reduction=limits.reduction)
    curves = np.maximum.accumulate(np.array(table.curves), axis=1)  # (N, epochs), best so far
    shown = [
        f"{spearmanr(curves[:, epoch - 1], curves[:, -1]).statistic:.2f} after {epoch}"
        for epoch in rungs[:-1]
    ]
    return f"{len(curves)} curves, rank correlation with the end {', '.join(shown)} epochs"


def shares_of(runs: list[list[tuple[int, float]]], goal: float, total: int) -> str:
    """Of all epochs, until the goal: of the median run, and the quartiles of single runs."""
    single = [reached([seen], goal, total) / total for seen in runs]
    low, _, high = np.quantile(single, [0.25, 0.5, 0.75], method="inverted_cdf")
    middle = reached(runs, goal, total) / total
    return f"{middle:.2f} ({low:.2f} to {high:.2f})".replace("inf", "never")


if __name__ == "__main__":
    main()
