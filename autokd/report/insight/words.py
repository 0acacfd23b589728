"""An insight in sentences: what the page, the summary and the terminal say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autokd.insight import Broken, Growth, Importance, Importances, Insight
from autokd.quantities import count_of, format_seconds
from autokd.records import COSTS

LIMITS = {
    "macs": "MACs",
    "params": "parameters",
    "latency_ms": "latency",
    "size_bytes": "file size",
    "activation_bytes": "activations in memory",
    "gap_growth": "growth of the gap between groups",
    "memory": "memory while training",
}
OBJECTIVES = {
    "val_accuracy": "accuracy on val",
    "worst_group_accuracy": "accuracy of the worst group on val",
} | {name: LIMITS[name] for name in COSTS}
STATES = {
    "complete": "trained to their end",
    "stopped": "stopped early, as others were better",
    "rejected": "over the budget and not trained",
    "failed": "failed",
}
WORKERS = {
    "train": "train students",
    "load": "wait for images",
    "evaluate": "evaluate on val",
    "audit": "audit fairness",
    "measure": "measure costs",
    "ship": "quantise",
    "build": "build students",
    "assistants": "find or train assistants",
    "donor": "find or train what heirs inherit from",
    "other": "everything else",
}
DRIVER = {
    "ask": "choose what comes next",
    "record": "write the ledger",
    "log": "write to MLflow",
    "show": "progress and status",
}
WAIT = "wait"  # of the driver for its workers: not its own work
NEARLY = 0.95  # of the final hypervolume
LATE = 0.75  # share of the time after which a gain is a late one
SLOW_LOADING = 0.1  # of training and of waiting for its images together
GROWING = 0.01  # of the final hypervolume; a late gain above it says that there is more to come

HOW_IMPORTANCE = (
    "The best quarter of the students is held against all of them: students on the front first, then those that would be "
    "on it without the first, and so on. A parameter is important if the best have other values of it than all have.",
    "<b>Black marks are chance.</b> Outcomes were dealt to the students at random 100 times; in 95 of these no parameter passed "
    "its mark. Only bars beyond their mark, drawn blue, say something. A parameter with many values looks important more "
    "easily than one with two, so its mark is further out.",
    "Shares add up to 100%. Lines through bars, and what follows ±, say how unsteady a share is: random halves of the students "
    "were taken, and eight in ten of them gave shares so far apart.",
    "The table has the middle half of a number's values, and the two most frequent choices.",
    "A search doesn't try all values evenly, and parameters act together: a parameter that may be chance here is not shown "
    "to be without effect. The control students, which nothing chose, are not among these.",
)
HOW_GROWTH = (
    "The hypervolume is how good the whole front is in one number: the share of all trade-offs, from guessing to a perfect student "
    "and from the teacher's cost down to a ten-thousandth of it, that some finished student beats. It never falls.",
    "Flat at the end: a longer search is not worth its time. Still rising: it is.",
    "Other searches with the same data, teacher and objectives compare. Epochs are those of all trials, finished or not, and of "
    "assistants; time is that of the search alone, without loading data, training the teacher and testing.",
)
HOW_REJECTION = (
    "A candidate over the budget is replaced by another where one can be found, so these are only the ones that could not "
    "be replaced. What share of the whole space fits is said by <code>autokd check</code>.",
    "Over it alone: so many trials would have been admitted without this one limit.",
    "A model that is nearly always over the budget wastes proposals: leave it out, or give it smaller arguments.",
)
HOW_TIME = (
    "Workers build, train and measure students. Seconds of several workers add up to more than the clock's.",
    "The search's own process decides and writes down, and waits while workers train. Much waiting is good: workers are the "
    "bottleneck, and more of them make the search faster.",
    "With one worker, both are the same process, and its waiting is the worker's time. Runs that were killed left no record "
    "of their own process.",
)


def opening_sentences(insight: Insight) -> list[str]:
    names = [OBJECTIVES.get(name, name) for name in insight.objectives]
    states = ", ".join(
        f"{insight.states[state]} {text}"
        for state, text in STATES.items()
        if insight.states.get(state)
    )
    return [
        f"It looked for students with the best trade-off between {_listed(names)}.",
        f"{count_of(insight.proposed, 'trial')}: {states}."
        if states
        else "No trial has got anywhere yet.",
        "All figures are from val; test plays no part.",
    ]


def closing_sentences(insight: Insight) -> list[str]:
    """What is worth knowing at the end of a search, if anything is."""
    sentences = []
    if leading := insight.importances.standing_out:
        names = _listed([f"{each.parameter} (the best: {each.best_values})" for each in leading])
        sentences.append(f"Who is among the best depends most on {names}.")
    if (gain := late_gain(insight.growth)) > GROWING:
        sentences.append(
            f"The front is still growing ({gain:.1%} in the last quarter of the time): more trials may improve it."
        )
    return sentences + _loading_sentences(insight.worker_seconds)


def _loading_sentences(seconds: Mapping[str, float]) -> list[str]:
    """That images came too slowly, if they did."""
    load = seconds.get("load", 0.0)
    share = load / max(load + seconds.get("train", 0.0), 1e-9)
    if share < SLOW_LOADING:
        return []
    return [
        f"Training waited for images {share:.0%} of its time: more data.loader_processes, a smaller data.image_size "
        "or smaller files make it faster."
    ]


def importance_sentences(found: Importances) -> list[str]:
    if found.missing:
        return [f"Importances are not shown: {found.missing}."]
    leading = found.standing_out
    if not leading:
        return [
            f"No parameter can be told from chance: {found.students} students are too few, or none matters much."
        ]
    first, *others = [f"{each.parameter} ({share_in_words(each)}" for each in leading]
    names = _listed([f"{first} of all importance)", *[f"{each})" for each in others]])
    sentences = [
        f"Who is among the best quarter of {found.students} students depends most on {names}."
    ]
    if rest := len(found.parameters) - len(leading):
        sentences.append(
            f"The other {rest} parameters can't be told from chance."
            if rest > 1
            else "The other parameter can't be told from chance."
        )
    return sentences


def comparison_sentence(found: Importances) -> str:
    """Where the students stood when they were compared."""
    if found.epochs_share == 1:
        return "They are compared at the end of their training."
    return (
        f"They are compared after the first {found.epochs_share:.0%} of their epochs, since too few have been trained "
        "further: what only pays off late is underrated."
    )


def growth_sentences(insight: Insight) -> list[str]:
    end = insight.growth[-1]
    if not end.hypervolume:
        return ["No student within all limits has been trained to its end yet: there is no front."]
    near = next(g for g in insight.growth if g.hypervolume >= NEARLY * end.hypervolume)
    latest = insight.growth[-2]
    return [
        f"The hypervolume is {end.hypervolume:.3f} after {count_of(end.trials, 'trial')}, {count_of(end.epochs, 'epoch')} and "
        f"{format_seconds(end.clock)}.",
        f"{NEARLY:.0%} of that was reached with {count_of(near.trials, 'trial')}, {count_of(near.epochs, 'epoch')} and "
        f"{format_seconds(near.clock)}.",
        f"The last quarter of the time added {late_gain(insight.growth):.1%} of it; the last gain came after "
        f"{format_seconds(latest.clock)}.",
    ]


def rejection_sentences(insight: Insight) -> list[str]:
    if not insight.proposed:
        return ["Nothing has been proposed yet."]
    rejected, failed = insight.states.get("rejected", 0), insight.states.get("failed", 0)
    if rejected:
        share = rejected / insight.proposed
        sentences = [
            f"{rejected} of {insight.proposed} trials ({share:.0%}) were over the budget and not trained."
        ]
    else:
        sentences = [f"None of {count_of(insight.proposed, 'trial')} was over the budget."]
    broken = {each.limit: each for each in insight.broken}
    if costs := [each for each in insight.broken if each.limit in COSTS]:
        sentences.append(
            f"The limit that was broken most often is {LIMITS[costs[0].limit]}: by {costs[0].trials}, "
            f"{costs[0].alone} of which broke no other."
        )
    if insight.latency_guesses and "latency_ms" in broken:
        guesses = insight.latency_guesses
        sentences.append(
            f"From {guesses.measured} architectures that were measured the latency of others is guessed, with a median error of "
            f"{guesses.median_error:.0%}; what was clearly too slow by that was passed over."
        )
    if growth := broken.get("gap_growth"):
        sentences.append(
            f"{growth.trials} let the gap between groups grow too much, which is known after training alone."
        )
    if failed:
        sentences.append(f"{failed} failed.")
    return sentences


def time_sentences(insight: Insight) -> list[str]:
    workers = sum(insight.worker_seconds.values())
    if not workers:
        return ["No time has been recorded yet."]
    parts = [
        f"{WORKERS.get(name, name)} {seconds / workers:.0%}"
        for name, seconds in insight.worker_seconds.items()
        if seconds >= 0.01 * workers
    ]
    sentences = [f"Workers were busy for {format_seconds(workers)}: {', '.join(parts)}."]
    if own := {n: s for n, s in insight.driver_seconds.items() if n != WAIT}:
        seconds = sum(own.values())
        sentences.append(
            f"The search's own work (choosing, recording, reporting) took {_seconds(seconds)}, "
            f"{seconds / workers:.1%} of that."
        )
    return sentences


def excess_in_words(broken: Broken) -> str:
    """By how much the limit was broken, the median: ``2.1 times the limit``."""
    if broken.excess is None:
        return "not known"
    if broken.limit == "gap_growth":
        return f"{100 * broken.excess:.1f} points more than allowed"
    return f"{math.exp(broken.excess):.3g} times the limit"


def in_activities(seconds: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    """In words, in the order of the names; what has none stays as it is."""
    known = {names[name]: seconds[name] for name in names if name in seconds}
    return known | {name: each for name, each in seconds.items() if name not in names}


def late_gain(growth: Sequence[Growth]) -> float:
    """Share of the final hypervolume that came late; 0 where there is no front."""
    end = growth[-1]
    before = max(g.hypervolume for g in growth if g.clock <= LATE * end.clock)
    return 1 - before / end.hypervolume if end.hypervolume else 0.0


def share_in_words(importance: Importance) -> str:
    """``60% ± 10``."""
    return f"{importance.share:.0%} ± {100 * importance.spread:.0f}"


def _seconds(value: float) -> str:
    return format_seconds(value) if value >= 10 else f"{value:.1f} s"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
