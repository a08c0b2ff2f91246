"""After kill -9 of the executor: the next one ends what is left, and every run without an exit is lost."""

from __future__ import annotations

import os
from pathlib import Path

import msgpack
import pytest

from tests.cgroups import WAYS
from tests.executor.conftest import PYTHON, Executor, ended, lines_of, state_of
from tests.executor.test_tree import HEAD

FAMILY = (
    HEAD
    + """
subprocess.Popen(SLEEP)
subprocess.Popen(SLEEP, start_new_session=True, env={})
daemon(SLEEP)
daemon(SLEEP, env={})
daemon([sys.executable, '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)'])
print("pid", os.getpid(), flush=True)
time.sleep(1000)
"""
)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_nothing_is_left_and_all_are_lost(executor: Executor) -> None:
    assert executor.client is not None
    done = executor.run("sh", "-c", "exit 5")
    runs = [executor.spawn(PYTHON, "-c", FAMILY, worker=f"w{number}") for number in range(3)]
    pids = [int(line.split()[1]) for number in range(3) for line in lines_of(executor, 4, f"w{number}")]
    executor.client.ask("freeze", "frozen", run=runs[0])
    epoch = executor.client.ask("hello", "hello")["epoch"]
    executor.kill()
    assert any(state_of(pid) is not None for pid in pids)
    executor.start()
    hello = executor.client.ask("hello", "hello")
    assert [pid for pid in pids if state_of(pid) is not None] == []
    assert hello["epoch"] == epoch and hello["runs"] == []
    exits = {notice["run"]: notice for notice in hello["exits"]}
    assert exits.pop(done["run"]) == done
    assert exits.keys() == set(runs)
    for number, run in enumerate(runs):
        notice = exits[run]
        assert notice["kind"] == "lost" and "died" in notice["reason"]
        assert notice["log"] == {"out": len(executor.log(f"w{number}"))}
        assert notice["started"]["pid"] in pids and notice["started"]["log"] == {"out": 0}
        executor.client.send("spawn", **executor.request("true", run=run))
        assert executor.client.wait("exited", run=run) == notice, "not started again"


def test_another_boot_ends_nothing(executor: Executor) -> None:
    """The journal says that it is of another boot: pids mean nothing then."""
    assert executor.client is not None
    run = executor.spawn(PYTHON, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(1000)")
    pid = int(lines_of(executor, 1)[0])
    epoch = executor.client.ask("hello", "hello")["epoch"]
    executor.kill()
    journal = executor.state / "executor" / "journal"
    unpacker = msgpack.Unpacker()
    unpacker.feed(journal.read_bytes())
    records = [[*record[:3], "another boot"] if record[0] == "epoch" else record for record in unpacker]
    journal.write_bytes(b"".join(map(msgpack.packb, records)))
    executor.start()
    hello = executor.client.ask("hello", "hello")
    assert [(notice["run"], notice["kind"]) for notice in hello["exits"]] == [(run, "lost")]
    assert "restarted" in hello["exits"][0]["reason"] and hello["epoch"] != epoch
    assert state_of(pid) is not None
    os.kill(pid, 9)
    assert ended(pid)


@pytest.mark.parametrize(
    "point", ["before-spawn", "after-spawn", "before-exit-record", "after-exit-record", "before-ack", "after-ack"]
)
def test_failpoints(idle: Executor, tmp_path: Path, point: str) -> None:
    """Killed at each point of the third run: afterwards it happened at most once, and every known run has one exit."""
    idle.environment = {"RDAGENTD_FAILPOINTS": f"{point}:3:kill"}
    idle.start()
    assert idle.client is not None and idle.process is not None
    acked = []
    try:
        for number in range(5):
            idle.run("sh", "-c", f"echo {number} >> {tmp_path}/happened", run=f"r{number}")
            idle.client.send("ack", run=f"r{number}")
            idle.client.ask("ping", "pong")
            acked.append(f"r{number}")
    except (AssertionError, BrokenPipeError, ConnectionResetError):
        pass
    assert idle.process.wait() == -9
    assert acked == ["r0", "r1"]
    idle.environment = {}
    idle.start()
    exits = {notice["run"]: notice for notice in idle.client.ask("hello", "hello")["exits"]}
    kinds = {
        "before-spawn": {}, "after-spawn": {"r2": "lost"}, "before-exit-record": {"r2": "lost"},
        "after-exit-record": {"r2": "code"},
        "before-ack": {"r2": "code"}, "after-ack": {},
    }  # fmt: skip
    assert {run: notice["kind"] for run, notice in exits.items()} == kinds[point]
    happened = (tmp_path / "happened").read_text().split()
    assert happened in (["0", "1"], ["0", "1", "2"])
    idle.client.send("spawn", **idle.request("sh", "-c", f"echo 2 >> {tmp_path}/happened", run="r2"))
    idle.client.wait("exited", run="r2")
    again = (tmp_path / "happened").read_text().split()
    assert again == (["0", "1", "2"] if point == "before-spawn" else happened)
