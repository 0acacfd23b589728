"""What can be learned from a search, from its ledger alone: no data, no teacher, no search file."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from statistics import median
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    distribution_to_json,
    json_to_distribution,
)

from autokd.engine.database import read_status
from autokd.engine.foresight import learn_latency
from autokd.engine.importances import find_importances
from autokd.engine.ledger import Ended, Entry, Ledger
from autokd.engine.scale import Scale
from autokd.errors import ConfigError
from autokd.insight import Broken, Failure, Family, Growth, Guesses, Insight
from autokd.pareto import hypervolume, is_on_distinct_front
from autokd.records import TrialResult

UNKNOWN_EXCESS = {"memory"}  # limits of which it is not known by how much they were broken


def describe_space(
    distributions: Mapping[str, BaseDistribution], pauses: Sequence[int]
) -> dict[str, Any]:
    """What the ledger's note "space" says, for who has the ledger alone. `pauses`: each rung's epochs."""
    written = {name: distribution_to_json(each) for name, each in distributions.items()}
    return {"distributions": written, "pauses": list(pauses)}


def load_insight(url: str, study: str | None) -> Insight:
    """Of the named study, or of the one that was active last; it may be running. Raises ConfigError if there is none."""
    name, _, _ = read_status(url, study)
    with closing(Ledger(url, name)) as ledger:
        return find_insight(ledger, study=name)


def find_insight(ledger: Ledger, *, study: str) -> Insight:
    """Raises ConfigError where the ledger is of an earlier version."""
    if not {"scale", "space"} <= ledger.notes.keys():
        raise ConfigError(
            f"search {study} was begun by an earlier autokd, which did not write down its space; "
            "give its search command again and what is missing is added"
        )
    scale, space = Scale.from_record(ledger.notes["scale"]), ledger.notes["space"]
    results = ledger.results
    known = learn_latency(results)
    return Insight(
        study=study,
        objectives=scale.objectives,
        states=Counter(result.state for result in results),
        importances=find_importances(
            ledger.entries,
            distributions={
                name: json_to_distribution(each) for name, each in space["distributions"].items()
            },
            scale=scale,
            pauses=space["pauses"],
        ),
        growth=find_growth(ledger, scale),
        broken=count_broken(results),
        families=count_families(results),
        failures=count_failures(results),
        worker_seconds=sum_seconds(ledger.entries),
        driver_seconds=ledger.notes.get("spent", {}),
        latency_guesses=Guesses(measured=known.measured, median_error=known.median_error)
        if known
        else None,
    )


def find_growth(ledger: Ledger, scale: Scale) -> tuple[Growth, ...]:
    """The beginning, every moment at which the hypervolume grew, and the end."""
    growth = [Growth(clock=0.0, epochs=0, trials=0, hypervolume=0.0)]
    front = scale.points([])
    rejected = 0
    for ended in ledger.ended:
        rejected += ended.result.state == "rejected"
        if ended.result.state != "complete" or not ended.result.feasible:
            continue
        front = np.concatenate([front, scale.points([ended.result])])
        front = front[is_on_distinct_front(front)]
        volume = hypervolume(front, scale.reference)
        if volume > growth[-1].hypervolume:
            growth.append(_grown(ended, rejected, volume))
    end = Growth(
        clock=ledger.clock,
        epochs=ledger.epochs,
        trials=ledger.begun,
        hypervolume=growth[-1].hypervolume,
    )
    return (*growth, end)


def _grown(ended: Ended, rejected: int, volume: float) -> Growth:
    return Growth(
        clock=ended.clock,
        epochs=ended.epochs,
        trials=ended.proposed - rejected,
        hypervolume=volume,
    )


def count_broken(results: Sequence[TrialResult]) -> tuple[Broken, ...]:
    """Limits by how many trials broke them."""
    over = [{n: e for n, e in result.excess.items() if e > 0} for result in results]
    counts = Counter(name for each in over for name in each)
    return tuple(
        Broken(
            limit=name,
            trials=count,
            alone=sum(set(each) == {name} for each in over),
            excess=None
            if name in UNKNOWN_EXCESS
            else median(each[name] for each in over if name in each),
        )
        for name, count in counts.most_common()
    )


def count_families(results: Sequence[TrialResult]) -> tuple[Family, ...]:
    proposed = Counter(result.candidate.student.model for result in results)
    rejected = Counter(r.candidate.student.model for r in results if r.state == "rejected")
    return tuple(
        Family(model=model, proposed=count, rejected=rejected[model])
        for model, count in proposed.most_common()
    )


def count_failures(results: Sequence[TrialResult]) -> tuple[Failure, ...]:
    """What differs in its numbers alone is one reason."""
    reasons = Counter(
        re.sub(r"\d+(\.\d+)?", "N", result.reason or "unknown")
        for result in results
        if result.state == "failed"
    )
    return tuple(Failure(reason=reason, trials=count) for reason, count in reasons.most_common())


def sum_seconds(entries: Sequence[Entry]) -> dict[str, float]:
    """What workers did, largest first; "other" is what no activity claims."""
    sums: dict[str, float] = defaultdict(float)
    for result in _last_results(entries):
        if result.spent:
            rest = max(0.0, result.seconds - sum(result.spent.values()))
            for activity, seconds in {**result.spent, "other": rest}.items():
                sums[activity] += seconds
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _last_results(entries: Sequence[Entry]) -> list[TrialResult]:
    """One a training: seconds add up over a trial's pauses."""
    finished = [entry.result for entry in entries if entry.result]
    return finished + [result for entry in entries for result in entry.repeats]
