"""The side channel of a run, by real programs: what is taken, what is refused, and what outlives whom."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from tests import cgroups
from tests.executor.conftest import PYTHON, SYSTEM_PYTHON, Client, Executor, lines_of, needs_root
from tests.executor.test_handover import replace

SEND = """
import os, socket, sys
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.connect(os.environ["NOTIFY_SOCKET"])
def send(text): end.send(text if isinstance(text, bytes) else text.encode())
"""

TWICE = "{{ systemd-notify {0} || systemd-notify {0}; }}"
"""It gives its barrier up after 5 s, for which an executor may stand still."""

WAIT = "\nprint('sent', flush=True)\nsys.stdin = None\nimport signal; signal.pause()\n"


def told(client: Client, run: str, *names: str) -> dict[str, str]:
    """All that was told of a run, once these fields were; what went wrong stands in "trouble"."""
    fields: dict[str, str] = {}
    while not fields.keys() >= set(names):
        notice = client.wait("told", run=run)
        fields |= notice["fields"] | ({"trouble": notice["trouble"]} if notice["trouble"] else {})
    return fields


def sender(executor: Executor, text: str, **changes: Any) -> str:
    """A run that sends and then waits for its end."""
    return executor.spawn(SYSTEM_PYTHON, "-c", SEND + text + WAIT, **changes)


def end(executor: Executor, run: str) -> dict[str, Any]:
    assert executor.client is not None
    executor.client.send("kill", run=run)
    return executor.client.wait("exited", run=run)


@pytest.fixture(params=cgroups.WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_a_run_tells_is_told_and_the_last_value_counts(executor: Executor) -> None:
    assert executor.client is not None
    run = sender(executor, "send('STATUS=one'); send('READY=1\\nSTATUS=two\\nX_RDAGENT_TOKENS=5\\n')")
    fields = told(executor.client, run, "READY", "STATUS", "X_RDAGENT_TOKENS")
    assert fields == {"READY": "1", "STATUS": "two", "X_RDAGENT_TOKENS": "5"}
    assert end(executor, run)["told"] == fields


def test_any_descendant_can_tell_in_whatever_session_and_be_gone_at_once(executor: Executor) -> None:
    script = "setsid systemd-notify STATUS=descendant; setsid systemd-notify --ready --no-block; echo done; sleep 1000"
    run = executor.spawn("sh", "-c", script)
    assert executor.client is not None
    assert told(executor.client, run, "READY", "STATUS")["STATUS"] == "descendant"
    assert end(executor, run)["told"]["READY"] == "1"


def test_last_words_stand_in_the_exit_record(executor: Executor) -> None:
    ended = executor.python(SEND + "send('STATUS=bye\\nX_RDAGENT_COST_USD=0.25')")
    assert (ended["code"], ended["told"]) == (0, {"STATUS": "bye", "X_RDAGENT_COST_USD": "0.25"})


def test_a_run_that_says_nothing_has_told_nothing_and_leaves_nothing(executor: Executor) -> None:
    assert executor.run("true")["told"] == {}
    assert list((executor.state / "notify").iterdir()) == []


def test_a_barrier_is_passed_once_what_came_before_is_taken(executor: Executor) -> None:
    """systemd-notify waits for its barrier by default; it would say that it did not come."""
    ended = executor.run("sh", "-c", f"{TWICE.format('STATUS=first')} && echo passed")
    assert (ended["code"], ended["told"]["STATUS"]) == (0, "first")
    assert executor.log().endswith(b"passed\n")


@needs_root
def test_messages_of_another_user_are_refused(executor: Executor) -> None:
    run = sender(
        executor,
        """
if not os.fork():
    os.setresuid(65534, 65534, 65534)  # over a connection that was made before
    send("STATUS=forged")
    os._exit(0)
