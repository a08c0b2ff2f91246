"""A run in a sandbox is a run like any other: its pid, signals, ends and failures are told as without."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cgroups import WAYS, is_frozen
from tests.executor.conftest import SYSTEM_PYTHON, Executor, ended, lines_of, needs_root, state_of
from tests.executor.test_handover import replace
from tests.executor.test_spawn import tell
from tests.harness import eventually

pytestmark = pytest.mark.skipif(not shutil.which("bwrap", path="/usr/bin"), reason="needs bubblewrap")

BOX = ["--unshare-user", "--dev-bind", "/", "/", "--tmpfs", "/home"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def who() -> dict[str, Any]:
    """A user who may have a user namespace, as everybody may."""
    return {"uid": 65534, "gid": 65534, "groups": [65534]} if os.geteuid() == 0 else {}


def spawn(executor: Executor, *argv: str, **changes: Any) -> tuple[str, dict[str, Any]]:
    assert executor.client is not None
    run = executor.spawn(*argv, sandbox=BOX, **changes)
    return run, executor.client.wait("started", run=run)


@pytest.mark.parametrize("script", ["exit 0", "exit 137", "exit 1"])
def test_the_exit_code_is_the_programs_own(executor: Executor, who: dict[str, Any], script: str) -> None:
    for _ in range(5):
        end = executor.run("sh", "-c", script, sandbox=BOX, **who)
        assert (end["kind"], end["code"]) == ("code", int(script.split()[1])), end
        assert end["started"]["pid"] > 1


def test_a_signal_is_not_taken_for_a_code(executor: Executor, who: dict[str, Any]) -> None:
    end = executor.run("sh", "-c", "kill -SEGV $$", sandbox=BOX, **who)
    assert (end["kind"], end["signal"], end["code"]) == ("signal", "SIGSEGV", None)


def test_the_main_process_is_the_program_and_bwrap_is_gone(executor: Executor, who: dict[str, Any]) -> None:
    assert executor.client is not None
    run, started = spawn(executor, "sleep", "1000", **who)
    pid = started["pid"]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    eventually(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "the last step of the exec")
    assert [int(fields[n]) for n in (1, 2, 3, 19)] == [executor.pid, pid, pid, started["start_ticks"]]
    executor.client.send("usage", runs=[run])
    assert executor.client.wait("usage")["runs"][run]["tasks"] == 1
    executor.client.send("signal", run=run, signal=signal.SIGTERM, scope="main")
    assert executor.client.wait("exited", run=run)["signal"] == "SIGTERM"


@pytest.mark.parametrize("scope", ["main", "group", "tree"])
def test_a_graceful_stop_reaches_the_program(executor: Executor, who: dict[str, Any], scope: str) -> None:
    assert executor.client is not None
    run, _ = spawn(
        executor, "sh", "-c", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done", **who
    )
    lines_of(executor, 1)
    executor.client.send("signal", run=run, signal=signal.SIGTERM, scope=scope)
    assert executor.client.wait("exited", run=run)["code"] == 7
    assert executor.log().endswith(b"bye\n")


def test_pause_and_kill_hold_all_of_it(executor: Executor, who: dict[str, Any]) -> None:
    assert executor.client is not None
    script = "setsid sleep 1000 & echo $!; wait"
    run, started = spawn(executor, "sh", "-c", script, **who)
    child = int(lines_of(executor, 1)[0])
    executor.client.send("freeze", run=run)
    executor.client.wait("frozen", run=run)
    eventually(lambda: is_frozen(started["pid"]) and is_frozen(child), "all of it to be frozen")
    executor.client.send("thaw", run=run)
    executor.client.send("kill", run=run)
    assert executor.client.wait("exited", run=run)["signal"] == "SIGKILL"
    assert ended(child) and state_of(child) is None


def test_what_the_program_forgets_is_ended_after_it(executor: Executor, who: dict[str, Any]) -> None:
    end = executor.run("sh", "-c", "setsid sleep 1000 & echo $!; exit 3", sandbox=BOX, linger=0.0, **who)
    assert (end["code"], state_of(int(executor.log()))) == (3, None)


@pytest.mark.parametrize(
    ("changes", "stage", "reason"),
    [
        ({"argv": ["no-such-program"]}, "exec", "exec no-such-program: no such file or directory"),
        ({"argv": ["/etc"]}, "exec", "exec /etc: permission denied"),
        ({"argv": ["/" + "ä" * 50_000]}, "exec", f"exec /{'ä' * 793}: file name too long"),
        ({"cwd": "/home/nobody-has"}, "working directory", "working directory /home/nobody-has: no such file"),
        ({"sandbox": [*BOX, "--bind", "/no/such", "/x"]}, "isolation", "isolation: bwrap: Can't find source path /no/such"),
        ({"sandbox": ["--no-such-option"]}, "isolation", "isolation: bwrap: Unknown option --no-such-option"),
        ({"env": {"LD_PRELOAD": "/no/such.so"}, "argv": ["/no"]}, "exec", "exec /no: no such file or directory"),
    ],
)  # fmt: skip
def test_a_failed_start_is_told_and_not_an_exit_code(
    executor: Executor, who: dict[str, Any], changes: dict[str, Any], stage: str, reason: str
) -> None:
    request = {"sandbox": BOX, "env": {"PATH": "/usr/bin"}, "argv": ["true"], **who, **changes}
    end = executor.run(*request.pop("argv"), **request)
    assert (end["kind"], end["stage"], end["started"]) == ("could_not_start", stage, None), end
    assert end["reason"].startswith(f"cannot start: {reason}")
    assert executor.log() == b"", "what bwrap says is the reason, and not output"


def in_place_of_bwrap(executor: Executor, script: str, mode: int) -> None:
    """What the executor, once it is started, finds at /usr/bin/bwrap."""
    path = executor.directory / "bwrap"
    path.write_text(script)
    path.chmod(mode)
    os.chmod(executor.directory, 0o755)
    hide = f'mount --bind {path} /usr/bin/bwrap && exec "$@"'
    executor.prefix = [*executor.prefix, "unshare", "--mount", "sh", "-c", hide, "sh"]


@needs_root
def test_a_bwrap_that_cannot_be_executed_names_its_package(idle: Executor, who: dict[str, Any]) -> None:
    in_place_of_bwrap(idle, "", 0o644)
    end = idle.start().run("true", sandbox=BOX, **who)
    assert (end["kind"], end["stage"]) == ("could_not_start", "isolation")
    assert end["reason"] == "cannot start: isolation /usr/bin/bwrap, of the package bubblewrap: permission denied"


@needs_root
def test_a_claim_to_a_process_of_another_run_is_not_believed(idle: Executor, who: dict[str, Any]) -> None:
    """The report is written by programs of the run's user, who may have got hold of them."""
    in_place_of_bwrap(idle, "#!/bin/sh\nprintf '\\000=%s\\000' \"$VICTIM\" >&2\nexit 3\n", 0o755)
    executor = idle.start()
    assert executor.client is not None
    other = executor.spawn("sh", "-c", "(setsid sleep 1000 & echo $!); exec sleep 1000", worker="other")
    orphan = int(lines_of(executor, 1, "other")[0])
    main = executor.client.wait("started", run=other)["pid"]
    for victim in (orphan, main, 1, executor.pid, 999999999):
        end = executor.run("true", sandbox=BOX, env={"VICTIM": str(victim)}, linger=0.0, **who)
        assert (end["kind"], end["code"]) == ("code", 3)
    assert state_of(orphan) and state_of(main)


