"""A pool of worker processes, real ones: killed in the middle, and left alone by a driver that was killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from engine_work import here, in_process, make_cache, outcome, work
from test_engine_driver import CONFIG

from autokd.config import override_config
from autokd.engine.deaths import Died
from autokd.engine.executors import InProcess, ProcessPool
from autokd.engine.processes import NEEDED, end, import_ahead, new_pool, undisturbed_start
from autokd.errors import ConfigError, DataError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("pool") / ".autokd")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)  # what the kernel does when memory is used up


def exhaust(pid: int) -> None:
    """The kernel ends it: it has used up more than the second of CPU time that it may from now on."""
    resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1))


def worker_of(pool: ProcessPool) -> int:
    ((_, processes, _),) = pool._running.values()
    (pid,) = processes._processes
    return pid


def crash(pid: int) -> None:
    os.kill(pid, signal.SIGSEGV)


KILLED, CRASHED = "SIGKILL: killed, or out of memory", "SIGSEGV: a crash in native code"


def test_a_part_with_which_a_process_died_comes_to_the_same_in_one_of_its_own(cache, tmp_path):
    executor = in_process(cache)
    executor.submit(replace(work(0, tmp_path / "apart"), apart=True))
    found = outcome(executor.next_result()[1])
    assert [found] == here(cache, work(0, tmp_path / "here"))


def test_what_ends_its_process_apart_does_not_end_the_driver(cache, tmp_path):
    pool = ProcessPool(1, CONFIG, cache=cache, device="cpu", threads=1)
    executor = InProcess(in_process(cache)._task, lambda: pool)
    executor.submit(replace(work(0, tmp_path, epochs=400), apart=True))
    timer = threading.Timer(2.0, lambda: crash(worker_of(pool)))
    timer.start()
    assert executor.next_result() == (0, Died(CRASHED))


@pytest.mark.parametrize(
    "ends", [[(kill, KILLED), (crash, CRASHED)], [(exhaust, KILLED), (exhaust, KILLED)]]
)
def test_a_trial_whose_worker_is_killed_goes_on_from_its_pause_each_time(cache, tmp_path, ends):
    pool = ProcessPool(2, CONFIG, cache=cache, device="cpu")  # a thread each, as here()
    try:
        first = work(0, tmp_path, epochs=30, until=2)
        pool.submit(first)
        _, paused = pool.next_result()
        assert paused.state == "stopped", paused.reason
        second = replace(first, until=None, before=paused)
        weights = tmp_path / "0" / "best.safetensors"
        for end, how in ends:
            weights.unlink()  # comes back with the next epoch that is better
            pool.submit(second)
            ended = threading.Thread(target=end_when_there, args=(weights, worker_of(pool), end))
            ended.start()
            assert pool.next_result() == (0, Died(how))
            ended.join()
        pool.submit(second)
        _, result = pool.next_result()
    finally:
        pool.close()
    assert result.state == "complete", result.reason
    assert result.history[:2] == paused.history, "seconds included: they were not trained again"
    assert [outcome(result)] == here(cache, work(0, tmp_path / "here", epochs=30))


def end_when_there(path: Path, pid: int, end) -> None:
    while not path.exists() and Path(f"/proc/{pid}").exists():
        time.sleep(0.01)
    end(pid)


def test_a_worker_that_can_not_begin_says_why(tmp_path):
    unknown = override_config(CONFIG, {"search": {"shared": "nosuch://bucket"}})
    pool = ProcessPool(2, unknown, cache=tmp_path, device="cpu")
    try:
        pool.submit(work(0, tmp_path))
        with pytest.raises(ConfigError, match="Protocol not known: nosuch"):
            pool.next_result()
    finally:
        pool.close()


def test_a_worker_that_finds_another_teacher_than_the_driver_ends_the_search(tmp_path):
    pool = ProcessPool(1, CONFIG, cache=tmp_path, device="cpu", hashes=("1a", "2b"))
    try:
        pool.submit(work(0, tmp_path))
        with pytest.raises(DataError, match=r"teacher are not the driver's \(.*, there 1a, 2b\)"):
            pool.next_result()
    finally:
        pool.close()


DRIVER = """
import sys
from pathlib import Path
from engine_work import CONFIG, work
from autokd.engine.executors import InProcess, ProcessPool

if __name__ == "__main__":
    pool = ProcessPool(2, CONFIG, cache=Path(sys.argv[1]), device="cpu")
    pool.submit(work(0, Path(sys.argv[2]), epochs=100_000))
    pool.submit(work(1, Path(sys.argv[2]), epochs=1))
    pool.next_result()  # from now on one trains and one waits
    print(*[pid for _, each, _ in pool._running.values() for pid in each._processes])
    print(*[pid for each in pool._idle for pid in each._processes], flush=True)
    pool.next_result()
"""


def is_alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_killed_driver_leaves_no_worker_that_trains_on(cache, tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, script, cache, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as driver:
        workers = [int(driver.stdout.readline()) for _ in range(2)]
        assert all(map(is_alive, workers))
        driver.kill()
    deadline = time.monotonic() + 60
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline, "they outlive their driver"
        time.sleep(0.1)


def test_a_worker_has_the_environment_of_its_driver_as_it_is_now(monkeypatch):
    """The server that workers are forked from was begun with an earlier one."""
    import_ahead()
    for value in ("first", "second"):
        monkeypatch.setenv("AUTOKD_DEVICE_TOKEN", value)
        with undisturbed_start():
            pool = new_pool(os.getpid, gpu=False)
            seen = pool.submit(os.getenv, "AUTOKD_DEVICE_TOKEN")
        assert seen.result(120) == value
        end(pool)


FIRST_WORKER = """
import os
from autokd.engine.processes import end, new_pool, undisturbed_start

with undisturbed_start():
    pool = new_pool(os.getpid, gpu=False)
    modules = "__import__('sys').modules"
    asked = f"list({modules}), {modules}['torch'].cuda.is_initialized()"
    names, uses_cuda = pool.submit(eval, asked).result(120)
end(pool)
print(*names, uses_cuda)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each worker imports for itself")
def test_workers_are_forked_from_a_server_that_has_imported_everything_and_computed_nothing():
    """In a process of its own: it has one such server, and another test may have begun ours."""
    out = subprocess.check_output([sys.executable, "-c", FIRST_WORKER], text=True)
    *names, uses_cuda = out.split()
    assert {*NEEDED, "torch", "timm"} <= {*names}
    assert uses_cuda == "False"


def test_starting_a_worker_leaves_the_callers_main_module_as_it_was(monkeypatch):
    """A notebook has no file. One that is None would break whoever asks next, as Ray does."""
    main = sys.modules["__main__"]
    monkeypatch.delattr(main, "__file__", raising=False)
    with undisturbed_start():
        assert main.__file__ is None
    assert not hasattr(main, "__file__")
    monkeypatch.setattr(main, "__file__", "script.py", raising=False)
    with undisturbed_start():
        assert main.__file__ is None
    assert main.__file__ == "script.py"


KILLED_EARLY = """
from multiprocessing import forkserver
from autokd.engine.processes import import_ahead

import_ahead()
print(forkserver._forkserver._forkserver_pid, flush=True)
input()  # it imports by now, which takes seconds
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such server")
def test_a_server_whose_driver_is_killed_while_it_imports_is_gone_within_five_seconds():
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_EARLY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        server = int(driver.stdout.readline())
        time.sleep(0.5)
        assert is_alive(server)
        driver.kill()
    deadline = time.monotonic() + 5
    while is_alive(server):
        assert time.monotonic() < deadline, "it outlives its driver"
        time.sleep(0.1)
