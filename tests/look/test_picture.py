"""What a run looks like: of real processes and connections, and of stacks with a stand-in for py-spy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdagentd.look.picture import LONGEST, MOST, picture

TREE = """
import socket, subprocess, sys
six = sys.argv[1] == "6"
there = socket.create_server(("::1" if six else "127.0.0.1", 0), family=socket.AF_INET6 if six else socket.AF_INET)
mine = socket.create_connection(there.getsockname()[:2])
child = subprocess.Popen(["sleep", "1000"])
while not open(f"/proc/{child.pid}/cmdline").read().endswith("1000\\0"):
    pass
while open(f"/proc/{child.pid}/stat").read().rpartition(")")[2].split()[0] != "S":
    pass
print(there.getsockname()[1], flush=True)
mine.recv(1)
"""


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TREE, *words], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture(params=["4", "6"])
def tree(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A process with a child and a connection to itself, its address and its port."""
    if request.param == "6":
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this host has no IPv6")
    process = started(request.param)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.skip("it cannot listen")
    yield process, "127.0.0.1" if request.param == "4" else "[::1]", int(line)
    os.killpg(process.pid, 9)
    process.wait()


def test_processes_and_connections_of_a_tree_and_of_nobody_else(tree: tuple[subprocess.Popen[str], str, int]) -> None:
    process, address, port = tree
    seen = picture({"pid": process.pid})
    first, second = seen["processes"]
    assert (first["pid"], second["parent"], second["command"]) == (process.pid, process.pid, "sleep 1000")
    assert len(first["command"]) <= LONGEST
    assert second["state"] == "S"
    assert {(one["state"], one["from"]) for one in seen["connections"] if one["state"] == "listening"} == {
        ("listening", f"{address}:{port}")
    }
    assert f"{address}:{port}" in {one.get("to") for one in seen["connections"]}
    assert {one["pid"] for one in seen["connections"]} <= {first["pid"], second["pid"]}


def test_stacks_by_a_program_that_is_there(
    tree: tuple[subprocess.Popen[str], str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "py-spy"
    spy.write_text('#!/bin/sh\necho "$@"; seq 100\n')
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("rdagentd.look.picture._STACK_SECONDS", 60.0)
    process = tree[0]
    stacks = picture({"pid": process.pid})["stacks"]
    assert list(stacks) == [str(process.pid)], "of the Python process alone"
    assert stacks[str(process.pid)][0] == f"dump --pid {process.pid}"
    assert len(stacks[str(process.pid)]) == MOST


def test_of_a_process_that_is_gone_nothing_is_told() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert picture({"pid": process.pid}) == {"processes": [], "connections": []}
