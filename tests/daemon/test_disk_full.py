"""A full disk: what is promised is kept, what runs goes on, and nobody has to restart anything afterwards."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import CallError, Client, LiveDaemon, alive, eventually

_LIBC = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
_MS_REMOUNT = 32


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if _LIBC.mount(b"rdagentd-test", os.fsencode(place), b"tmpfs", 0, b"size=4m") != 0:
        pytest.skip(f"needs to mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    try:
        yield place
    finally:
        _LIBC.umount2(os.fsencode(place), _MNT_DETACH)


@pytest.fixture
def on_small(small: Path, tmp_path: Path) -> Iterator[LiveDaemon]:
    """A daemon whose state is on the small disk; not started."""
    live = LiveDaemon(small)
    live.errors = tmp_path / "daemon.log"
    try:
        yield live
    finally:
        (small / "ballast").unlink(missing_ok=True)
        live.close()


def fill(disk: Path) -> Path:
    """Takes all the space that is left."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return ballast


def enlarge(disk: Path) -> None:
    """Makes the disk larger."""
    assert _LIBC.mount(b"none", os.fsencode(disk), None, _MS_REMOUNT, b"size=8m") == 0


def unavailable(client: Client, name: str) -> str:
    """Submits until it is refused: what was free in the database's own files is used up first."""
    for number in range(500):
        try:
            client.submit(f"{name}-{number}", "/bin/true", "x" * 3000)
        except CallError as error:
            assert error.code == "unavailable", error
            return error.message
    raise AssertionError("the disk is not full")


def test_a_full_state_directory_stops_nothing_that_runs_and_loses_nothing(
    on_small: LiveDaemon, small: Path, tmp_path: Path
) -> None:
    client = on_small.start()
    assert client is not None
    go = tmp_path / "go"
    os.mkfifo(go)
    client.submit("runs", "/bin/sleep", "1000")
    client.submit("ends", "/bin/sh", "-c", f"read x < {go}; exit 5")
    pids = {row["name"]: row["run"]["pid"] for row in client.wait("runs", "ends", until="running")}
    ballast = fill(small)

    message = unavailable(client, "new")
    assert "cannot write to the state database" in message and "make room on its disk" in message
    kept = {row["name"] for row in client.status()}
    assert client.call("ping")["problem"] == message
    (told,) = client.verb("start", "ends")
    assert told["changed"] is False
    go.write_text("\n")
    eventually(lambda: not alive(pids["ends"]), "the worker to end")
    assert alive(pids["runs"])

    ballast.unlink()
    eventually(lambda: client.call("ping")["problem"] is None, "the daemon to go on")
    (row,) = client.wait("ends")
    assert (row["exit"]["code"], row["run"]["pid"]) == (5, pids["ends"])
    assert client.submit("after", "/bin/true")["name"] == "after"
    assert client.wait("after")[0]["state"] == "completed"
    now = {row["name"] for row in client.status()}
    assert kept <= now
    assert on_small.process is not None and on_small.process.poll() is None
    eventually(lambda: "the state database can be written again" in on_small.said(), "its log")
    assert on_small.said().count("nothing is started or stopped until it can be kept") >= 1
    assert "Traceback" not in on_small.said()


def test_what_was_promised_before_the_disk_filled_is_there_after_a_crash(on_small: LiveDaemon, small: Path) -> None:
    client = on_small.start()
    assert client is not None
    fill(small)
    unavailable(client, "w")
    before = [(row["name"], row["revision"]) for row in client.status()]
    on_small.kill()
    (small / "ballast").unlink()
    again = on_small.start()
    assert again is not None
    assert [(row["name"], row["revision"]) for row in again.status()] == before


def test_a_full_log_directory_does_not_hold_up_the_worker(daemon: LiveDaemon, small: Path, tmp_path: Path) -> None:
    daemon.state.mkdir(mode=0o750)
    (daemon.state / "logs").symlink_to(small)
    client = daemon.start()
    assert client is not None
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f"head -c 8000000 /dev/zero | tr '\\0' x; echo full > {tmp_path}/done; read x < {go}; echo; echo the end"
    client.submit("w", "/bin/sh", "-c", script, log={"cap": 16 << 20})
    client.wait("w", until="running")
    eventually((tmp_path / "done").exists, "the worker to have written it all")
    assert client.worker("w")["state"] == "running"
    enlarge(small)
    go.write_text("\n")
    assert client.wait("w")[0]["exit"]["code"] == 0
    log = client.log("w", tail=3)
    assert (
        log.endswith(b"\nthe end\n")
        and b"[rdagentd: " in log
        and b"bytes dropped: no space left on device]" in log.lower()
    )
    assert client.call("ping")["problem"] is None
