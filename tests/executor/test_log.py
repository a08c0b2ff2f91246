"""What runs print is on disk: in order, to the byte, within the cap; and what is not there is told."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentd.executor.log import MIN_SEGMENT, Home, Log
from rdagentd.protocol.segments import INDEX_INTERVAL, INDEX_RECORD, base_of, index_name
from tests.executor.conftest import TIMEOUT, Executor, lines_of, needs_root


def segments(directory: Path) -> list[tuple[int, bytes]]:
    return sorted((base, path.read_bytes()) for path in directory.iterdir() if (base := base_of(path.name)) is not None)


def records(directory: Path, base: int) -> list[tuple[int, int]]:
    return list(INDEX_RECORD.iter_unpack((directory / index_name(base)).read_bytes()))


def test_order_of_out_and_err(executor: Executor) -> None:
    end = executor.run("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done")
    assert executor.log().decode() == "".join(f"o{i}\ne{i}\n" for i in range(1, 10))
    assert end["log"] == {"out": 54}


def test_apart(executor: Executor) -> None:
    end = executor.run(
        "sh", "-c", "echo o; echo e >&2; echo ee >&2", log={"cap": 1 << 20, "segment": 1 << 20, "separate": True}
    )
    assert (executor.log(), executor.log(stream="err")) == (b"o\n", b"e\nee\n")
    assert end["log"] == {"out": 2, "err": 5}


def test_last_words_of_short_runs(executor: Executor) -> None:
    for number in range(30):
        executor.run("sh", "-c", "echo begin; printf %s end", worker=f"w{number}")
        assert executor.log(f"w{number}") == b"begin\nend"


def test_every_byte_is_kept(executor: Executor) -> None:
    executor.python(
        "import os; os.write(1, bytes(range(256)) * 4096)", log={"cap": 4 << 20, "segment": 100000, "separate": False}
    )
    assert executor.log() == bytes(range(256)) * 4096


def test_it_is_known_when_a_run_last_wrote(executor: Executor) -> None:
    """Also to an executor that takes the place of another."""
    assert executor.client is not None

    def active(run: str) -> float:
        executor.client.send("usage", runs=[run])
        return executor.client.wait("usage")["runs"][run]["active"]

    silent = executor.spawn("sleep", "1000", worker="silent")
    executor.client.wait("started", run=silent)
    assert active(silent) == 0
    before = time.time()
    run = executor.spawn("sh", "-c", "echo one; sleep 1000")
    lines_of(executor, 1)
    wrote = active(run)
    assert before - 0.001 <= wrote <= time.time()
    executor.client.send("reexec")
    assert executor.client.closed()
    executor.connect()
    assert before - 0.1 < active(run) < wrote + 0.1, "as the file system has it, at the write itself"
    for one in (run, silent):
        executor.client.send("kill", run=one)
        executor.client.wait("exited", run=one)


def test_silence_leaves_nothing(executor: Executor) -> None:
    executor.run("true")
    assert list(executor.logs.iterdir()) == []


def test_modes(executor: Executor) -> None:
    executor.run("echo", "x")
    directory = executor.logs / "w" / "out"
    assert {path.stat().st_mode & 0o7777 for path in (directory, directory.parent)} == {0o750}
    assert {path.stat().st_mode & 0o7777 for path in directory.iterdir()} == {0o640}


@needs_root
def test_group_that_may_read(idle: Executor) -> None:
    idle.arguments = ["--log-gid", "54321"]
    idle.start().run("echo", "x")
    directory = idle.logs / "w" / "out"
    assert {path.stat().st_gid for path in (directory, directory.parent, *directory.iterdir())} == {54321}


def test_offsets_go_on_over_runs_and_executors(executor: Executor) -> None:
    assert executor.run("echo", "one")["log"] == {"out": 4}
    run = executor.spawn("echo", "two")
    assert executor.client is not None
    assert executor.client.wait("started", run=run)["log"] == {"out": 4}
    assert executor.client.wait("exited", run=run)["log"] == {"out": 8}
    executor.stop()
    executor.start()
    assert executor.run("echo", "three", run="other")["log"] == {"out": 14}
    assert executor.log() == b"one\ntwo\nthree\n"


def test_cap_under_a_flood(executor: Executor) -> None:
    cap, total = 300_000, 20_000_000
    code = f"import os\nfor i in range({total} // 100): os.write(1, b'%099d\\n' % i)"
    end = executor.python(code, log={"cap": cap, "segment": 50_000, "separate": False})
    directory = executor.logs / "w" / "out"
    assert sum(path.stat().st_size for path in directory.iterdir()) <= cap
    kept = segments(directory)
    assert end["log"] == {"out": total} and end["dropped"] == 0
    assert kept[-1][0] + len(kept[-1][1]) == total
    text = b"".join(data for _, data in kept)
    assert kept[0][0] + len(text) == total, "no hole"
    assert text == b"".join(b"%099d\n" % i for i in range(total // 100))[-len(text) :]
    assert len(text) > cap // 3


def test_a_flood_does_not_stop_the_others(executor: Executor) -> None:
    assert executor.client is not None
    flood = executor.spawn("sh", "-c", "exec yes", worker="flood")
    lines_of_first = executor.client.wait("started", run=flood)
    assert lines_of_first["worker"] == "flood"
    for number in range(10):
        executor.run("echo", "x", worker=f"w{number}")
        assert executor.log(f"w{number}") == b"x\n"
    executor.client.ask("ping", "pong")
    executor.client.send("kill", run=flood)
    executor.client.wait("exited", run=flood)


def test_index_tells_when(executor: Executor, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    before = time.time_ns() // 1000
    run = executor.spawn("sh", "-c", f"echo a; read x < {go}; echo b; echo c")
    lines_of(executor, 1)
    assert executor.client is not None
    executor.client.ask("ping", "pong")  # what is in the log is in the index then
    time.sleep(0.15)  # a pause that is in the log
    go.write_text("\n")
    executor.client.wait("exited", run=run)
    executor.run("echo", "d")
    after = time.time_ns() // 1000
    found = records(executor.logs / "w" / "out", 0)
    offsets, times = [offset for offset, _ in found], [at for _, at in found]
    assert offsets[0] == 0 and 2 in offsets and 6 in offsets, (
        "first byte, after a pause, and first byte of the second run"
    )
    assert offsets == sorted(offsets) and times == sorted(times)
    assert before <= times[0] and times[-1] <= after
    assert times[offsets.index(2)] - times[0] >= INDEX_INTERVAL


def test_watch_tells_once(executor: Executor, tmp_path: Path) -> None:
    assert executor.client is not None
    os.mkfifo(tmp_path / "go")
    executor.client.send("watch", worker="w", stream="out", offset=0)
    run = executor.spawn("sh", "-c", f"echo one; read x < {tmp_path}/go; echo two; echo three")
    assert executor.client.wait("grew")["end"] == 4
    (tmp_path / "go").write_text("\n")
    executor.client.wait("exited", run=run)
    assert not [notice for notice in executor.client.seen if notice["notice"] == "grew"]
    executor.client.send("watch", worker="w", stream="out", offset=4)
    assert executor.client.wait("grew") == {"notice": "grew", "worker": "w", "stream": "out", "end": 14}


def test_forget(executor: Executor) -> None:
    assert executor.client is not None
    run = executor.spawn("sh", "-c", "echo x; sleep 1000")
    lines_of(executor, 1)
    assert "alive" in executor.client.ask("forget", "refused", worker="w")["reason"]
    executor.client.send("kill", run=run)
    executor.client.wait("exited", run=run)
    (executor.logs / "w" / "foreign").mkdir()
    (executor.logs / "w" / "link").symlink_to("/etc")
    executor.client.ask("forget", "forgotten", worker="w")
    assert not (executor.logs / "w").exists()
    assert Path("/etc/passwd").exists()
    executor.client.ask("forget", "forgotten", worker="w")


@pytest.mark.parametrize("level", ["worker", "stream", "file"])
def test_a_link_is_not_followed(executor: Executor, tmp_path: Path, level: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").write_text("")
    where = {
        "worker": executor.logs / "w",
        "stream": executor.logs / "w/out",
        "file": executor.logs / f"w/out/{0:020d}.log",
    }
    where[level].parent.mkdir(parents=True, exist_ok=True)
    where[level].symlink_to(target / "file" if level == "file" else target)
    end = executor.run("echo", "secret")
    assert end["dropped"] == 7 and end["log"] == {"out": 0}
    assert [path.name for path in target.iterdir()] == ["file"] and (target / "file").read_text() == ""


def test_foreign_things_are_passed_over(executor: Executor) -> None:
    directory = executor.logs / "w" / "out"
    directory.mkdir(parents=True)
    (directory / "notes.txt").write_text("mine")
    (directory / f"{10**19:020d}.log").write_text("far too high")
    (directory / f"{500:020d}.log").mkdir()
    (directory / f"{7:020d}.idx").write_text("odd")
    (directory / f"{3:020d}.log").write_text("abcd")
    assert executor.run("echo", "x")["log"] == {"out": 9}
    assert (directory / f"{3:020d}.log").read_text() == "abcdx\n"
    assert (directory / "notes.txt").read_text() == "mine"


def test_a_truncated_segment_is_not_written_over(executor: Executor) -> None:
    assert executor.client is not None
    run = executor.spawn(
        "sh", "-c", "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two", cwd=str(executor.directory)
    )
    lines_of(executor, 1)
    (executor.logs / "w" / "out" / f"{0:020d}.log").unlink()
    (executor.directory / "go").touch()
    assert executor.client.wait("exited", run=run)["log"] == {"out": 8}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 256 KiB, where the logs are."""
    place = tmp_path / "logs"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@needs_root