@needs_root
def test_what_is_said_in_place_of_bwrap_is_taken_for_no_secret_and_pushes_out_none(
    idle: Executor, who: dict[str, Any]
) -> None:
    script = """#!/bin/sh
printf 'A_KEY=ordinary\\000\\000B_KEY=ordinary\\000' >&2
head -c 1000000 /dev/zero >&2
exec echo "ordinary $API_KEY"
"""
    in_place_of_bwrap(idle, script, 0o755)
    env = {"PATH": "/usr/bin:/bin", "API_KEY": "hunter22-and-more"}
    assert idle.start().run("true", sandbox=BOX, env=env, **who)["code"] == 0
    assert idle.log() == b"ordinary [redacted API_KEY]\n"


def test_secrets_are_taken_out_of_its_output_too(executor: Executor, who: dict[str, Any], tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, path.stat().st_mode | 0o111)
    (tmp_path / "env").write_text("".join(f"N{n}_KEY={n:04d}-a-long-one{'x' * 900}\n" for n in range(100)))
    env = {"PATH": "/usr/bin:/bin", "API_KEY": "hunter22-and-more"}
    script = 'echo "$API_KEY, $N99_KEY"; exec cat "/$API_KEY"'
    end = executor.run("sh", "-c", script, sandbox=BOX, env=env, env_files=[str(tmp_path / "env")], **who)
    assert end["code"] == 1, end
    said, complaint = executor.log().decode().splitlines()
    assert said == "[redacted API_KEY], [redacted N99_KEY]"
    assert "/[redacted API_KEY]" in complaint


def test_what_a_child_begins_with_is_as_without(executor: Executor, who: dict[str, Any]) -> None:
    env = {"PATH": "/usr/bin:/bin", "LANG": "C", "A": "ä=\n", "EMPTY": ""}
    plain = tell(executor, "a b", "", env=env, worker="w", umask=0o27, nice=3, **who)
    boxed = tell(executor, "a b", "", env=env, worker="w", umask=0o27, nice=3, sandbox=BOX, **who)
    for told in (plain, boxed):
        told["env"].pop("RDAGENTD_RUN")
    assert boxed["ids"][0] == plain["ids"][0]
    del boxed["ids"], plain["ids"]  # groups that are not mapped are shown as nogroup
    assert boxed == plain


