"""Workers that share a store and no folder: one begins what another goes on with, and nothing is done twice."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import tiny_task
import torch
from tiny_task import CPU, LARGE, candidate, labels_alone, make_data, make_task, stage

from autokd import shared as shared_module
from autokd.data import view_batches
from autokd.engine.executors import Work, evaluate, folder_state
from autokd.errors import ConfigError, StorageError, StoreAwayError
from autokd.records import Candidate
from autokd.shared import NOWHERE, Shared
from autokd.students import InputFormat
from autokd.teachers import CachedLogits, train_once

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_latency")]
DATA = make_data()
PARTS = (1, 3, None)  # pauses of a trial


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    if request.param == "file":
        (tmp_path / "store").mkdir()
        yield (tmp_path / "store").as_uri()
    else:
        yield f"memory://{tmp_path.name}"
        fsspec.filesystem("memory").store.clear()


@pytest.fixture
def store(url):
    """The store itself, and where its files begin."""
    return fsspec.url_to_fs(url)


@pytest.fixture
def new_worker(url, tmp_path):
    """A machine: a cache folder of its own, and the store."""

    def make(name: str) -> Shared:
        (tmp_path / name).mkdir()
        return Shared(url, tmp_path / name)

    return make


def names_in(store) -> list[str]:
    files, root = store
    return sorted(path.removeprefix(root) for path in files.find(root))


def test_a_file_goes_through_the_store_under_its_own_name(new_worker, store, tmp_path):
    first, second = new_worker("a"), new_worker("b")
    (tmp_path / "a" / "logits").mkdir()
    (tmp_path / "a" / "logits" / "1.npy").write_bytes(b"one")
    first.publish(tmp_path / "a" / "logits" / "1.npy")
    assert names_in(store) == ["/logits/1.npy"]
    second.fetch(tmp_path / "b" / "logits" / "1.npy")
    assert (tmp_path / "b" / "logits" / "1.npy").read_bytes() == b"one"
    assert [path.name for path in (tmp_path / "b" / "logits").iterdir()] == ["1.npy"]


def test_what_is_there_stays_and_what_is_here_stays(new_worker, store, tmp_path):
    first, second = new_worker("a"), new_worker("b")
    for name, content in (("a", b"one"), ("b", b"two")):
        (tmp_path / name / "x").write_bytes(content)
    first.publish(tmp_path / "a" / "x")
    second.publish(tmp_path / "b" / "x")
    second.fetch(tmp_path / "b" / "x")
    files, root = store
    assert files.cat_file(f"{root}/x") == b"one"
    assert (tmp_path / "b" / "x").read_bytes() == b"two"


def test_what_the_store_has_not_is_not_here_either(new_worker, tmp_path):
    worker = new_worker("a")
    worker.fetch(tmp_path / "a" / "x")
    assert not worker.fetch_folder(tmp_path / "a" / "0001", state="1-stopped")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_folder_is_as_it_was_left_in_each_of_its_states(new_worker, tmp_path):
    first, second = new_worker("a"), new_worker("b")
    here, there = (tmp_path / name / "studies" / "0001" for name in "ab")
    (here / "audit").mkdir(parents=True)
    for state in ("1-stopped", "3-complete"):
        (here / "audit" / "audit.json").write_text(state)
        first.publish_folder(here, state=state)
    for state in ("1-stopped", "3-complete", "1-stopped"):
        assert second.fetch_folder(there, state=state)
        assert (there / "audit" / "audit.json").read_text() == state
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["studies"]


def test_an_upload_that_ends_half_way_leaves_nothing_that_anybody_takes(
    new_worker, store, tmp_path, monkeypatch
):
    monkeypatch.setattr(shared_module, "PATIENCE", 0)
    first, second = new_worker("a"), new_worker("b")
    (tmp_path / "a" / "x").write_bytes(b"the whole of it")
    files, _ = store

    def break_off(here, there):
        files.pipe_file(there, Path(here).read_bytes()[:5])
        raise ConnectionResetError("broken pipe")

    with monkeypatch.context() as patch:
        patch.setattr(files, "put_file", break_off)
        with pytest.raises(StoreAwayError, match="does not answer: broken pipe"):
            first.publish(tmp_path / "a" / "x")
    assert len(names_in(store)) == 1  # what was uploaded of it, under another name
    second.fetch(tmp_path / "b" / "x")
    assert list((tmp_path / "b").iterdir()) == []
    first.publish(tmp_path / "a" / "x")
    second.fetch(tmp_path / "b" / "x")
    assert (tmp_path / "b" / "x").read_bytes() == b"the whole of it"


def test_a_download_that_ends_half_way_leaves_nothing(new_worker, store, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_module, "PATIENCE", 0)
    worker = new_worker("a")
    files, root = store
    files.pipe_file(f"{root}/x", b"the whole of it")

    def break_off(there, here):
        Path(here).write_bytes(b"the w")
        raise ConnectionResetError("broken pipe")

    monkeypatch.setattr(files, "get_file", break_off)
    with pytest.raises(StoreAwayError, match="does not answer: broken pipe"):
        worker.fetch(tmp_path / "a" / "x")
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-30], lambda whole: whole.replace(b"content", b"CONTENT")]
)
def test_a_folder_that_is_damaged_in_the_store_is_not_taken(new_worker, store, tmp_path, damage):
    worker = new_worker("a")
    folder = tmp_path / "a" / "0001"
    folder.mkdir()
    (folder / "x").write_text("content")
    worker.publish_folder(folder, state="1-stopped")
    files, root = store
    place = f"{root}/0001/1-stopped.zip"
    files.pipe_file(place, damage(files.cat_file(place)))
    (folder / "x").write_text("mine")
    assert not worker.fetch_folder(folder, state="1-stopped")
    assert (folder / "x").read_text() == "mine"


def test_a_store_that_is_away_for_a_moment_is_asked_again(new_worker, store, tmp_path, monkeypatch):
    worker = new_worker("a")
    (tmp_path / "a" / "x").write_bytes(b"one")
    files, _ = store
    info, failures = files.info, [TimeoutError("late"), ConnectionResetError("gone")]

    def sometimes(place):
        if failures:
            raise failures.pop()
        return info(place)

    monkeypatch.setattr(files, "info", sometimes)
    worker.publish(tmp_path / "a" / "x")
    assert not failures
    assert names_in(store) == ["/x"]


def test_a_store_that_may_not_be_written_is_not_asked_again(
    new_worker, store, tmp_path, monkeypatch
):
    worker = new_worker("a")
    (tmp_path / "a" / "x").write_bytes(b"one")
    asked = []

    def refuse(here, there):
        asked.append(there)
        raise PermissionError(13, "Access Denied", there)

    monkeypatch.setattr(store[0], "put_file", refuse)
    with pytest.raises(StorageError, match="can't be written: Access Denied") as refused:
        worker.publish(tmp_path / "a" / "x")
    assert not isinstance(refused.value, StoreAwayError)
    assert len(asked) == 1


def test_without_a_url_nothing_is_done(tmp_path):
    NOWHERE.check()
    NOWHERE.fetch(tmp_path / "x")
    NOWHERE.publish(tmp_path / "x")
    NOWHERE.publish_folder(tmp_path / "x", state="1-stopped")
    assert not NOWHERE.fetch_folder(tmp_path / "x", state="1-stopped")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nosuch://bucket/x", r"search\.shared nosuch://bucket/x: Protocol not known: nosuch"),
        ("oci://bucket/x", r"search\.shared oci://bucket/x: Install ocifs"),
        ("runs/shared", r"search\.shared 'runs/shared': must be a URL or an absolute path"),
        ("", r"search\.shared '': must be a URL or an absolute path"),
        ("sftp://me:secret@host/x", r"search\.shared: has a password in it, .* ~/\.config/fsspec"),
    ],
)
def test_a_url_of_no_use_is_refused_in_one_line(url, problem, tmp_path):
    with pytest.raises(ConfigError, match=f"^{problem}") as refused:
        Shared(url, tmp_path)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_place_that_is_not_there_is_found_before_the_search(tmp_path):
    with pytest.raises(StorageError, match="store: is not there; make it first"):
        Shared(f"{tmp_path}/store", tmp_path).check()
    assert not (tmp_path / "store").exists()


def test_a_place_that_can_not_be_written_is_found_before_the_search(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StorageError, match=r"store: can't be written: .*Not a directory"):
        Shared(f"{tmp_path}/store", tmp_path).check()


def test_a_place_that_can_only_be_read_is_found_before_the_search(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("x", "y")
    with pytest.raises(StorageError, match="can't be written: ") as refused:
        Shared(f"zip://inside::{tmp_path}/a.zip", tmp_path).check()
    assert "\n" not in str(refused.value)


def test_a_check_leaves_nothing_in_the_store(new_worker, store):
    new_worker("a").check()
    assert names_in(store) == []


def make_model(worker: Shared, cache: Path):
    return train_once(
        labels_alone(epochs=1, augmentation="none"),
        [],
        data=DATA,
        inputs=InputFormat(image_size=8, mean=DATA.mean, std=DATA.std),
        key="00000000000000aa",
        folder=cache / "assistants",
        device=CPU,
        cache=cache,
        shared=worker,
    )


def refuse_to_train(*args, **kwargs):
    raise AssertionError("trained again")


def test_a_model_that_another_worker_trained_is_not_trained_again(
    new_worker, tmp_path, monkeypatch
):
    first = make_model(new_worker("a"), tmp_path / "a")
    monkeypatch.setattr("autokd.teachers.train.train_stage", refuse_to_train)
    again = make_model(new_worker("b"), tmp_path / "b")
    for name, value in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def test_a_model_that_was_trained_before_there_was_a_store_is_shared_too(
    new_worker, tmp_path, monkeypatch
):
    make_model(NOWHERE, tmp_path / "a")
    monkeypatch.setattr("autokd.teachers.train.train_stage", refuse_to_train)
    shutil.move(tmp_path / "a", tmp_path / "kept")
    worker = new_worker("a")
    shutil.copytree(tmp_path / "kept", tmp_path / "a", dirs_exist_ok=True)
    make_model(worker, tmp_path / "a")
    make_model(new_worker("b"), tmp_path / "b")


def test_a_model_whose_upload_ended_half_way_is_trained_again_and_shared(
    new_worker, store, tmp_path
):
    """Its weights are there, and not the file that says that they are whole."""
    whole = make_model(new_worker("a"), tmp_path / "a")
    files, root = store
    home = f"{root}/assistants/00000000000000aa"
    files.rm_file(f"{home}/stage.json")
    again = make_model(new_worker("b"), tmp_path / "b")
    assert files.exists(f"{home}/stage.json")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def task_of(worker: Shared, cache: Path):
    return replace(make_task(DATA, cache), shared=worker)


def test_a_teacher_is_asked_about_a_view_once_for_all_workers(new_worker, tmp_path):
    asked = []

    def answer(name: str) -> torch.Tensor:
        task = task_of(new_worker(name), tmp_path / name)
        forward = task.teacher.model.forward

        def count(pixels):
            asked.append(name)
            return forward(pixels)

        task.teacher.model.forward = count
        views = DATA.views("light", cache=task.cache)
        cached = CachedLogits(
            task.teacher,
            views,
            task.cache / "logits",
            classes=tiny_task.CLASSES,
            shared=task.shared,
        )
        batch = next(iter(view_batches(views, view=0, batch_size=20, device=CPU)))
        return torch.cat([cached.logits(batch, 0), cached.val_logits(DATA.val)])

    assert torch.equal(answer("a"), answer("b"))
    assert set(asked) == {"a"}


WITH_ASSISTANT = Candidate(
    stages=(
        stage(name="assistant_1", student=LARGE, epochs=1),
        stage(teachers=("assistant_1",), epochs=4),
    )
)


def work(wanted: Candidate, cache: Path | None, *, until=None, before=None) -> Work:
    """`cache`: None for a worker that is to use its own."""
    folder = Path("studies") / "tiny" / "0000"
    return Work(
        candidate=wanted,
        number=0,
        seed=7,
        folder=cache / folder if cache else folder,
        control=None,
        cost=None,
        until=until,
        before=before,
    )


def outcome(result):
    history = [replace(epoch, seconds=0) for epoch in result.history]
    return result.state, result.reason, dict(result.val), history, dict(result.excess)


def weights(cache: Path) -> bytes:
    return (cache / "studies" / "tiny" / "0000" / "best.safetensors").read_bytes()


@pytest.mark.parametrize(
    "wanted", [candidate(epochs=4), WITH_ASSISTANT], ids=["plain", "assistant"]
)
def test_a_trial_that_goes_from_worker_to_worker_is_the_trial_of_one(new_worker, tmp_path, wanted):
    alone = evaluate(work(wanted, tmp_path / "alone"), make_task(DATA, tmp_path / "alone"))
    tasks = [task_of(new_worker(name), tmp_path / name) for name in "ab"]
    result = None
    for turn, until in enumerate(PARTS):
        result = evaluate(work(wanted, None, until=until, before=result), tasks[turn % 2])
        assert result.state == ("stopped" if until else "complete"), result.reason
    assert outcome(result) == outcome(alone)
    assert weights(tmp_path / "a") == weights(tmp_path / "alone")


def test_the_second_worker_trains_no_assistant_and_asks_no_teacher(
    new_worker, tmp_path, monkeypatch
):
    first = task_of(new_worker("a"), tmp_path / "a")
    paused = evaluate(work(WITH_ASSISTANT, None, until=2), first)
    assert paused.state == "stopped", paused.reason
    second = task_of(new_worker("b"), tmp_path / "b")
    monkeypatch.setattr("autokd.teachers.train.train_stage", refuse_to_train)
    monkeypatch.setattr(CachedLogits, "_compute", refuse_to_train)
    result = evaluate(work(WITH_ASSISTANT, None, before=paused), second)
    assert (result.state, len(result.history)) == ("complete", 4), result.reason


def test_a_worker_goes_on_from_the_pause_that_the_driver_knows_of(new_worker, tmp_path):
    """Another worker had gone further, and died, or its driver did, before it could be told."""
    wanted = candidate(epochs=4)
    tasks = [task_of(new_worker(name), tmp_path / name) for name in "ab"]
    paused = evaluate(work(wanted, None, until=1), tasks[0])
    unheard = evaluate(work(wanted, None, until=3, before=paused), tasks[0])
    for task in tasks:
        again = evaluate(work(wanted, None, until=3, before=paused), task)
        assert outcome(again) == outcome(unheard)


def test_a_new_search_of_the_same_name_takes_nothing_from_the_trials_of_an_old_one(
    new_worker, tmp_path
):
    old = evaluate(
        work(candidate(epochs=2), None, until=1), task_of(new_worker("a"), tmp_path / "a")
    )
    other = candidate(epochs=2, learning_rate=1e-3)
    new = evaluate(work(other, None, until=1), task_of(new_worker("b"), tmp_path / "b"))
    assert folder_state(old) == folder_state(new)
    worker = new_worker("c")
    assert worker.fetch_folder(
        tmp_path / "c" / "studies" / "tiny" / "0000", state=folder_state(new)
    )
    assert weights(tmp_path / "c") == weights(tmp_path / "b") != weights(tmp_path / "a")