def test_full_disk(small_disk: Path, executor: Executor) -> None:
    assert executor.client is not None
    code = """
import array, fcntl, os, termios, time
for i in range(500): os.write(1, b"%01023d\\n" % i)
unread = array.array("i", [1])
while unread[0]:
    time.sleep(0.01)
    fcntl.ioctl(1, termios.FIONREAD, unread)
open("full", "w").close()
while not os.path.exists("room"): time.sleep(0.01)
os.write(1, b"and on\\n")
"""
    (small_disk / "ballast").write_bytes(bytes(100_000))
    cwd = str(executor.directory)
    run = executor.spawn("python3", "-c", code, cwd=cwd, log={"cap": 10 << 20, "segment": 10 << 20, "separate": False})
    deadline = time.monotonic() + TIMEOUT
    while not (executor.directory / "full").exists():
        assert time.monotonic() < deadline, "the writer is blocked"
        time.sleep(0.01)
    executor.client.ask("ping", "pong")
    (small_disk / "ballast").unlink()
    (executor.directory / "room").touch()
    end = executor.client.wait("exited", run=run)
    log = executor.log()
    whole = b"".join(b"%01023d\n" % i for i in range(500))
    kept = log.index(b"[rdagentd: ")
    mark, rest = log[kept:].split(b"\n", 1)
    assert end["dropped"] > 0 and end["log"] == {"out": len(log)}
    assert mark == b"[rdagentd: %d bytes dropped: no space left on device]" % end["dropped"]
    assert whole.startswith(log[:kept].rstrip(b"\n")) and rest.endswith(b"and on\n")
    assert len(log[:kept].rstrip(b"\n")) + end["dropped"] + len(rest) >= len(whole)


