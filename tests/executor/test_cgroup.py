"""Runs in cgroups of their own: what they may use, how that is written, counted and ended. On the hierarchy of this host."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from rdagentd.executor import cgroup
from rdagentd.executor.run import Run
from tests.cgroups import enforced
from tests.executor.conftest import PYTHON, TIMEOUT, Executor, ended, lines_of, needs_root
from tests.executor.test_tree import HEAD
from tests.harness import eventually


@pytest.fixture
def way() -> str:
    return "cgroup"


def place_of(pid: int) -> Path:
    """The directory of a process's cgroup."""
    path = Path(f"/proc/{pid}/cgroup").read_text().partition("0::")[2].strip()
    mount = next(
        line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"
    )
    return Path(f"{mount}{path}")


def test_each_run_is_in_a_cgroup_beside_the_executors_own(executor: Executor) -> None:
    assert executor.client is not None
    runs = [executor.spawn("sleep", "1000", worker=f"w{number}") for number in range(2)]
    pids = [executor.client.wait("started", run=run)["pid"] for run in runs]
    own = place_of(executor.pid)
    assert own.name == "executor"
    assert [place_of(pid) for pid in pids] == [own.parent / f"run-{run}" for run in runs]
    for run in runs:
        executor.client.send("kill", run=run)
        executor.client.wait("exited", run=run)
    assert [path.name for path in own.parent.iterdir() if path.is_dir()] == ["executor"]


def test_an_executor_that_leaves_takes_its_cgroups_along(executor: Executor) -> None:
    home = place_of(executor.pid).parent
    executor.stop()
    assert not home.exists() or not home.name.startswith("rdagentd-")


def test_hello_tells_what_can_be_enforced(executor: Executor) -> None:
    assert executor.client is not None
    told = executor.client.ask("hello", "hello")["cgroup"]
    assert set(told["files"]) == enforced() >= {"cgroup.kill", "cgroup.freeze"}
    assert ("controller" in told["problem"]) == (not enforced() > cgroup.FILES)


def test_a_value_that_cannot_be_written_is_named(executor: Executor) -> None:
    missing = sorted(cgroup.FILES - enforced())
    file, value = (missing[0], "1") if missing else ("memory.max", "much")
    end = executor.run("true", cgroup={file: value})
    assert (end["kind"], end["stage"]) == ("could_not_start", f"cgroup {file}")
    assert end["reason"].startswith(f"cannot start: cgroup {file} {value}: ")
    assert list(place_of(executor.pid).parent.glob("run-*")) == []


def test_a_file_that_is_not_on_the_list_is_refused(executor: Executor) -> None:
    assert executor.client is not None
    executor.spawn("true", cgroup={"cgroup.procs": "1"})
    assert "cgroup is wrong" in executor.client.wait("refused")["reason"]


@needs_root
def test_a_run_of_another_user_enters_and_cannot_leave(executor: Executor) -> None:
    assert executor.client is not None
    home = place_of(executor.pid).parent
    script = f"echo $$ > {home}/executor/cgroup.procs || echo no; cat /proc/self/cgroup; head -n 1 {home}/run-r/cgroup.events"
    executor.run("sh", "-c", script, uid=54321, gid=54321, groups=[], run="r")
    said = executor.log().decode()
    assert said.splitlines()[-1] == "populated 1", "it may look"
    assert "\nno\n" in said and f"0::/{home.name}/run-" in said.replace("0::" + str(home.parent), "0::")


def test_what_is_left_at_the_end_is_noticed_without_being_our_child(executor: Executor) -> None:
    """A process that entered from elsewhere: nobody tells the executor of its end but the kernel."""
    assert executor.client is not None
    run = executor.spawn("sleep", "1000", linger=60)
    pid = executor.client.wait("started", run=run)["pid"]
    place = place_of(pid)
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    (place / "cgroup.procs").write_text(str(stranger.pid))
    executor.client.send("signal", run=run, signal=9, scope="main")
    assert stranger.wait(TIMEOUT) == -15, "it is of the run now"
    assert executor.client.wait("exited", run=run)["signal"] == "SIGKILL"


def test_a_signal_reaches_nobody_in_another_cgroup(executor: Executor) -> None:
    """A number that was read belongs to a stranger by the time of the signal."""
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        cgroup._send(stranger.pid, 9, "run-x", own=False)
        assert stranger.poll() is None
        cgroup._send(stranger.pid, 9, place_of(stranger.pid).name, own=True)
        assert stranger.wait(20) == -9
    finally:
        stranger.kill()


def test_usage_of_a_run_that_lives_and_of_one_that_is_over(executor: Executor) -> None:
    assert executor.client is not None
    burn = "x = bytearray(50 << 20)\nimport os\nwhile os.times().user < 0.6: pass\nprint('burnt', flush=True)\n"
    run = executor.spawn(PYTHON, "-c", f"{HEAD}{burn}daemon(SLEEP)\ntime.sleep(1000)")
    lines_of(executor, 2)
    executor.client.send("usage", runs=[run, "nobody"])
    used = executor.client.wait("usage")["runs"]
    assert used.keys() == {run}
    live = used[run]
    assert live["user"] >= 0.3 and live["memory"] > 50 << 20 and live["tasks"] >= 2
    assert live["log"] == {"out": len(executor.log())}
    executor.client.send("kill", run=run)
    total = executor.client.wait("exited", run=run)["usage"]
    assert total["user"] >= live["user"] and total["max_rss"] > 50 << 20


