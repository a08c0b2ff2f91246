"""Nothing of a run escapes: whatever it forks, wherever that hides."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from rdagentd.executor import proc, search
from rdagentd.executor.run import Run
from rdagentd.protocol.frames import pack
from tests.cgroups import WAYS, is_frozen
from tests.executor.conftest import (
    EXITING,
    PYTHON,
    SYSTEM_PYTHON,
    TIMEOUT,
    Executor,
    ended,
    lines_of,
    needs_root,
    state_of,
)
from tests.harness import eventually

ESCAPES = {
    "child": "subprocess.Popen(SLEEP)",
    "session": "subprocess.Popen(SLEEP, start_new_session=True)",
    "group": "subprocess.Popen(SLEEP, process_group=0)",
    "double fork": "daemon(SLEEP)",
    "double fork without environment": "daemon(SLEEP, env={})",
    "double fork without a trace": "nameless()",
    "without descriptors": "daemon(SLEEP, stdin=NULL, stdout=NULL, stderr=NULL)",
    "ignores SIGTERM": "daemon([sys.executable, '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN);"
    " print(0, flush=True); time.sleep(1000)'])",
    "stopped": "os.kill(subprocess.Popen(SLEEP).pid, 19)",
}
HEAD = '''
import os, subprocess, sys, time
SLEEP, NULL = ["sleep", "1000"], subprocess.DEVNULL
def daemon(argv, **how):
    if os.fork() == 0:
        os.setsid()
        print("pid", subprocess.Popen(argv, start_new_session=True, **how).pid, flush=True)
        os._exit(0)
    os.wait()
NAMELESS = """
import resource, time
resource.setrlimit(10, (5, 5))  # the tag of the run
print(flush=True)
time.sleep(1000)
"""
def nameless():
    if os.fork() == 0:
        os.setsid()
        child = subprocess.Popen([sys.executable, "-c", NAMELESS], start_new_session=True, env={}, stdout=subprocess.PIPE)
        child.stdout.readline()
        print("pid", child.pid, flush=True)
        os._exit(0)
    os.wait()
'''


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def left_of(executor: Executor) -> list[int]:
    """Processes whose parent is the executor. The dead among them do not count in a cgroup, and are reaped a moment later."""
    eventually(lambda: "Z" not in _children(executor).values(), "the dead to be reaped")
    # Others may lose their parents only now.
    return [pid for pid, letter in _children(executor).items() if letter != "Z"]


def _children(executor: Executor) -> dict[int, str]:
    """pid → state letter, "Z" as soon as it is about to be a zombie."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == executor.pid:
            found[int(name)] = "Z" if int(fields[6]) & EXITING else fields[0]
    return found


@pytest.mark.parametrize("how", ESCAPES)
def test_what_is_left_when_the_main_process_ends(executor: Executor, how: str) -> None:
    end = executor.python(HEAD + ESCAPES[how], linger=0.3)
    assert (end["kind"], end["code"]) == ("code", 0)
    assert left_of(executor) == []


@pytest.mark.parametrize("how", ESCAPES)
def test_kill(executor: Executor, how: str) -> None:
    assert executor.client is not None
    run = executor.spawn(PYTHON, "-c", HEAD + ESCAPES[how] + "\nprint('there', flush=True)\ntime.sleep(1000)")
    lines_of(executor, 2 if "daemon" in ESCAPES[how] or "nameless" in ESCAPES[how] else 1)
    executor.client.send("kill", run=run)
    assert executor.client.wait("exited", run=run)["signal"] == "SIGKILL"
    assert left_of(executor) == []


def test_descendants_get_sigterm_first(executor: Executor, tmp_path: Path) -> None:
    trap = f"trap 'echo bye > {tmp_path}/said; exit' TERM; echo ready; while :; do sleep 0.05; done"
    main = f'sh -c "$1" & while [ ! -s {executor.logs}/w/out/* ]; do sleep 0.01; done'
    executor.run("sh", "-c", main, "sh", trap, linger=TIMEOUT)
    assert (tmp_path / "said").read_text() == "bye\n"


def test_linger_zero_kills_at_once(executor: Executor) -> None:
    begin = time.monotonic()
    executor.run("sh", "-c", "trap '' TERM; sleep 1000 & exit 3", linger=0)
    assert time.monotonic() - begin < TIMEOUT / 2, "it did not wait for the sleep"
    assert left_of(executor) == []


def test_what_runs_use_is_told_of_each_by_itself(executor: Executor) -> None:
    assert executor.client is not None
    trees = {}
    for name, children in (("a", 0), ("b", 3)):
        sleeps = 'daemon(["sleep", "1000"]);' * children
        script = f"{HEAD}{sleeps}print('there', flush=True); time.sleep(1000)"
        trees[executor.spawn(PYTHON, "-c", script, worker=name)] = 1 + children
        lines_of(executor, 1 + children, name)
    executor.client.send("usage", runs=[*trees, "unknown"])
    told = executor.client.wait("usage")["runs"]
    assert {run: used["tasks"] for run, used in told.items()} == trees


