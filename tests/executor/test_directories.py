"""The directories of workers: whose they are, and who looks after them."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rdagentd.drivers.sandbox import sandbox
from rdagentd.model.isolation import PRESETS, Isolation, Preset
from tests.executor.conftest import SYSTEM_PYTHON, Executor, needs_root, state_of
from tests.harness import eventually

NOBODY = {"uid": 65534, "gid": 65534, "groups": [65534]}
WRITE = """
import os
for kind in ("STATE", "CACHE"):
    place = os.environ[kind + "_DIRECTORY"]
    open(place + "/file", "a").write("x" * (1 << 20))
    print(place)
"""


@pytest.fixture
def opened(idle: Executor) -> Executor:
    """An executor in a place that every user can reach."""
    for path in (idle.directory, *idle.directory.parents[:2]):
        os.chmod(path, path.stat().st_mode | 0o111)
    idle.state.mkdir(mode=0o711)
    return idle.start()


def tend(executor: Executor, **fields: Any) -> dict[str, Any]:
    assert executor.client is not None
    return executor.client.ask("tend", "tended", **{"worker": "w", "cache": None, **fields})


def write(executor: Executor, **who: Any) -> dict[str, Any]:
    return executor.run(SYSTEM_PYTHON, "-c", WRITE, directories=["state", "cache"], **who)


@needs_root
def test_a_run_finds_directories_of_its_users_and_finds_them_again(opened: Executor) -> None:
    for times in (1, 2):
        assert write(opened, **NOBODY)["code"] == 0, opened.log()
        for kind in ("state", "cache"):
            place = opened.state / "workers" / "w" / kind
            found = place.stat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o700, 65534, 65534)
            assert (place / "file").stat().st_size == times << 20
    assert (opened.state / "workers" / "w").stat().st_uid == 0


def test_they_are_the_executors_own_users_where_there_is_no_other(executor: Executor) -> None:
    assert write(executor)["code"] == 0, executor.log()
    assert tend(executor)["used"].keys() == {"state", "cache"}


@needs_root
@pytest.mark.skipif(not shutil.which("bwrap", path="/usr/bin"), reason="needs bubblewrap")
def test_they_are_there_in_a_sandbox_that_hides_all_around_them(opened: Executor) -> None:
    strict = Isolation(Preset.STRICT, **PRESETS[Preset.STRICT])
    box = sandbox(strict, {"HOME": "/home/nobody"}, (), "r")
    assert write(opened, sandbox=box, **NOBODY)["code"] == 0, opened.log()
    assert (opened.state / "workers" / "w" / "cache" / "file").stat().st_size == 1 << 20


@needs_root
def test_what_belongs_to_somebody_else_stays_his(opened: Executor) -> None:
    assert write(opened, **NOBODY)["code"] == 0
    end = write(opened, uid=54321, gid=54321, groups=[])
    assert (end["kind"], end["stage"]) == ("could_not_start", "state directory")
    assert end["reason"].endswith("/w/state: belongs to uid 65534, and the worker runs as 54321")


@needs_root
def test_a_place_that_the_user_cannot_reach_is_told(opened: Executor) -> None:
    opened.state.chmod(0o700)
    end = write(opened, **NOBODY)
    assert (end["kind"], end["stage"]) == ("could_not_start", "state directory")
    assert end["reason"].endswith("/w/state: permission denied")


def test_what_is_no_directory_is_not_used(executor: Executor, tmp_path: Path) -> None:
    (executor.state / "workers" / "w").mkdir(parents=True)
    (executor.state / "workers" / "w" / "state").symlink_to(tmp_path)
    end = write(executor)
    assert (end["stage"], end["reason"].rpartition(": ")[2]) == ("state directory", "not a directory")


@needs_root
def test_measuring_and_sweeping_are_done_as_the_user(opened: Executor) -> None:
    assert write(opened, **NOBODY)["code"] == 0
    cache = opened.state / "workers" / "w" / "cache"
    (cache / "roots").mkdir()
    (cache / "roots" / "file").write_text("x")  # which the user may not remove
    for path in (cache / "file", cache / "roots" / "file"):
        os.utime(path, (1, 1))
    told = tend(opened, cache={"size": None, "age": 3600})
    assert told["problem"] == ""
    assert told["removed"] == [1, 1 << 20]
    assert told["used"]["state"] == 1 << 20 and told["used"]["cache"] < 1 << 20
    assert sorted(path.name for path in cache.rglob("*")) == ["file", "roots"]


def test_a_worker_without_directories_is_told_so(executor: Executor) -> None:
    assert "No such file or directory" in tend(executor)["problem"]
    assert executor.run("true")["code"] == 0


def stopped(executor: Executor) -> int:
    """One that was forked to look, stopped in the middle of it; 0 if it was over before."""
    assert executor.client is not None
    executor.client.send("tend", worker="w", cache=None)
    executor.client.ask("ping", "pong")
    with suppress(FileNotFoundError, IndexError, ProcessLookupError):
        child = int(Path(f"/proc/{executor.pid}/task/{executor.pid}/children").read_text().split()[0])
        eventually(lambda: len(os.listdir(f"/proc/{child}/fd")) <= 6, "what looks to have closed what it does not need")
        os.kill(child, signal.SIGSTOP)
        eventually(lambda: state_of(child) in (None, "T"), "it to be stopped")
        return child if state_of(child) == "T" else 0
    return 0


def test_the_next_executor_need_not_wait_for_one_that_looks(executor: Executor) -> None:
    """What is forked to look holds no lock and no journal: for the lock an executor would wait for some time, and leave."""
    assert write(executor)["code"] == 0
    state = executor.state / "workers" / "w" / "state"
    for number in range(20000):
        (state / f"f{number}").touch()
    child = eventually(lambda: stopped(executor), "one that looks to be stopped")
    try:
        executor.kill()
        executor.start()
        assert state_of(child) == "T"
    finally:
        os.kill(child, signal.SIGKILL)
    for path in state.glob("f[0-9]*"):
        path.unlink()
    assert executor.client is not None
    executor.client.send("tend", worker="w", cache=None)  # whoever looks has the least of priorities
    assert executor.client.wait("tended", timeout=100)["used"]["state"] >= 1 << 20


def test_looking_is_not_taken_for_a_part_of_a_run(executor: Executor) -> None:
    assert executor.client is not None
    assert write(executor)["code"] == 0
    run = executor.spawn("sleep", "1000")
    executor.client.wait("started", run=run)
    tend(executor)
    executor.client.send("usage", runs=[run])
    assert executor.client.wait("usage")["runs"][run]["tasks"] == 1
    executor.client.send("kill", run=run)
    executor.client.wait("exited", run=run)