def test_output_streams_are_kept_apart(executor: Executor, who: dict[str, Any]) -> None:
    log = {"cap": 1 << 20, "segment": 1 << 18, "separate": True}
    executor.run("sh", "-c", "echo out; echo err >&2", sandbox=BOX, log=log, **who)
    assert (executor.log(stream="out"), executor.log(stream="err")) == (b"out\n", b"err\n")


def test_a_run_goes_on_when_the_executor_replaces_itself(executor: Executor, who: dict[str, Any]) -> None:
    run, started = spawn(executor, "sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done", **who)
    lines_of(executor, 1)
    replace(executor)
    assert executor.client is not None
    told = executor.client.ask("hello", "hello")["runs"]
    assert [(entry["run"], entry["pid"]) for entry in told] == [(run, started["pid"])]
    executor.client.send("signal", run=run, signal=signal.SIGTERM, scope="main")
    assert executor.client.wait("exited", run=run)["code"] == 7


def test_no_start_and_no_secret_is_lost_to_an_executor_that_replaces_itself_meanwhile(
    executor: Executor, who: dict[str, Any]
) -> None:
    assert executor.client is not None
    env = {"PATH": "/usr/bin:/bin", "API_KEY": "hunter22-and-more"}
    for round_ in range(6):
        scripts = [f"echo $API_KEY; exit {code}" for code in (3, 4, 5)]
        runs = [executor.spawn("sh", "-c", script, sandbox=BOX, env=env, **who) for script in scripts]
        for _ in range(10 * round_):
            executor.client.ask("ping", "pong")  # time goes by
        replace(executor)
        ends = {end["run"]: end for end in executor.client.ask("hello", "hello")["exits"]}
        for run, code in zip(runs, (3, 4, 5), strict=True):
            end = ends.get(run) or executor.client.wait("exited", run=run)
            assert (end["kind"], end["code"]) == ("code", code), (round_, end)
    assert executor.log() == b"[redacted API_KEY]\n" * 18


def test_what_a_killed_executor_leaves_is_ended_by_the_next(executor: Executor, who: dict[str, Any]) -> None:
    _, started = spawn(executor, "sleep", "1000", **who)
    executor.kill()
    executor.start()
    assert ended(started["pid"])


def test_a_stop_at_any_moment_of_the_start_ends_it(executor: Executor, who: dict[str, Any]) -> None:
    assert executor.client is not None
    for round_ in range(40):
        run = executor.spawn("sleep", "1000", sandbox=BOX, linger=0.0, **who)
        for _ in range(round_ % 20):
            executor.client.ask("ping", "pong")  # time goes by
        executor.client.send("signal", run=run, signal=signal.SIGTERM, scope="main")
        end = executor.client.wait("exited", run=run)
        assert (end["kind"], end["signal"]) == ("signal", "SIGTERM"), (round_, end)


def test_credentials_are_there_where_run_is_hidden(idle: Executor, tmp_path: Path, who: dict[str, Any]) -> None:
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, path.stat().st_mode | 0o111)
    (tmp_path / "given").mkdir(mode=0o700)
    (tmp_path / "given" / "openai").write_text("sk-1")
    (tmp_path / "run").mkdir(mode=0o711)
    idle.environment = {"CREDENTIALS_DIRECTORY": str(tmp_path / "given"), "RUNTIME_DIRECTORY": str(tmp_path / "run")}
    box = [*BOX, "--tmpfs", str(tmp_path)]
    look = (
        "import os; p = os.environ['CREDENTIALS_DIRECTORY']; print(open(p + '/key').read(), len(os.listdir(p + '/..')))"
    )
    for number in (1, 2):
        end = idle.start().run(SYSTEM_PYTHON, "-c", look, sandbox=box, credentials={"key": "openai"}, **who)
        assert idle.log().decode().splitlines() == ["sk-1 1"] * number, end
        idle.stop()


@needs_root
def test_an_ordinary_users_executor_confines_too(unprivileged: Executor) -> None:
    assert unprivileged.client is not None
    run = unprivileged.spawn("sleep", "1000", sandbox=[*BOX, "--unshare-net"])
    unprivileged.client.wait("started", run=run)
    unprivileged.client.send("signal", run=run, signal=signal.SIGTERM, scope="main")
    assert unprivileged.client.wait("exited", run=run)["signal"] == "SIGTERM"
    assert unprivileged.run("sh", "-c", 'test -z "$(ls -A /home)"', sandbox=BOX)["code"] == 0
