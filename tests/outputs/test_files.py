"""Files: rotation by us and by logrotate, under load and without a lost line; a full disk; places that cannot be."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from rdagentd.config.outputs import File, Format
from rdagentd.outputs.sinks import Appended, LogError
from tests.daemon.test_disk_full import fill, small  # noqa: F401 -- a fixture
from tests.harness import eventually
from tests.outputs.conftest import Configure, finish

_LIBC = ctypes.CDLL(None, use_errno=True)
_THREADS, _LINES = 4, 1500  # well below what may wait


def load(log: logging.Logger, each: int = _LINES, permits: threading.Semaphore | None = None) -> list[threading.Thread]:
    """Threads that log `thread number` each, as fast as they can or are permitted to."""

    def run(name: int) -> None:
        for number in range(each):
            if permits is not None:
                permits.acquire()
            log.info("line %d %d", name, number)

    threads = [threading.Thread(target=run, args=(name,)) for name in range(_THREADS)]
    for thread in threads:
        thread.start()
    return threads


def found(*texts: str) -> dict[int, list[int]]:
    """Numbers of the lines by thread, in the order of the texts; fails for a line that is torn."""
    numbers: dict[int, list[int]] = {}
    for line in "".join(texts).splitlines():
        if " rdagentd.test: " in line:
            match = re.fullmatch(r"\S+ \S+ \[INFO\] rdagentd\.test: line (\d+) (\d+)", line)
            assert match, line
            numbers.setdefault(int(match[1]), []).append(int(match[2]))
    return numbers


def everything(each: int = _LINES) -> dict[int, list[int]]:
    return {name: list(range(each)) for name in range(_THREADS)}


def rotated(path: Path) -> list[str]:
    """Contents of path.N … path.1, path."""
    old = sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: -int(file.suffix[1:]))
    return [file.read_text() for file in (*old, path) if file.exists()]


def test_rotation_under_load_loses_no_line(tmp_path: Path, configure: Configure, log: logging.Logger) -> None:
    path = tmp_path / "x.log"
    outputs = configure(file=File(str(path), size=10_000, files=1000))
    for thread in load(log):
        thread.join()
    finish(outputs)
    texts = rotated(path)
    assert len(texts) > 30 and max(map(len, texts)) <= 10_000
    assert found(*texts) == everything()


def test_only_so_many_old_files_are_kept(tmp_path: Path, configure: Configure, log: logging.Logger) -> None:
    outputs = configure(file=File(str(tmp_path / "x.log"), size=4096, files=2))
    for thread in load(log, 100):
        thread.join()
    finish(outputs)
    assert sorted(os.listdir(tmp_path)) == ["x.log", "x.log.1", "x.log.2"]


def test_logrotate_under_load_loses_no_line(tmp_path: Path, configure: Configure, log: logging.Logger) -> None:
    """The package's own file, for a directory of the test."""
    logrotate = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")
    if logrotate is None:
        pytest.skip("needs logrotate")
    place = tmp_path / "rdagentd-daemon"
    place.mkdir(mode=0o755)
    path = place / "rdagentd.log"
    packaged = Path(__file__).parents[2] / "packaging/deb/debian/rdagentd.logrotate"
    text = packaged.read_text().replace("/var/log/rdagentd-daemon", str(place))
    rules = tmp_path / "rules"
    rules.write_text(re.sub(r" +su .*\n", "", text))
    rules.chmod(0o644)
    outputs = configure(file=File(str(path), size=None))
    rounds = 20  # of 30 that are kept
    threads = load(log)
    for number in range(rounds):
        log.info("line %d %d", _THREADS, number)
        eventually(lambda: path.exists() and path.stat().st_size, "something to rotate")
        subprocess.run([logrotate, "--force", "--state", tmp_path / "state", rules], check=True, timeout=60)
    for thread in threads:
        thread.join()
    finish(outputs)
    packed = sorted(place.glob("*.gz"), key=lambda file: -int(file.name.split(".")[2]))
    unpacked = [
        subprocess.run(["gzip", "-dc", file], check=True, capture_output=True, text=True).stdout for file in packed
    ]
    texts = [*unpacked, *(file.read_text() for file in (place / "rdagentd.log.1", path) if file.exists())]
    assert found(*texts) == everything() | {_THREADS: list(range(rounds))}
    assert len(packed) == rounds - 1


