"""Seconds by activity: what time went into."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_END = object()


class Stopwatch:
    """An activity within another interrupts it, so that no second counts twice."""

    seconds: dict[str, float]  # so far, by activity

    def __init__(
        self,
        before: Mapping[str, float] | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Goes on from the seconds of an earlier watch."""
        self.seconds = dict(before or {})
        self._clock = clock
        self._running: list[str] = []  # innermost last
        self._since = 0.0

    @contextmanager
    def __call__(self, activity: str) -> Iterator[None]:
        self._count()
        self._running.append(activity)
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def each(self, activity: str, items: Iterable[T]) -> Iterator[T]:
        """All of them; what counts is the time until each is there."""
        iterator = iter(items)
        while True:
            with self(activity):
                item = next(iterator, _END)
            if item is _END:
                return
            yield item  # type: ignore[misc]

    def add(self, activity: str, seconds: float) -> None:
        """What another thread spent meanwhile."""
        self.seconds[activity] = self.seconds.get(activity, 0.0) + seconds

    def _count(self) -> None:
        now = self._clock()
        if self._running:
            innermost = self._running[-1]
            self.seconds[innermost] = self.seconds.get(innermost, 0.0) + now - self._since
        self._since = now
