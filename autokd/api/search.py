"""A search from Python: what `autokd search` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from autokd.config import Config, load_config
from autokd.engine.processes import import_ahead

if TYPE_CHECKING:
    from autokd.engine.finish import SearchResult
    from autokd.engine.progress import Progress


def search(
    path_or_config: str | Path | Config,
    *,
    trials: int | None = None,
    workers: int | None = None,
    seed: int | None = None,
    tracking_uri: str | None = None,
    ledger: str | None = None,
    device: str | None = None,
    directory: str | Path = ".",
    command: str | None = None,
    new: bool = False,
    observe: Callable[[Progress], None] = lambda _: None,
) -> SearchResult:
    """Search a space and leave its Pareto front in MLflow; the same call goes on with an interrupted search.

    Args:
        path_or_config: a search file, or one that `load_config` has read.
        trials: students to begin with; None: what the file says. `workers` and `seed` likewise.
        tracking_uri: an MLflow server or database; None: `mlflow.db` in `directory`.
        ledger: URL of the database for the search's own records; None: a file in `directory`.
        device: such as `cuda` or `cpu`; None: a GPU where there is one.
        new: begin another search although one of this name, with other settings, has not ended.
        observe: called with the search's `Progress` after every trial.

    Raises:
        AutoKDError: the search file, the data, the teacher, the budget or a store is of no use; says which and why.
    """
    config = (
        path_or_config if isinstance(path_or_config, Config) else load_config(Path(path_or_config))
    )
    updates = {"trials": trials, "workers": workers}
    given = {name: value for name, value in updates.items() if value is not None}
    config = config.model_copy(update={"search": config.search.model_copy(update=given)})
    if seed is not None:
        config = config.model_copy(update={"seed": seed})
    if config.search.starts_processes:
        import_ahead()
    # takes seconds, as the workers' imports do beside it
    from autokd.engine.search import run_search

    place = Path(directory).resolve()
    result = run_search(
        config,
        directory=place,
        tracking_uri=tracking_uri,
        ledger=ledger,
        device=device,
        command=command,
        new=new,
        observe=observe,
    )
    if config.search.log_models and not result.interrupted and not result.pending and result.links:
        from autokd.exporting import log_front

        numbers = {*result.front["trial"]}
        front = [trial for trial in result.results if trial.number in numbers]
        log_front(result.study, front, tracking_uri=tracking_uri, directory=place)
    return result