@settings(max_examples=60, deadline=None)
@given(
    writes=st.lists(st.binary(min_size=1, max_size=9000), max_size=25),
    cap=st.integers(0, 40_000),
    segment=st.integers(0, 30_000),
    breaks=st.sets(st.integers(0, 25)),
)
def test_segments(
    tmp_path_factory: pytest.TempPathFactory, writes: list[bytes], cap: int, segment: int, breaks: set[int]
) -> None:
    """Whatever is written in whatever portions: what is kept is the tail, without a hole, within the cap, and indexed."""
    place = tmp_path_factory.mktemp("logs")
    home = Home(str(place), None)
    try:
        log = Log(home, "w", "out")
        log.begin(cap, segment)
        for number, data in enumerate(writes):
            if number in breaks:  # another executor goes on
                log.close()
                log = Log(home, "w", "out")
                log.begin(cap, segment)
            log.write(memoryview(data))
        log.close()
        whole = b"".join(writes)
        assert log.end == len(whole) and log.lost == 0
        if not writes:
            assert list(place.iterdir()) == []
            return
        directory = place / "w" / "out"
        kept = segments(directory)
        text = b"".join(data for _, data in kept)
        assert kept[0][0] + len(text) == len(whole) and whole.endswith(text)
        assert sum(path.stat().st_size for path in directory.iterdir()) <= max(cap, 2 * MIN_SEGMENT)
        assert len(text) >= min(len(whole), max(cap, 2 * MIN_SEGMENT) // 2 - 16 * 30 - MIN_SEGMENT)
        for base, data in kept:
            offsets = [offset for offset, _ in records(directory, base)]
            assert offsets == sorted(offsets) and offsets[0] == base and offsets[-1] <= base + len(data)
    finally:
        os.close(home.fd)
