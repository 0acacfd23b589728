"""Control trials that differ in one thing, found by their names: ``plain KD, heir, large student``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autokd.records import TrialResult

Pair = tuple[str, TrialResult, TrialResult]  # the student's size, and what is held against what


def taught_and_not(results: Sequence[TrialResult]) -> Iterator[Pair]:
    """The same student and settings with plain KD, and without distillation."""
    named = _named(results)
    for (kind, *others), taught in named.items():
        alone = named.get(("no distillation", *others))
        if kind == "plain KD" and alone:
            yield _size(others), taught, alone


def heirs_and_not(results: Sequence[TrialResult]) -> Iterator[Pair]:
    """The same student without distillation as an heir, and from random weights."""
    named = _named(results)
    for (kind, *others), heir in named.items():
        other = named.get((kind, "random weights", *others[1:]))
        if others[0] == "heir" and other:
            yield _size(others), heir, other


def _named(results: Sequence[TrialResult]) -> dict[tuple[str, ...], TrialResult]:
    """Those with an accuracy, by the words of their names."""
    return {tuple(r.control.split(", ")): r for r in results if r.control and "accuracy" in r.val}


def _size(words: Sequence[str]) -> str:
    return words[-1].removesuffix(" student")
