"""A search while it runs: a progress bar, and a line for what comes of each trial."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import (
    Progress as Bar,
)

from autokd.quantities import format_cost, format_seconds
from autokd.records import TrialResult

if TYPE_CHECKING:
    from autokd.config import Config
    from autokd.engine.progress import Progress
    from autokd.engine.search import Observe


@contextmanager
def watch(config: Config, *, quiet: bool = False) -> Iterator[Observe]:
    """A progress bar in a terminal, log lines elsewhere, while a search runs; of warnings alone with `quiet`."""
    errors = Console(stderr=True, highlight=False)
    # FORCE_COLOR makes a terminal of a pipe for rich: colours are welcome there, a bar that moves is not
    live = errors.is_interactive and sys.stderr.isatty()
    if not live:
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    else:
        handler = RichHandler(console=errors, show_path=False, show_level=False, markup=False)
    logger = logging.getLogger("autokd")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    bar = Bar(*columns, console=errors, transient=True, disable=quiet or not live)
    line = bar.add_task("trials", total=config.search.trials, note="")
    seen = -1

    def observe(progress: Progress) -> None:
        nonlocal seen
        bar.update(line, completed=progress.trained, note=_note(progress))
        if seen < 0 and progress.results:
            logger.info("going on with a search of %d trials", len(progress.results))
        elif progress.latest is not None:
            logger.info("%s", describe_trial(progress))
        seen = len(progress.results)

    try:
        with bar:
            yield observe
    finally:
        logger.removeHandler(handler)


def describe_trial(progress: Progress) -> str:
    """The latest trial in one line: ``7 complete: resnet …, val 97.2 %, 345k MACs, 3 s, on the front``."""
    result = progress.latest
    assert result is not None
    became = result.state
    if became == "stopped":  # for now: it may go on
        became = f"after {len(result.history)} of {result.candidate.epochs} epochs"
    parts = [f"trial {result.number} {became}: {result.candidate.student.describe()}"]
    if result.val:
        assert result.cost is not None
        parts.append(f"{result.candidate.describe_stages()}")
        before = " before it is pruned to" if result.before_pruning else ","
        macs = format_cost("macs", result.cost.macs)
        parts.append(f"val {result.val['accuracy']:.2%}{before} {macs} MACs")
        parts.append(format_seconds(result.seconds))
        if result.number in _numbers(progress.front):
            parts.append("on the front")
    elif result.reason:
        parts.append(result.reason)
    if result.control:
        parts.append(f"control: {result.control}")
    return ", ".join(parts) + f" [{progress.trained}/{progress.target}, {_note(progress)}]"


def _numbers(results: Sequence[TrialResult]) -> set[int]:
    return {result.number for result in results}


def _note(progress: Progress) -> str:
    if not progress.front:
        return "no front yet"
    best = progress.front[0].val["accuracy"]
    note = f"front {len(progress.front)}, best {best:.1%}, hypervolume {progress.hypervolume:.3f}"
    return note + (f", {left}" if (left := _left(progress)) else "")


def _left(progress: Progress) -> str:
    """What is left of the trials; what follows them is told when they are done."""
    if progress.trained >= progress.target:
        return "finishing the last trials"
    left = progress.seconds_left
    return f"about {format_seconds(left)} of trials left" if left is not None else ""
