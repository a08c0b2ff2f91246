"""What a child is like when its exec has succeeded, and what is told when something before it has failed."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from pathlib import Path

import pytest

from tests.executor.conftest import PYTHON, SYSTEM_PYTHON, Executor, lines_of, needs_root

TELL = """
import json, os, resource, signal, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "env": dict(os.environ), "cwd": os.getcwd(), "umask": os.umask(0), "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "ids": [os.getresuid(), os.getresgid(), sorted(os.getgroups())], "session": os.getsid(0) == os.getpid(),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE), "nproc": resource.getrlimit(resource.RLIMIT_NPROC),
    "fds": sorted(int(n) for n in os.listdir("/proc/self/fd")), "stdin": os.readlink("/proc/self/fd/0"),
    "blocked": int(status["SigBlk"], 16), "ignored": int(status["SigIgn"], 16),
    "oom": open("/proc/self/oom_score_adj").read().strip(), "argv": sys.argv[1:]}))
"""


def tell(executor: Executor, *words: str, **changes: object) -> dict:  # type: ignore[type-arg]
    end = executor.run(SYSTEM_PYTHON, "-c", TELL, *words, **changes)
    assert (end["kind"], end["code"]) == ("code", 0), (end, executor.log())
    return json.loads(executor.log().splitlines()[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_exit_code(shared: Executor, code: int) -> None:
    end = shared.run("sh", "-c", f"exit {code}")
    assert (end["kind"], end["code"], end["signal"], end["worker"]) == ("code", code, None, "w")


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (15, "SIGTERM"), (37, "SIGRTMIN+3"), (64, "SIGRTMAX")])
def test_exit_signal(shared: Executor, number: int, name: str) -> None:
    end = shared.python(f"import os; os.kill(os.getpid(), {number})")
    assert (end["kind"], end["code"], end["signal"], end["core"]) == ("signal", None, name, False)


def test_usage(executor: Executor) -> None:
    end = executor.python("import time\nx = bytearray(50 << 20)\nwhile time.process_time() < 0.2: pass")
    assert 0.15 < end["usage"]["user"] + end["usage"]["system"] < 10
    assert 50 << 20 < end["usage"]["max_rss"] < 500 << 20


def test_started_tells_pid_and_start(executor: Executor) -> None:
    assert executor.client is not None
    run = executor.spawn("sleep", "100")
    started = executor.client.wait("started", run=run)
    fields = Path(f"/proc/{started['pid']}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[19]) == started["start_ticks"]
    assert started["log"] == {"out": 0}
    executor.client.send("kill", run=run)
    assert executor.client.wait("exited", run=run)["signal"] == "SIGKILL"


@pytest.mark.parametrize(
    ("changes", "stage", "number"),
    [
        ({"argv": ["no-such-program"]}, "exec", errno.ENOENT),
        ({"argv": ["/etc"]}, "exec", errno.EACCES),
        ({"argv": ["/proc/self/no/such"]}, "exec", errno.ENOENT),
        ({"argv": ["/" + "x" * 50_000]}, "exec", errno.ENAMETOOLONG),
        ({"argv": ["true", "nul\0"]}, "exec", errno.EINVAL),
        ({"env": {"A=B": "c"}}, "exec", errno.EINVAL),
        ({"cwd": "/no/such"}, "working directory", errno.ENOENT),
        ({"rlimits": {"RLIMIT_NOFILE": [20, 10]}}, "rlimit nofile", errno.EINVAL),
        ({"rlimits": {"RLIMIT_NONSENSE": [1, 1]}}, "rlimit nonsense", errno.EINVAL),
        ({"env_files": ["/no/such.env"]}, "environment file", errno.ENOENT),
        ({"env_files": ["/dev/zero"]}, "environment file", errno.EINVAL),
    ],
)
def test_could_not_start(shared: Executor, changes: dict[str, object], stage: str, number: int) -> None:
    end = shared.run(*changes.pop("argv", ["true"]), **changes)  # type: ignore[misc]
    assert (end["kind"], end["stage"], end["errno"]) == ("could_not_start", stage, number), end
    assert end["reason"].startswith(f"cannot start: {stage} ")
    assert os.strerror(number).lower() in end["reason"]
    assert not shared.logs.joinpath("w").exists(), "a run that printed nothing leaves nothing"


@needs_root
@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({"uid": 12345}, "uid"),
        ({"uid": 12345, "groups": []}, "uid"),
        ({"gid": 12345}, "gid"),
        ({"groups": [1, 2]}, "groups"),
        ({"rlimits": {"RLIMIT_NICE": [30, 40]}}, "rlimit nice"),
        ({"nice": -5}, "nice"),
    ],
)
def test_what_an_ordinary_user_may_not(unprivileged: Executor, changes: dict[str, object], stage: str) -> None:
    end = unprivileged.run("true", **changes)
    assert (end["kind"], end["stage"]) == ("could_not_start", stage), end
    assert end["errno"] in (errno.EPERM, errno.EACCES)


@needs_root
def test_an_ordinary_user_may_name_itself(unprivileged: Executor) -> None:
    nice = min(os.nice(0) + 3, 19)  # never better than what it was started with
    told = tell(unprivileged, uid=65534, gid=65534, nice=nice)
    assert told["ids"][0] == [65534] * 3
    assert told["nice"] == nice


@needs_root
def test_another_user_can_open_the_output_too(executor: Executor) -> None:
    """As programs do that are told to log to /dev/stdout; the pipe is the executor's otherwise."""
    script = "echo one >/dev/stdout; echo two >/dev/stderr"
    ended = executor.run("sh", "-c", script, uid=65534, gid=65534, groups=[])
    assert (ended["code"], executor.log()) == (0, b"one\ntwo\n")


