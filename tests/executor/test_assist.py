"""Assistants: whose they are, what they may use, and that nothing of them is left."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rdagentd.drivers.sandbox import sandbox
from rdagentd.executor import assist
from rdagentd.model.isolation import PRESETS, Isolation, Preset
from tests.cgroups import WAYS
from tests.executor.conftest import PYTHON, SYSTEM_PYTHON, TIMEOUT, Client, Executor, ended, needs_root
from tests.harness import eventually

WHO = """
import json, os
print(json.dumps([os.getuid(), os.getgid(), os.getgroups(), os.getcwd(), os.environ.get("ONE"), os.environ["RDAGENTD_RUN"]]))
"""
LEAVES = """
import os, subprocess, sys, time
child = subprocess.Popen(["sh", "-c", "trap '' TERM; echo $$ > one; exec sleep 1000"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    subprocess.Popen(["sh", "-c", "echo $$ > two; exec sleep 1000"], env={}, stdout=subprocess.DEVNULL)
    os._exit(0)
while not all(os.path.exists(name) and os.path.getsize(name) for name in ("one", "two")):
    time.sleep(0.01)
print("looked", flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(executor: Executor) -> Iterator[Client]:
    assert executor.client is not None
    yield executor.client
    executor.connect()  # whoever asked is gone
    eventually(lambda: not _children(executor), "no assistant to be left")


def _children(executor: Executor) -> str:
    return Path(f"/proc/{executor.pid}/task/{executor.pid}/children").read_text()


def errand(*argv: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": "1", "run": None, "worker": "w", "argv": list(argv), "uid": None, "gid": None, "groups": None, "cwd": "/",
        "env": {"PATH": os.environ["PATH"]}, "timeout": 60, "most": 1000, **changes,
    }  # fmt: skip


def ask(client: Client, *argv: str, **changes: Any) -> dict[str, Any]:
    return client.ask("assist", "assisted", **errand(*argv, **changes))


def at_work(directory: Path) -> bool:
    """Whether LEAVES has said who its two children are."""
    return all((directory / name).exists() and (directory / name).stat().st_size for name in ("one", "two"))


def begin(client: Client, place: Path, timeout: int = 6, **changes: Any) -> Path:
    """Has LEAVES at work, in a directory of its own; with a longer timeout if it was over before it had begun."""
    there = place / str(timeout)
    there.mkdir()
    client.send("assist", **errand(PYTHON, "-c", LEAVES, "1000", cwd=str(there), timeout=timeout, **changes))
    eventually(lambda: at_work(there) or select.select([client.socket], [], [], 0)[0], "it to be at work")
    if not at_work(there) and timeout < 30:
        client.wait("assisted")
        return begin(client, place, 30, **changes)
    return there


def pids(directory: Path) -> list[int]:
    return [int((directory / name).read_text()) for name in ("one", "two")]


def test_what_it_says_and_how_it_ends_is_told(client: Client) -> None:
    told = ask(client, "sh", "-c", "echo out; echo err >&2; exit 3", id="7")
    assert told == {
        "notice": "assisted", "id": "7", "code": 3, "signal": None, "output": b"out\nerr\n", "reason": "",
    }  # fmt: skip
    assert ask(client, "sh", "-c", "kill -9 $$")["signal"] == "SIGKILL"


@needs_root
def test_it_is_the_user_that_was_named_and_knows_whose_run_it_looks_at(client: Client, executor: Executor) -> None:
    who = {"uid": 65534, "gid": 65534, "groups": [1234]}
    env = {"PATH": "/usr/bin:/bin", "ONE": "1"}
    told = ask(client, SYSTEM_PYTHON, "-c", WHO, cwd="/usr", env=env, **who)
    assert json.loads(told["output"]) == [65534, 65534, [1234], "/usr", "1", ""]
    run = executor.spawn("sleep", "1000")
    client.wait("started", run=run)
    assert json.loads(ask(client, PYTHON, "-c", WHO, run=run)["output"])[-1] == run
    client.send("kill", run=run)
    client.wait("exited", run=run)


@needs_root
def test_the_policy_judges_whose_it_may_be(idle: Executor, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("minimum_uid = 1000\n")
    idle.arguments = ["--policy", str(policy)]
    idle.start()
    assert idle.client is not None
    told = ask(idle.client, "id")
    assert (told["code"], told["output"]) == (None, b"")
    assert told["reason"].startswith("cannot start: policy: user root (uid 0) is refused by")


def test_a_program_that_is_not_there_is_told(client: Client) -> None:
    told = ask(client, "/no/such/program")
    assert told["reason"] == "cannot start: exec /no/such/program: no such file or directory"


@needs_root
@pytest.mark.skipif(not shutil.which("bwrap", path="/usr/bin"), reason="needs bubblewrap")
def test_the_workers_isolation_holds_for_it(client: Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    strict = Isolation(Preset.STRICT, **PRESETS[Preset.STRICT])
    box = sandbox(strict, {"HOME": "/home/nobody"}, (), "")
    told = ask(client, "sh", "-c", f"cat {secret}; exit 5", sandbox=box, uid=65534, gid=65534, groups=[])
    assert told["code"] == 5 and b"No such file" in told["output"]


@needs_root
@pytest.mark.skipif(not shutil.which("bwrap", path="/usr/bin"), reason="needs bubblewrap")
def test_a_place_for_snapshots_is_the_users_and_is_there_in_a_sandbox(idle: Executor) -> None:
    for path in (idle.directory, *idle.directory.parents[:2]):
        os.chmod(path, path.stat().st_mode | 0o111)
    idle.state.mkdir(mode=0o711)
    idle.start()
    assert idle.client is not None
    place = idle.state / "workers" / "w" / "snapshots"
    who = {"uid": 65534, "gid": 65534, "groups": []}
    strict = Isolation(Preset.STRICT, **PRESETS[Preset.STRICT])
    box = sandbox(strict, {"HOME": "/home/nobody"}, (), "")
    write = ("sh", "-c", 'echo "$SNAPSHOTS_DIRECTORY"; echo x > "$SNAPSHOTS_DIRECTORY/kept"')
    told = ask(idle.client, *write, directories=["snapshots"], sandbox=box, **who)
    assert (told["code"], told["output"].decode().strip()) == (0, str(place))
    assert (place.stat().st_mode & 0o777, place.stat().st_uid, (place / "kept").read_text()) == (0o700, 65534, "x\n")
    told = ask(idle.client, "sh", "-c", f"ls {place}; echo $SNAPSHOTS_DIRECTORY", sandbox=box, **who)
    assert b"kept" not in told["output"], "who is not given it does not see it"
    assert idle.client.ask("assist", "refused", **errand("true", directories=["state"]))["op"] == "assist"


def test_output_is_kept_up_to_the_bound_and_taken_a_little_beyond(client: Client) -> None:
    told = ask(client, PYTHON, "-c", "print('x' * 500_000)", most=10)
    assert (told["code"], told["output"], told["reason"]) == (0, b"x" * 10, "")


def test_one_that_floods_is_ended(client: Client) -> None:
    told = ask(client, "yes", most=10)
    assert (told["signal"], told["output"]) == ("SIGKILL", b"y\n" * 5)
    assert told["reason"] == "it wrote more than 1048586 bytes"


def test_one_that_is_late_is_ended_with_all_its_children(client: Client, tmp_path: Path) -> None:
    for timeout in (6, 30):  # the longer one if it stood still for so long that it did not come to say anything
        there = tmp_path / str(timeout)
        there.mkdir()
        told = ask(client, PYTHON, "-c", LEAVES, "1000", cwd=str(there), timeout=timeout)
        if told["output"]:
            break
    assert (told["signal"], told["output"]) == ("SIGKILL", b"looked\n")
    assert told["reason"] == f"it did not end within {timeout} s"
    assert all(map(ended, pids(there)))


def test_what_one_leaves_behind_is_ended_at_once(client: Client, tmp_path: Path) -> None:
    told = ask(client, PYTHON, "-c", LEAVES, "0", cwd=str(tmp_path))
    assert (told["code"], told["output"], told["reason"]) == (0, b"looked\n", "")
    assert all(map(ended, pids(tmp_path)))


def test_one_that_closes_its_output_is_waited_for(client: Client) -> None:
    assert ask(client, "sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 4")["code"] == 4


def test_whoever_else_has_its_output_keeps_nobody(executor: Executor, client: Client, tmp_path: Path) -> None:
    """A program of the same user that was handed the pipe and fills it, and is nothing of the assistant's."""
    run = executor.spawn(
        "sh", "-c", f"until [ -s {tmp_path}/pid ]; do sleep 0.01; done; exec yes > /proc/$(cat {tmp_path}/pid)/fd/1"
    )
    script = f"echo $$ > {tmp_path}/pid; while read -r line; do :; done; sleep 1000"
    told = ask(client, "sh", "-c", script, most=4, timeout=600)
    assert told["output"] == b"y\ny\n" and (told["code"] == 0 or "wrote more" in told["reason"])
    client.wait("exited", run=run)


def test_no_more_than_so_many_at_a_time(client: Client) -> None:
    for number in range(assist.MOST):
        client.send("assist", **errand("sleep", "1000", id=str(number), timeout=600))
    refused = client.ask("assist", "refused", **errand("true", id="one-more"))
    assert (refused["op"], refused["id"]) == ("assist", "one-more")
    assert refused["reason"] == "cannot do assist: 64 are at work; ask again later"
    hello = client.ask("hello", "hello")
    assert hello["runs"] == [] and hello["exits"] == []


@pytest.mark.parametrize(
    "wrong",
    [{"id": ""}, {"id": "a/b"}, {"id": "x" * 64}, {"run": "."}, {"argv": []}, {"timeout": -1}, {"timeout": 3601},
     {"timeout": float("nan")}, {"most": -1}, {"most": 1 << 20}, {"cgroup": {"x": "1"}}, {"egress": "../x"}, {"stdin": ""}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    assert client.ask("assist", "refused", **errand("true", **wrong))["op"] == "assist"


def test_nothing_but_assist_reaches_one(client: Client) -> None:
    client.send("assist", **errand("sleep", "1000", timeout=600))
    for op, fields in (("kill", {}), ("signal", {"signal": 9, "scope": "tree"}), ("freeze", {}), ("ack", {})):
        assert "is wrong" in client.ask(op, "refused", run=".1", **fields)["reason"]
    assert "1 is at work" in client.ask("assist", "refused", **errand("true"))["reason"]


def test_it_ends_when_nobody_waits_for_its_answer(executor: Executor, client: Client, tmp_path: Path) -> None:
    client.send("assist", **errand(PYTHON, "-c", LEAVES, "1000", cwd=str(tmp_path), timeout=600))
    eventually(lambda: at_work(tmp_path), "it to be at work")
    executor.connect()
    assert all(map(ended, pids(tmp_path)))


def test_without_a_daemon_it_ends_at_its_timeout(executor: Executor, client: Client, tmp_path: Path) -> None:
    there = begin(client, tmp_path)
    client.close()
    assert all(map(ended, pids(there)))


def test_it_ends_with_the_executor_and_does_not_keep_it(executor: Executor, tmp_path: Path) -> None:
    assert executor.client is not None and executor.process is not None
    executor.client.send("assist", **errand(PYTHON, "-c", LEAVES, "1000", cwd=str(tmp_path), timeout=600))
    eventually(lambda: at_work(tmp_path), "it to be at work")
    executor.client.send("leave")
    assert executor.process.wait(TIMEOUT) == 0
    assert all(map(ended, pids(tmp_path)))


def test_it_is_ended_by_an_executor_that_takes_over(executor: Executor, tmp_path: Path) -> None:
    assert executor.client is not None
    run = executor.spawn("sleep", "1000")
    executor.client.wait("started", run=run)
    executor.client.send("assist", **errand(PYTHON, "-c", LEAVES, "1000", cwd=str(tmp_path), timeout=600, run=run))
    eventually(lambda: at_work(tmp_path), "it to be at work")
    executor.client.send("reexec")
    assert executor.client.closed()
    client = executor.connect()
    assert all(map(ended, pids(tmp_path)))
    assert [told["run"] for told in client.ask("hello", "hello")["runs"]] == [run]
    client.send("kill", run=run)
    assert client.wait("exited", run=run)["signal"] == "SIGKILL"
    assert ask(client, "true")["code"] == 0


def test_a_run_is_over_although_one_looks_at_it(executor: Executor, client: Client, tmp_path: Path) -> None:
    run = executor.spawn("sleep", "1000")
    client.wait("started", run=run)
    there = begin(client, tmp_path, run=run)
    client.send("signal", run=run, signal=int(signal.SIGTERM), scope="main")
    assert client.wait("exited", run=run)["signal"] == "SIGTERM"
    client.wait("assisted")
    assert all(map(ended, pids(there)))


def test_a_run_is_killed_with_who_looks_at_it_where_there_are_cgroups(
    executor: Executor, client: Client, tmp_path: Path, way: str
) -> None:
    if way != "cgroup":
        pytest.skip("there it is beside the run")
    run = executor.spawn("sleep", "1000")
    client.wait("started", run=run)
    client.send("assist", **errand(PYTHON, "-c", LEAVES, "1000", cwd=str(tmp_path), timeout=600, run=run))
    eventually(lambda: at_work(tmp_path), "it to be at work")
    client.send("kill", run=run)
    assert client.wait("assisted")["signal"] == "SIGKILL"
    client.wait("exited", run=run)
    assert all(map(ended, pids(tmp_path)))


def test_what_a_dead_executor_left_is_ended_by_the_next_where_there_are_cgroups(
    executor: Executor, tmp_path: Path, way: str
) -> None:
    if way != "cgroup":
        pytest.skip("without there is nothing to find it by")
    assert executor.client is not None
    executor.client.send("assist", **errand(PYTHON, "-c", LEAVES, "1000", cwd=str(tmp_path), timeout=600))
    eventually(lambda: at_work(tmp_path), "it to be at work")
    executor.kill()
    executor.start()
    assert all(map(ended, pids(tmp_path)))
