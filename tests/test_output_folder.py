"""Where a new folder is to be written: refused in one line before minutes are spent."""

from __future__ import annotations

import os

import pytest

from autokd.engine.place import refuse_output
from autokd.errors import ConfigError, StorageError, storage_errors


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    for name in "abcde":
        (tmp_path / "full" / name).touch()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize("name", ["new", "new/deeper", "empty", "empty/new"])
def test_a_new_folder_or_an_empty_one_is_taken(name, place):
    refuse_output(place / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("full", "holds a, b, c and 2 more already; name a new folder"),
        ("file", "file is not a folder"),
        ("file/new/deeper", "file is not a folder; name a new folder"),
        ("dangling", "dangling is not a folder"),
    ],
)
def test_what_can_not_become_a_new_folder_is_named(name, message, place):
    with pytest.raises(ConfigError, match=f"^--output .*{name}: .*{message}"):
        refuse_output(place / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(place):
    (place / "empty").chmod(0o500)
    with pytest.raises(StorageError, match="empty may not be written; name another place"):
        refuse_output(place / "empty" / "new")


@pytest.mark.parametrize("name", ["file/new", "full"])
def test_writing_where_there_is_no_place_is_one_line_too(name, place):
    with pytest.raises(StorageError, match=f"{name}: can't be written: "), storage_errors(place):
        (place / name).mkdir()
