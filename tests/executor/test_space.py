"""What a directory holds, what of it goes, and what is not to be reached from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rdagentd.executor.space import cutoff, measure, sweep, walk

NOW = 2_000_000_000


def file(path: Path, size: int = 4096, used: int = NOW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (used, used))
    return path


def names(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


def test_every_byte_on_disk_is_counted_once(tmp_path: Path) -> None:
    top = tmp_path / "top"
    one = file(top / "a" / "one", 1 << 20)
    file(top / "two", 5)
    os.link(one, top / "again")
    os.symlink(one, top / "link")
    with (top / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    on_disk = {path.lstat().st_ino: path.lstat().st_blocks * 512 for path in top.rglob("*")}
    assert sum(measure(str(top)).values()) == sum(on_disk.values())
    assert 1 << 20 <= sum(on_disk.values()) < 2 << 20


def test_what_is_below_is_told_before_what_holds_it_however_deep(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    deep = 1500  # more than Python may call into itself, and more than a path may be long
    for _ in range(deep):
        os.mkdir("some-directory", dir_fd=here)
        below = os.open("some-directory", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert [name for _, name, _ in walk(str(tmp_path))] == ["some-directory"] * deep
    assert sweep(str(tmp_path), 1e12)[0] == deep
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("size", "age", "before"),
    [
        (None, None, 0.0), (None, 50.0, 950.0), (None, 5.0, 995.0),
        (60, None, 0.0), (59, None, 901.0), (30, None, 951.0), (29, None, 991.0), (0, None, 991.0),
        (30, 5.0, 995.0), (30, 500.0, 951.0),
    ],
)  # fmt: skip
def test_what_goes_is_older_than_the_age_or_the_longest_unused_beyond_the_size(
    size: int | None, age: float | None, before: float
) -> None:
    assert cutoff({900: 10, 950: 20, 990: 30}, size, age, 1000.0) == before


def test_a_sweep_removes_the_unused_and_what_is_empty_then(tmp_path: Path) -> None:
    file(tmp_path / "old" / "a", used=100)
    file(tmp_path / "mixed" / "old", used=100)
    file(tmp_path / "mixed" / "new")
    os.symlink("/etc/passwd", tmp_path / "link")
    os.utime(tmp_path / "link", (100, 100), follow_symlinks=False)
    for directory in (tmp_path / "old", tmp_path / "mixed"):
        os.utime(directory, (100, 100))
    files, size = sweep(str(tmp_path), 200.0)
    assert names(tmp_path) == {"mixed", "mixed/new"}
    assert files == 4 and size >= 8192


def test_nothing_outside_is_reached_by_a_link(tmp_path: Path) -> None:
    victim = file(tmp_path / "home" / "thesis", used=100)
    (tmp_path / "cache").mkdir()
    os.symlink(tmp_path / "home", tmp_path / "cache" / "dir")
    os.symlink(victim, tmp_path / "cache" / "file")
    sweep(str(tmp_path / "cache"), 1e12)
    assert names(tmp_path / "cache") == set() and victim.exists()
    os.symlink(tmp_path / "home", tmp_path / "instead")
    with pytest.raises(OSError, match="Not a directory"):
        sweep(str(tmp_path / "instead"), 1e12)
    assert victim.exists()


def test_a_link_put_in_the_place_of_a_directory_while_we_walk_leads_nowhere(tmp_path: Path) -> None:
    victim = file(tmp_path / "home" / "thesis", used=100)
    top = tmp_path / "cache"
    for number in range(5):
        file(top / f"d{number}" / "thesis", used=100)
    seen = walk(str(top))
    next(seen)  # in one of the directories; now the others are exchanged
    for number in range(5):
        (top / f"d{number}").rename(tmp_path / f"away{number}")
        os.symlink(tmp_path / "home", top / f"d{number}")
    rest = [os.path.realpath(f"/proc/self/fd/{fd}") for fd, _, _ in seen]
    assert str(tmp_path / "home") not in rest
    assert victim.exists()


def test_another_file_system_is_not_entered() -> None:
    devices = {os.fstat(fd).st_dev for fd, _, _ in walk("/dev")}
    assert len(devices) == 1