def test_for_any_number_of_runs_all_processes_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[list[int]] = []
    real = proc.pids
    monkeypatch.setattr(proc, "pids", lambda: looks.append(real()) or looks[-1])
    runs = {str(number): Run(str(number), "w", 0.0) for number in range(50)}
    used = search.Search(runs, {}, "").usage(runs.values())
    assert len(used) == 50 and all(sums["tasks"] == 0 for sums in used.values())
    assert len(looks) == 1


@pytest.mark.parametrize("way", ["search"])
def test_a_nameless_orphan_stays_until_its_last_possible_run_ends(executor: Executor) -> None:
    assert executor.client is not None
    first = executor.spawn("sleep", "1000", worker="first")
    executor.client.wait("started", run=first)
    executor.run(PYTHON, "-c", HEAD + "nameless()", worker="second")
    pid = int(executor.log("second").split()[1])
    assert state_of(pid) is not None, "it may belong to the first as well"
    executor.client.send("signal", run=first, signal=15, scope="main")
    assert executor.client.wait("exited", run=first)["signal"] == "SIGTERM"
    assert ended(pid)
    assert left_of(executor) == []


def test_an_orphan_of_one_run_is_not_another_runs(executor: Executor) -> None:
    assert executor.client is not None
    run = executor.spawn(PYTHON, "-c", HEAD + "daemon(SLEEP)\ntime.sleep(1000)", worker="a")
    pid = int(lines_of(executor, 1, "a")[0].split()[1])
    executor.run("true", worker="b")
    assert state_of(pid) is not None
    executor.client.send("kill", run=run)
    executor.client.wait("exited", run=run)
    assert state_of(pid) is None


def test_a_stranger_who_holds_the_pipe_hangs_nothing(executor: Executor) -> None:
    """The test itself opens the write end, through /proc, and keeps it."""
    assert executor.client is not None
    run = executor.spawn("sh", "-c", "echo first; read x < /dev/null; sleep 1000")
    lines_of(executor, 1)
    pid = next(pid for pid in left_of(executor))
    held = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
    try:
        executor.client.send("kill", run=run)
        assert executor.client.wait("exited", run=run)["log"] == {"out": 6}
    finally:
        os.close(held)


@needs_root
def test_fork_bomb_within_its_limit(executor: Executor) -> None:
    """A bomb of its own user, bounded by NPROC, ends with its run."""
    assert executor.client is not None
    bomb = "import os\nprint('go', flush=True)\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    run = executor.spawn(
        SYSTEM_PYTHON, "-c", bomb, uid=54329, gid=54329, groups=[], rlimits={"RLIMIT_NPROC": [60, 60]}, nice=19
    )
    lines_of(executor, 1)
    executor.client.send("kill", run=run)
    assert executor.client.wait("exited", run=run)["signal"] == "SIGKILL"
    assert left_of(executor) == []
    found = [int(pid) for pid in filter(str.isdigit, os.listdir("/proc")) if uid_of(pid) == 54329]
    assert not [pid for pid in found if state_of(pid) is not None], "the dead may not be reaped yet"


def uid_of(pid: str) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        return -1


def test_freeze_and_thaw(executor: Executor) -> None:
    assert executor.client is not None
    run = executor.spawn(PYTHON, "-c", HEAD + "daemon(SLEEP)\nprint(os.getpid(), flush=True)\ntime.sleep(1000)")
    pids = [int(line.split()[-1]) for line in lines_of(executor, 2)]
    assert executor.client.ask("freeze", "frozen", run=run)["run"] == run
    assert wait_for_frozen(pids, True)
    assert [entry["frozen"] for entry in executor.client.ask("hello", "hello")["runs"]] == [True]
    executor.client.ask("thaw", "thawed", run=run)
    assert wait_for_frozen(pids, False)
    assert [entry["frozen"] for entry in executor.client.ask("hello", "hello")["runs"]] == [False]
    executor.client.ask("freeze", "frozen", run=run)
    executor.client.send("kill", run=run)
    executor.client.wait("exited", run=run)
    assert left_of(executor) == []


def wait_for_frozen(pids: list[int], wanted: bool) -> bool:
    """A process stops when it is scheduled next; there is no event to wait for."""
    deadline = time.monotonic() + TIMEOUT
    while any(is_frozen(pid) != wanted for pid in pids):
        assert time.monotonic() < deadline, [(state_of(pid), is_frozen(pid)) for pid in pids]
        time.sleep(0.005)
    return True