def test_a_full_disk_holds_nobody_up_and_loses_no_line(
    small: Path,  # noqa: F811
    configure: Configure,
    log: logging.Logger,
) -> None:
    path = small / "x.log"
    outputs = configure(file=File(str(path), size=None))
    ballast = fill(small)
    for thread in load(log, 500):
        thread.join()
    eventually(lambda: outputs._outputs[0]._failing, "the disk to be full for the log, too")
    ballast.unlink()
    eventually(lambda: "goes on" in path.read_text(), "the log to go on")
    finish(outputs)
    text = path.read_text()
    assert found(text) == everything(500)
    assert f"cannot log to {path}: no space left on device; it is tried again" in text
    assert f"logging to {path} goes on; 0 messages are missing there" in text


def test_rotation_on_a_full_disk_loses_no_line(
    small: Path,  # noqa: F811
    configure: Configure,
    log: logging.Logger,
) -> None:
    path = small / "x.log"
    outputs = configure(file=File(str(path), size=20_000, files=100))
    for thread in load(log, 500):
        thread.join()
    eventually(lambda: path.with_name("x.log.3").exists(), "some files")
    ballast = fill(small)
    for thread in load(log, 500):
        thread.join()
    eventually(lambda: outputs._outputs[0]._failing, "the disk to be full for the log, too")
    ballast.unlink()
    finish(outputs)
    assert any("goes on" in text for text in rotated(path))
    assert found(*rotated(path)) == {name: [*range(500), *range(500)] for name in range(_THREADS)}


def test_what_a_full_disk_has_no_room_for_leaves_nothing_behind(small: Path) -> None:  # noqa: F811
    file = Appended(str(small / "x"))
    file.write("whole\n")
    fill(small)
    with pytest.raises(OSError, match="No space"):
        file.write("y" * 100_000)
    file.close()
    file.close()
    assert (small / "x").read_text() == "whole\n"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file or directory"),
        (lambda path: path.mkdir(parents=True), "is a directory"),
        (lambda path: (path.parent.mkdir(), os.mkfifo(path)), "no such device or address"),
        (lambda path: (path.parent.mkdir(), path.symlink_to("/dev/null")), "not a regular file"),
        (lambda path: path.parent.write_text(""), "not a directory"),
    ],
)
def test_a_place_that_cannot_be_is_refused_and_all_stays(
    tmp_path: Path, configure: Configure, log: logging.Logger, make, reason: str
) -> None:
    outputs = configure(file=File(str(tmp_path / "good.log")))
    path = tmp_path / "place" / "x.log"
    make(path)
    with pytest.raises(LogError) as caught:
        configure(file=File(str(path)))
    assert str(caught.value).startswith(f"cannot log to {path}: {reason}")
    log.info("still")
    finish(outputs)
    assert "still" in (tmp_path / "good.log").read_text()


def test_a_unit_that_may_not_write_there_is_told_where_to_read_on(
    small: Path,  # noqa: F811
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ProtectSystem=strict is a file system that is mounted read-only."""
    assert _LIBC.mount(b"none", os.fsencode(small), None, 32 | 1, b"") == 0  # MS_REMOUNT, MS_RDONLY
    with pytest.raises(LogError, match=r"read-only file system$"):
        configure(file=File(str(small / "x.log")))
    monkeypatch.setenv("INVOCATION_ID", "1")
    with pytest.raises(LogError, match=r'read-only file system; .*"The daemon\'s own log" in docs/operations.md'):
        configure(file=File(str(small / "x.log")))


def test_another_format_begins_where_the_one_before_ends(
    tmp_path: Path, configure: Configure, log: logging.Logger
) -> None:
    path = tmp_path / "x.log"
    configure(file=File(str(path)))
    threads = load(log, 500)
    outputs = configure(file=File(str(path), format=Format.JSON))
    for thread in threads:
        thread.join()
    finish(outputs)
    lines = path.read_text().splitlines()
    first = next((index for index, line in enumerate(lines) if line.startswith("{")), len(lines))
    assert all(line.startswith("{") for line in lines[first:])
    assert sum("rdagentd.test" in line for line in lines) == 4 * 500
