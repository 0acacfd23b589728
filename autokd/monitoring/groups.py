"""Which table and which of its columns the audit of new images goes by: what was asked for, or what the search had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autokd.config import Config, MetadataConfig
from autokd.data import table_columns
from autokd.errors import ConfigError


def choose_metadata(
    config: Config,
    *,
    path: Path | None,
    key: str | None = None,
    groups: Sequence[str] | None = None,
    cluster: str | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
) -> MetadataConfig | None:
    """None: the classes are the groups. What is not given is the search's own where the table has it, then every column."""
    if path is None and not groups:
        if key or cluster or bands:
            raise ConfigError(
                "--key, --cluster and --bands are about a table; give --metadata, or --groups for columns in the .npz"
            )
        return None
    own = config.data.metadata or MetadataConfig()
    key = key or own.key
    there = table_columns(path) if path else None

    def known(name: str) -> bool:
        return there is None or name in there

    if groups is None:
        groups = [name for name in own.groups if known(name)] or [
            name for name in there or [] if name not in (key, cluster)
        ]
    if cluster is None and own.cluster and known(own.cluster) and path:
        cluster = own.cluster
    cuts = {name: tuple(cut) for name, cut in own.bands.items() if name in groups}
    cuts |= {name: tuple(cut) for name, cut in (bands or {}).items()}
    try:
        return MetadataConfig(path=path, key=key, groups=tuple(groups), cluster=cluster, bands=cuts)
    except ValueError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        said = next((line for line in lines if line.startswith("Value error, ")), lines[-1])
        said = said.removeprefix("Value error, ").split(" [type=")[0]
        raise ConfigError(f"--metadata {path or ''}: {said}") from None
