"""No password and no token is shown or kept."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml
from command_line import autokd
from hypothesis import given
from hypothesis import strategies as st
from test_engine_driver import CONFIG

from autokd.config import parse_config
from autokd.errors import ConfigError, TrackingError, first_line, one_line
from autokd.masking import without_secrets

SECRETS = ("hunter2", "sesame7", "opaque9")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see http://me:hunter2@host:5000/#/runs now", "see http://host:5000/#/runs now"),
        ("https://hunter2@host", "https://host"),
        ("http://me:hun@ter@host/x", "http://host/x"),
        ("postgresql+psycopg://me:hunter2@host/db", "postgresql+psycopg://me:***@host/db"),
        ("'postgresql://me:hun/t@er@host/db' -q", "'postgresql://me:***@host/db' -q"),
        ("postgresql://host/db?user=me&password=hunter2", "postgresql://host/db?user=me&password=***"),
        ("https://host/x?X-Amz-Signature=ab&part=1", "https://host/x?X-Amz-Signature=***&part=1"),
        ("https://host/x?access_token=ab#top", "https://host/x?access_token=***#top"),
    ],
)  # fmt: skip
def test_passwords_and_tokens_are_left_out(text, shown):
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=ml&viewStateShareKey=autokd-12",
        "models:/digits@champion and http://host:5000/#/models/a@b",
        "sqlite:////home/me@work/mlflow.db",
        "s3://bucket/folder",
    ],
)
def test_addresses_without_any_stay_as_they_are(text):
    assert without_secrets(text) == text


words = st.text("abcXYZ019-_.~!@", min_size=1)


@given(user=words, password=words, scheme=st.sampled_from(["http", "https", "postgresql", "ray"]))
def test_no_password_is_left_and_a_second_look_finds_nothing(user, password, scheme):
    shown = without_secrets(f"{scheme}://{user}:|{password}|@host/x")
    assert "|" not in shown
    assert shown.endswith("host/x")
    assert without_secrets(shown) == shown


def test_errors_of_ours_and_of_others_leave_them_out():
    url = "http://me:hunter2@host"
    for text in (str(TrackingError(url)), one_line(ValueError(url)), first_line(OSError(url))):
        assert "hunter2" not in text


def test_a_password_in_the_search_file_is_refused():
    budget = {"device": "http://me:hunter2@host:8777"}
    with pytest.raises(ConfigError, match=r"device: has a user or a password") as caught:
        parse_config({**CONFIG.model_dump(mode="json"), "budget": budget}, source="")
    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_latency")
def test_nothing_that_a_search_leaves_or_says_holds_one(tmp_path, monkeypatch, caplog):
    """Through a server that is away, then into a store: database, artifacts, ledger, trials' folders, output, log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("autokd.tracking.write.PATIENCE", 0.0)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRETS[2])
    Path("s.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json", exclude_none=True)))
    ledger = ("--ledger", f"sqlite:///file:{tmp_path}/ledger.db?uri=true&token={SECRETS[1]}")
    server = ("--tracking-uri", f"http://me:{SECRETS[0]}@127.0.0.1:9")
    with caplog.at_level(logging.DEBUG):
        said = [
            autokd("search", "s.yaml", "--trials", "2", *server, *ledger),
            autokd("sync", *ledger),
            autokd("sync", *server, *ledger),
            autokd("ui", *server),
            autokd("status", *ledger),
            autokd("doctor", *server, *ledger),
        ]
    assert [done.status for done in said] == [0, 0, 2, 2, 0, 1]
    assert "MLflow was away" in said[0].out
    texts = [caplog.text, *(done.out + done.err for done in said)]
    for text in [*texts, *(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())]:
        for secret in SECRETS:
            assert (secret if isinstance(text, str) else secret.encode()) not in text
    assert (tmp_path / "mlflow.db").exists()