os.wait()
send("READY=1")
""",
    )
    assert executor.client is not None
    fields = told(executor.client, run, "READY", "trouble")
    assert fields.keys() == {"READY", "trouble"}
    assert "uid 65534 is not of its run" in fields["trouble"]
    assert end(executor, run)["told"] == {"READY": "1"}


@needs_root
def test_another_user_cannot_even_open_the_socket(unprivileged: Executor) -> None:
    run = sender(unprivileged, "print(os.environ['NOTIFY_SOCKET'])")
    path = lines_of(unprivileged, 2)[0]
    pid = os.fork()
    if not pid:
        os.setresuid(12345, 12345, 12345)
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        os._exit(stranger.connect_ex(path) == 0)
    assert os.waitpid(pid, 0)[1] == 0
    assert end(unprivileged, run)["told"] == {}


def test_a_process_of_the_same_user_that_is_not_of_the_run_is_refused_where_the_kernel_can_tell(
    executor: Executor, way: str
) -> None:
    assert executor.client is not None
    run = sender(executor, "print(os.environ['NOTIFY_SOCKET'])")
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stranger.sendto(b"STATUS=stranger", lines_of(executor, 2)[0])
    notice = executor.client.wait("told", run=run)
    taken = notice["fields"] == {"STATUS": "stranger"}
    refused = f"process {os.getpid()}" in notice["trouble"]
    assert (taken, refused) == ((False, True) if way == "cgroup" else (True, False))
    end(executor, run)


@pytest.mark.parametrize(
    ("text", "expected", "trouble"),
    [
        ("send(b'STATUS=' + b'x' * 5000)", {}, "more than 4096 bytes"),
        ("send('\\n'.join(f'A{n}=' for n in range(100)))", {}, "64 lines"),
        ("send(b'STATUS=' + b'x' * 4000)", {"STATUS": "x" * 512}, ""),
        ("send(b'nonsense')", {}, "a line of 8 characters is no NAME=value"),
        ("send(b'lower=1')", {}, "is no NAME=value"),
        ("send(b'')", {}, ""),
        ("send(b'=1')", {}, "is no NAME=value"),
        ("send(b'STATUS=\\xff\\xfe\\0')", {"STATUS": "\ufffd\ufffd"}, ""),
        ("send('MAINPID=1\\nNOTIFYACCESS=all\\nBARRIER=1')", {}, ""),
        ("send('FDSTORE=1\\nFDNAME=x')", {}, "descriptors are not stored"),
        ("socket.send_fds(end, [b'FDSTORE=1'], list(range(3)) * 50)", {}, "descriptors are not stored"),
    ],
)
def test_whatever_is_sent_is_bounded_and_does_no_harm(
    shared: Executor, text: str, expected: dict[str, str], trouble: str
) -> None:
    assert shared.client is not None
    shared.client.ask("ping", "pong")
    before = len(os.listdir(f"/proc/{shared.pid}/fd"))
    run = sender(shared, text + "\nsend('READY=1')")
    fields = told(shared.client, run, "READY")
    assert trouble in fields.get("trouble", "")
    assert end(shared, run)["told"] == {**expected, "READY": "1"}
    assert len(os.listdir(f"/proc/{shared.pid}/fd")) <= before


def test_so_many_names_that_they_would_fill_memory_are_dropped(shared: Executor) -> None:
    ended = shared.python(SEND + "for n in range(10_000): send(f'N{n}=' + 'x' * 100)")
    assert sum(len(name) + len(value) for name, value in ended["told"].items()) <= 4096
    assert len(ended["told"]) > 30


@pytest.mark.timeout(400)
def test_a_flood_is_coalesced_and_others_are_heard_meanwhile(executor: Executor) -> None:
    """100,000 messages: what is told is bounded by the time that they take, and what is kept is the last of them."""
    assert executor.client is not None
    flood = executor.spawn(
        PYTHON, "-c", SEND + "for n in range(100_000): send(f'X_RDAGENT_ITERATION={n}\\nSTATUS={n} done')"
    )
    executor.client.wait("told", run=flood)
    others = [executor.spawn("systemd-notify", f"STATUS={number}") for number in range(5)]
    for number, run in enumerate(others):
        assert executor.client.wait("exited", run=run)["told"]["STATUS"] == str(number)
    ended = executor.client.wait("exited", run=flood, timeout=300)
    assert ended["told"] == {"X_RDAGENT_ITERATION": "99999", "STATUS": "99999 done"}
    seconds = ended["at"] - ended["started"]["at"]
    notices = [message for message in executor.client.seen if message["notice"] == "told" and message["run"] == flood]
    assert 0 < len(notices) <= seconds / 0.1 + 2


def test_a_daemon_that_comes_later_is_told_all(executor: Executor) -> None:
    assert executor.client is not None
    run = sender(executor, "send('X_RDAGENT_TOKENS=7\\nSTATUS=so far')")
    told(executor.client, run, "STATUS")
    executor.client.close()
    held = executor.connect().ask("hello", "hello")["runs"]
    assert [one["told"] for one in held] == [{"X_RDAGENT_TOKENS": "7", "STATUS": "so far"}]
    assert executor.client is not None
    end(executor, run)


def test_a_channel_outlives_the_replacement_of_the_executor(executor: Executor) -> None:
    assert executor.client is not None
    text = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
send('X_RDAGENT_TOKENS=7')
print('sent', flush=True)
signal.sigwait([signal.SIGUSR1])  # which may have come before
send('STATUS=after')
"""
    run = executor.spawn(SYSTEM_PYTHON, "-c", SEND + text)
    lines_of(executor, 1)
    replace(executor)
    hello = executor.client.ask("hello", "hello") if executor.client is not None else {}
    assert hello["runs"][0]["told"] == {"X_RDAGENT_TOKENS": "7"}
    executor.client.send("signal", run=run, signal=10, scope="main")
    assert executor.client.wait("exited", run=run)["told"] == {"X_RDAGENT_TOKENS": "7", "STATUS": "after"}
    assert list((executor.state / "notify").iterdir()) == []


def test_what_an_executor_that_died_has_left_is_removed(executor: Executor) -> None:
    sender(executor, "")
    lines_of(executor, 1)
    executor.kill()
    executor.start()
    assert list((executor.state / "notify").iterdir()) == []


@pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
@needs_root
def test_it_works_from_inside_a_sandbox_that_hides_the_directory(executor: Executor) -> None:
    for path in (executor.directory, *executor.directory.parents[:2], executor.state):
        os.chmod(path, path.stat().st_mode | 0o011)
    options = ["--unshare-user", "--unshare-net", "--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/tmp"]
    script = TWICE.format("STATUS=within")
    ended = executor.run("sh", "-c", script, sandbox=options, egress="", uid=65534, gid=65534, groups=[])
    assert (ended["code"], ended["told"]) == (0, {"STATUS": "within"}), executor.log()


def test_no_secret_is_told_unless_the_log_is_to_have_it_too(executor: Executor) -> None:
    changes: dict[str, Any] = {"env": {"PATH": os.environ["PATH"], "OPENAI_API_KEY": "hunter2-hunter2"}}
    ended = executor.python(SEND + "send('STATUS=with ' + os.environ['OPENAI_API_KEY'] + ' all is well')", **changes)
    assert ended["told"] == {"STATUS": "with [redacted OPENAI_API_KEY] all is well"}
    changes["log"] = {"cap": 1 << 20, "segment": 1 << 18, "separate": False, "redact": False}
    assert executor.python(SEND + "send('STATUS=' + os.environ['OPENAI_API_KEY'])", **changes)["told"] == {
        "STATUS": "hunter2-hunter2"
    }


def test_taking_secrets_out_takes_no_room(executor: Executor) -> None:
    """A secret is longer than what stands in its place: a hundred times that is still no reason to drop anything."""
    changes = {"env": {"PATH": os.environ["PATH"], "A_KEY": "k" * 300}}
    text = """
import time
for n in range(30):
    send("STATUS=" + os.environ["A_KEY"])
    time.sleep(0.11)  # longer than between two notices, which is when they are taken out
send("STATUS=end")
"""
    assert executor.python(SEND + text, **changes)["told"] == {"STATUS": "end"}


def test_a_path_too_long_for_a_socket_matters_only_to_those_that_must_use_it(tmp_path: Path) -> None:
    executor = Executor(tmp_path / "x")
    executor.state = tmp_path / ("long" * 20)
    executor.directory.mkdir()
    executor.start()
    try:
        ended = executor.run("sh", "-c", "test -z $NOTIFY_SOCKET")
        assert (ended["code"], ended["told"]) == (0, {})
        ended = executor.run("true", env={"PATH": os.environ["PATH"], "WATCHDOG_USEC": "1000000"})
        assert (ended["kind"], ended["stage"]) == ("could_not_start", "notify socket")
        assert "choose a shorter state directory" in ended["reason"]
    finally:
        executor.stop()


@needs_root
def test_who_cannot_reach_the_socket_is_not_pointed_to_it(executor: Executor) -> None:
    os.chmod(executor.state, 0o700)
    who = {"uid": 65534, "gid": 65534, "groups": []}
    assert executor.run("sh", "-c", "test -z $NOTIFY_SOCKET", **who)["code"] == 0
    ended = executor.run("true", env={"PATH": os.environ["PATH"], "WATCHDOG_USEC": "1000000"}, **who)
    assert f"uid 65534 may not pass through {executor.state}" in ended["reason"]


def test_containers_have_channels_as_long_as_they_are_named(executor: Executor) -> None:
    assert executor.client is not None
    made = executor.client.ask("channels", "channels", runs={"r1": "w1", "r2": "w2"})["runs"]
    place = made["r1"]["path"]
    inside = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inside.sendto(b"STATUS=within", f"{place}/socket")
    assert executor.client.wait("told", run="r1", worker="w1")["fields"] == {"STATUS": "within"}
    again = executor.client.ask("channels", "channels", runs={"r1": "w1"})["runs"]
    assert again == {"r1": {"path": place, "told": {"STATUS": "within"}}}
    replace(executor)
    inside.sendto(b"READY=1", f"{place}/socket")
    again = executor.client.ask("channels", "channels", runs={"r1": "w1"})["runs"]
    assert again["r1"]["told"] == {"STATUS": "within", "READY": "1"}
    executor.kill()
    executor.start()
    executor.client.ask("channels", "channels", runs={"r1": "w1"})
    inside.sendto(b"READY=2", f"{place}/socket")  # in the same directory, which is mounted in the container
    assert executor.client.wait("told", run="r1")["fields"] == {"READY": "2"}
    executor.client.ask("channels", "channels", runs={})
    assert list((executor.state / "containers").iterdir()) == []


@needs_root
def test_nobody_on_the_host_reaches_the_channel_of_a_container(executor: Executor) -> None:
    assert executor.client is not None
    for path in (executor.directory, *executor.directory.parents[:2], executor.state):
        os.chmod(path, path.stat().st_mode | 0o011)
    place = executor.client.ask("channels", "channels", runs={"r1": "w1"})["runs"]["r1"]["path"]
    pid = os.fork()
    if not pid:
        os.setresuid(12345, 12345, 12345)
        os._exit(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect_ex(f"{place}/socket") == 0)
    assert os.waitpid(pid, 0)[1] == 0