def test_environment_is_what_was_asked_for(executor: Executor) -> None:
    told = tell(executor, "ä b", "", env={"A": "ünï $A", "EMPTY": ""}, run="r1")
    told["env"].pop("LC_CTYPE", None)  # python sets it for itself
    given = {"RDAGENTD_RUN": "r1", "RDAGENTD_WORKER": "w", "NOTIFY_SOCKET": f"{executor.state}/notify/r1/socket"}
    assert told["env"] == {"A": "ünï $A", "EMPTY": "", **given}
    assert told["argv"] == ["ä b", ""]


def test_path_of_the_run_is_used(executor: Executor, tmp_path: Path) -> None:
    program = tmp_path / "thing"
    program.write_text("#!/bin/sh\nexit 42\n")
    program.chmod(0o755)
    assert executor.run("thing", env={"PATH": f"/no:{tmp_path}"})["code"] == 42
    assert executor.run("thing", env={"PATH": "/bin"})["errno"] == errno.ENOENT
    assert executor.run("./thing", env={}, cwd=str(tmp_path))["code"] == 42
    program.chmod(0)
    if os.geteuid():
        assert executor.run("thing", env={"PATH": f"{tmp_path}:/no"})["errno"] == errno.EACCES


def test_environment_files(executor: Executor, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A=file\nB=1\nexport C='$x'\n")
    (tmp_path / "b").write_text('B=2\n# no\nD="${A}-${B}"\n')
    told = tell(executor, env={"A": "spec"}, env_files=[str(tmp_path / "a"), str(tmp_path / "b")])
    assert {key: told["env"].get(key) for key in "ABCD"} == {"A": "spec", "B": "2", "C": "$x", "D": "spec-2"}


def test_environment_files_are_over_what_the_user_has_by_default(executor: Executor, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("PATH=${PATH}:/of/file\nLANG=xx\n")
    env = {"PATH": os.environ["PATH"], "LANG": "C"}
    told = tell(executor, env=env, env_files=[str(tmp_path / "a")], env_defaults=["PATH"])
    assert (told["env"]["PATH"], told["env"]["LANG"]) == (os.environ["PATH"] + ":/of/file", "C")


@needs_root
def test_environment_file_is_read_with_the_users_rights(executor: Executor, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("A=1\n")
    secret.chmod(0o600)
    end = executor.run("true", uid=65534, gid=65534, groups=[], env_files=[str(secret)])
    assert (end["stage"], end["errno"]) == ("environment file", errno.EACCES)


def test_environment_file_tells_the_line(executor: Executor, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A=1\nnonsense\n")
    end = executor.run("true", env_files=[str(tmp_path / "a")])
    assert f"{tmp_path}/a line 2 is not KEY=value" in end["reason"]


OF_LIBC = 1 << 31 | 1 << 32
"""Signals 32 and 33, of glibc itself: posix_spawn (so make) leaves them ignored in what it starts, and nobody may set them."""


def test_inherits_nothing(idle: Executor) -> None:
    read, write = os.pipe()

    def spoil() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        os.umask(0o077)

    idle.environment = {"SECRET": "1"}
    try:
        idle.start(pass_fds=[read, write], preexec_fn=spoil)
    finally:
        os.close(read)
        os.close(write)
    told = tell(idle)
    assert told["fds"][:3] == [0, 1, 2]
    assert len(told["fds"]) == 4, "three, and the one that lists them"
    assert told["stdin"] == "/dev/null"
    assert told["session"]
    assert told["blocked"] == 0
    assert told["ignored"] & ~(1 << signal.SIGPIPE - 1 | 1 << 24 | OF_LIBC) == 0, (
        "all but SIGPIPE and SIGXFSZ, which python ignores"
    )
    assert told["umask"] == 0o022
    assert told["cwd"] == "/"
    assert tuple(told["nofile"]) == resource.getrlimit(resource.RLIMIT_NOFILE), "not the one that the executor took"
    assert "SECRET" not in told["env"]
    assert told["oom"] == "0"


def test_signals_are_reset(executor: Executor) -> None:
    executor.run("sh", "-c", "grep SigIgn /proc/self/status")
    assert int(executor.log().split()[1], 16) & ~OF_LIBC == 0


def test_limits_are_applied(executor: Executor) -> None:
    told = tell(
        executor, umask=0o077, nice=5, rlimits={"RLIMIT_NOFILE": [64, 128], "RLIMIT_NPROC": [500, 600]}, cwd="/usr"
    )
    assert (told["umask"], told["nice"], told["cwd"]) == (0o077, 5, "/usr")
    assert (told["nofile"], told["nproc"]) == ([64, 128], [500, 600])


def test_unlimited(executor: Executor) -> None:
    assert executor.run("sh", "-c", "ulimit -d", rlimits={"RLIMIT_DATA": [-1, -1]})["code"] == 0
    assert executor.log() == b"unlimited\n"


@needs_root
def test_user_and_groups_are_taken_on(executor: Executor) -> None:
    told = tell(executor, uid=65534, gid=65533, groups=[65531, 65532])
    assert told["ids"] == [[65534] * 3, [65533] * 3, [65531, 65532]]
    assert tell(executor, uid=65534)["ids"][2] == [], "no other user gets root's groups"


def test_a_run_is_started_once(executor: Executor, tmp_path: Path) -> None:
    assert executor.client is not None
    request = executor.request("sh", "-c", f"echo x >> {tmp_path}/count; echo there; sleep 100")
    executor.client.send("spawn", **request)
    first = executor.client.wait("started", run=request["run"])
    executor.client.send("spawn", **request)
    assert executor.client.wait("started", run=request["run"]) == first
    assert lines_of(executor, 1) == ["there"]
    executor.client.send("kill", run=request["run"])
    end = executor.client.wait("exited", run=request["run"])
    executor.client.send("spawn", **request)
    assert executor.client.wait("exited", run=request["run"]) == end
    executor.client.send("ack", run=request["run"])
    executor.client.send("spawn", **request)
    last = executor.client.wait("exited", run=request["run"])
    assert last["kind"] == "lost"
    assert "has ended before" in last["reason"]
    assert executor.run(PYTHON, "-c", "")["code"] == 0
    assert (tmp_path / "count").read_text() == "x\n"