@pytest.mark.parametrize(("scope", "hit"), [("main", "m"), ("group", "gm"), ("tree", "gmt")])
def test_scope_of_a_signal(executor: Executor, scope: str, hit: str) -> None:
    """m: the main process, g: another one of its group, t: one in a session of its own. Each tells when it is hit."""
    assert executor.client is not None
    part = "trap 'echo hit $0' USR1; echo ready $0; while :; do sleep 0.02; done"
    run = executor.spawn("sh", "-c", f'sh -c "$1" g & setsid sh -c "$1" t & {part}', "m", part)
    ready = lines_of(executor, 3)
    assert sorted(ready) == ["ready g", "ready m", "ready t"]
    executor.client.send("signal", run=run, signal=10, scope=scope)
    hits: list[str] = []
    for count in range(4, 20):  # shells tell of their sleeps, too, when these are hit
        hits = [line[-1] for line in lines_of(executor, count) if line.startswith("hit")]
        if len(hits) == len(hit):
            break
    assert sorted(hits) == sorted(hit)
    executor.client.send("kill", run=run)
    executor.client.wait("exited", run=run)


def test_sigterm_ends_all_and_leaves(executor: Executor) -> None:
    assert executor.client is not None and executor.process is not None
    polite, stubborn = executor.spawn("sleep", "1000"), executor.spawn(
        PYTHON, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(0, flush=True); time.sleep(1000)",
        worker="s", linger=0.2,
    )  # fmt: skip
    lines_of(executor, 1, "s")
    executor.client.wait("started", run=polite)  # before its exec it may hold the signal back until it is killed
    executor.process.terminate()
    assert executor.client.wait("exited", run=polite)["signal"] == "SIGTERM"
    assert executor.client.wait("exited", run=stubborn)["signal"] == "SIGKILL"
    assert executor.process.wait(TIMEOUT) == 0
    assert not executor.path.exists()


def test_a_stray_belongs_to_whose_mark_it_has_or_to_those_that_lived_when_it_was_born() -> None:
    runs = {name: Run(name, "w", 0.0) for name in "ab"}
    mains: dict[int, Run] = {}
    family = search.Search(runs, mains, "")
    processes = [subprocess.Popen(["sleep", "1000"], start_new_session=True) for _ in range(3)]
    try:
        main, marked, nameless = (process.pid for process in processes)
        resource.prlimit(marked, proc.TAG, (proc.tag_of("b"),) * 2)
        runs["a"].pid, runs["a"].ticks = main, proc.start_ticks(main)
        runs["b"].pid, runs["b"].ticks = 1 << 30, runs["a"].ticks + 10**9
        mains[main] = runs["a"]
        for pid in (main, marked, nameless):
            exec_done(pid)
        family.look()
        assert (family.owners[marked], family.owners[nameless]) == (
            {runs["b"]},
            {runs["a"]},
        ) and main not in family.owners
        assert family.left(runs["a"]) and family.left(runs["b"])
        assert set(family.reaped(marked)) == {runs["b"]} and not family.left(runs["b"])
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_main_process_without_a_session_of_its_own_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before setsid(2) it has the executor's: 0 where the executor was put into a pid namespace from outside."""
    run = Run("a", "w", 0.0)
    with subprocess.Popen(["sleep", "1000"]) as process:
        run.pid, run.ticks = process.pid, proc.start_ticks(process.pid)
        family = search.Search({"a": run}, {run.pid: run}, "")
        monkeypatch.setattr(proc, "session", lambda pid: 0)
        family.signal((run,), signal.SIGTERM)
        assert process.wait(TIMEOUT) == -signal.SIGTERM


def exec_done(pid: int) -> None:
    """Until the child is the program that it was to become (Popen may return earlier with vfork)."""
    deadline = time.monotonic() + TIMEOUT
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_signal_to_a_program_that_the_executor_has_not_heard_of_yet_spares_its_children(
    executor: Executor, tmp_path: Path
) -> None:
    """It comes in one batch with the start and others: the exec is long past, and nobody had the time to hear of it."""
    assert executor.client is not None
    go = tmp_path / "go"
    os.mkfifo(go)
    program = f'trap "echo main" TERM; (read x < {go}) & wait $!; wait $!; echo "child $?"'
    request = executor.request("sh", "-c", program)
    batch = [pack({"op": "spawn", **request})]
    batch += [pack({"op": "spawn", **executor.request("true", worker="other")}) for _ in range(14)]
    batch += [pack({"op": "signal", "run": request["run"], "signal": signal.SIGTERM, "scope": "main"})]
    executor.client.socket.sendall(b"".join(batch))
    executor.client.ask("ping", "pong")
    end = os.open(go, os.O_RDWR)  # fifo(7): it waits for nobody
    os.write(end, b"\n")
    ended = executor.client.wait("exited", run=request["run"])
    os.close(end)
    assert ended["signal"] == "SIGTERM" or executor.log() == b"main\nchild 0\n"
