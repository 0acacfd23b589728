"""What `check` and `search` both refuse before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_records import CONFIG

from autokd.config import override_config
from autokd.engine.check import check_search
from autokd.errors import ConfigError


@pytest.mark.parametrize(
    ("section", "keys", "message"),
    [
        ("budget", {"device": "http://pi:8777"}, "set AUTOKD_DEVICE_TOKEN to the token of"),
        ("search", {"warm_start": ["digits-123456"]}, "digits-123456"),
    ],
)
def test_check_refuses_what_a_search_would_before_it_loads_images(
    section: str, keys: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOKD_DEVICE_TOKEN", raising=False)
    missing = {"source": "folder", "root": str(tmp_path / "none")}
    config = override_config(CONFIG, {section: keys, "data": missing})
    with pytest.raises(ConfigError, match=message):
        check_search(config, directory=tmp_path)
