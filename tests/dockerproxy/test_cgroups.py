"""The parent of a run's containers: what is written where the engine uses cgroupfs, and said to systemd where it uses that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rdagentd.dockerproxy import cgroups
from tests.dockerproxy.fake import MIB, rules

BOUNDS: dict[str, tuple[dict[str, Any], list[str], dict[str, str]]] = {
    "all": (
        {"memory": 512 * MIB, "swap": 0, "cpus": 1_500_000_000, "pids": 100},
        ["MemoryMax=536870912", "MemorySwapMax=0", "TasksMax=100", "CPUQuota=150%"],
        {"memory.max": "536870912", "memory.swap.max": "0", "pids.max": "100", "cpu.max": "150000 100000"},
    ),
    "little": (
        {"memory": MIB, "swap": None, "cpus": 10_000_000, "pids": 1},
        ["MemoryMax=1048576", "TasksMax=1", "CPUQuota=1%"],
        {"memory.max": "1048576", "pids.max": "1", "cpu.max": "1000 100000"},
    ),
    "tasks": ({"memory": None, "swap": None, "cpus": None, "pids": 7}, ["TasksMax=7"], {"pids.max": "7"}),
}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What systemctl was called with, a line a call."""
    program, record = tmp_path / "systemctl", tmp_path / "said"
    program.write_text(f'#!/bin/sh\necho "$@" >> {record}\n')
    program.chmod(0o755)
    monkeypatch.setattr(cgroups, "SYSTEMCTL", str(program))
    return record


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hierarchy of version 2, of plain files."""
    root = tmp_path / "cgroup"
    (root / "rdagentd").mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    monkeypatch.setattr(cgroups, "ROOT", root)
    return root


@pytest.mark.parametrize(("bounds", "properties", "files"), BOUNDS.values(), ids=BOUNDS.keys())
def test_containers_together_may_use_what_each_of_them_may(
    said: Path, root: Path, bounds: dict[str, Any], properties: list[str], files: dict[str, str]
) -> None:
    for _ in range(2):
        cgroups.bound("rdagentd-r1.slice", rules(**bounds))
        cgroups.bound("/rdagentd/r1", rules(**bounds))
    assert said.read_text() == f"set-property --runtime rdagentd-r1.slice {' '.join(properties)}\n" * 2
    assert {path.name: path.read_text() for path in (root / "rdagentd/r1").iterdir()} == files
    enabled = [path.relative_to(root).parent.as_posix() for path in root.rglob("cgroup.subtree_control")]
    assert sorted(enabled) == [".", "rdagentd"], "and not the parent's own, where there are only containers below"


def test_a_slice_is_stopped_and_what_was_set_is_taken_back(said: Path) -> None:
    cgroups.remove("rdagentd-r1.slice")
    assert said.read_text() == "stop rdagentd-r1.slice\n--no-reload revert rdagentd-r1.slice\n"


@pytest.mark.parametrize("name", ["rdagentd-r1.slice", "/rdagentd/r1"])
def test_what_cannot_be_bounded_is_told_in_the_log(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cgroups, "SYSTEMCTL", "/bin/false")
    (root / "rdagentd/r1/memory.max").mkdir(parents=True)
    cgroups.bound(name, rules())
    assert f"cannot bound what the containers in {name} use together: " in caplog.text
    if name.startswith("/"):
        assert "memory.max: Is a directory" in caplog.text
        assert (root / "rdagentd/r1/pids.max").read_text() == "100", "the others are set all the same"


def test_without_version_2_nothing_is_made(tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "cgroup.controllers").unlink()
    cgroups.bound("/rdagentd/r1", rules())
    assert "there are no cgroups of version 2" in caplog.text
    assert not (root / "rdagentd/r1").exists()