def test_children_that_nobody_waited_for_are_counted(executor: Executor) -> None:
    burn = "import os\nif os.fork() == 0:\n while os.times().user < 0.6: pass\n os._exit(0)\n"
    burn += "os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)"
    assert executor.python(burn)["usage"]["user"] >= 0.3


def test_a_child_that_has_not_entered_yet_is_killed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The main process is signalled by itself: the cgroup is still empty."""
    (tmp_path / "run-r").mkdir()
    (tmp_path / "run-r" / "cgroup.kill").write_text("")
    run = Run("r", "w", 0.0)
    child = subprocess.Popen(["sleep", "1000"])
    run.pid = child.pid
    cgroup.Cgroups(str(tmp_path), None).kill([run])  # type: ignore[arg-type]
    assert child.wait(20) == -9
    assert (tmp_path / "run-r" / "cgroup.kill").read_text() == "1"


def test_what_the_files_of_the_controllers_say(tmp_path: Path) -> None:
    place = tmp_path / "run-r"
    place.mkdir()
    said = {
        "cpu.stat": "user_usec 1500000\nsystem_usec 500000\nthrottled_usec 250000\n", "pids.events": "max 4\n",
        "memory.current": "4096\n",
        "memory.peak": "8192\n", "pids.current": "3\n", "pids.peak": "7\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 \n253:0 rbytes=1 wbytes=2\n",
        "memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\n", "memory.max": "max\n",
    }  # fmt: skip
    for name, text in said.items():
        (place / name).write_text(text)
    tree, run = cgroup.Cgroups(str(tmp_path), None), Run("r", "w", 0.0)  # type: ignore[arg-type]
    assert tree.usage((run,))[run] == {
        "user": 1.5, "system": 0.5, "memory": 4096, "memory_peak": 8192, "tasks": 3, "tasks_peak": 7, "read": 11,
        "written": 22, "throttled": 0.25, "forks_refused": 4,
    }  # fmt: skip
    assert tree.out_of_memory(run) is None
    (place / "memory.events").write_text("oom_kill 1\n")
    assert tree.out_of_memory(run) == {"limit": None}
    (place / "memory.max").write_text("65536\n")
    assert tree.out_of_memory(run) == {"limit": 65536}


def test_the_disk_of_a_path(tmp_path: Path) -> None:
    """A partition's is the whole one's, which is what io.max takes; what has no disk is refused."""
    disks = [path for path in Path("/sys/block").iterdir() if Path("/dev", path.name).exists()]
    if disks:
        number = (disks[0] / "dev").read_text().strip()
        assert cgroup._of_device(f"wbps=1 rbps=2 /dev/{disks[0].name}") == f"{number} wbps=1 rbps=2"
        for partition in disks[0].glob(f"{disks[0].name}*"):
            assert cgroup._of_device(f"wbps=1 /dev/{partition.name}") == f"{number} wbps=1"
    with pytest.raises(OSError, match="No such device"):
        cgroup._of_device("wbps=1 /proc/self")
    with pytest.raises(FileNotFoundError):
        cgroup._of_device(f"wbps=1 {tmp_path}/no such place")


def test_cgroups_of_killed_executors_are_removed(executor: Executor, tmp_path: Path) -> None:
    """By the next executor: its own runs by its journal, empty homes by the number in the name."""
    assert executor.client is not None
    run = executor.spawn("sleep", "1000")
    pid = executor.client.wait("started", run=run)["pid"]
    home = place_of(executor.pid).parent
    executor.kill()
    executor.start()
    assert ended(pid)
    assert [notice["kind"] for notice in executor.client.ask("hello", "hello")["exits"]] == ["lost"]
    assert not home.exists() or place_of(executor.pid).parent == home
    assert os.path.isdir(place_of(executor.pid))


def settles(home: Path, who: subprocess.Popen[bytes]) -> bool:
    """Whether somebody lives there now: while it is empty, an executor of a test beside this one may remove it."""
    try:
        (home / "executor").mkdir(parents=True, exist_ok=True)
        (home / "executor" / "cgroup.procs").write_text(str(who.pid))
    except OSError:
        return False
    return True


@needs_root
def test_the_home_of_an_executor_that_lives_in_another_pid_namespace_stays(executor: Executor) -> None:
    own = place_of(executor.pid).parent.parent
    homes = [own / f"rdagentd-{number}" for number in (99999998, 99999999)]
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            eventually(lambda: settles(homes[0], stranger), "it to be there")
            with suppress(FileNotFoundError):  # an executor beside this one has removed it already
                (homes[1] / "executor").mkdir(parents=True)
            executor.kill()
            executor.start()
            assert [home.exists() for home in homes] == [True, False]
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()
            for home in homes:
                for place in (home / "executor", home):
                    with suppress(FileNotFoundError):
                        place.rmdir()
