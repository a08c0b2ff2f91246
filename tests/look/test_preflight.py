"""What a run would lack: all of it at once, in sentences, and never a value of a variable."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rdagentd.look.preflight import lacking, version_of
from tests.harness import free_port

NOTHING: dict[str, Any] = {
    "environment": [], "secrets": [], "keys": {}, "refuse": ["admin"], "programs": {}, "ports": [], "disk": None,
    "memory": None, "given": [], "directory": "/",
}  # fmt: skip


def found(seen: dict[str, str] | None = None, /, **wanted: Any) -> list[str]:
    return lacking({**NOTHING, **wanted}, seen or {})


def test_a_variable_that_is_missing_or_empty_is_told() -> None:
    assert found({"CHAT_MODEL": ""}, environment=["CHAT_MODEL", "HOME | PWD"]) == [
        "CHAT_MODEL is missing in its environment; set it by environment or environment_file",
        "HOME or PWD is missing in its environment; set it by environment or environment_file",
    ]
    assert found({"CHAT_MODEL": "m", "PWD": "/"}, environment=["CHAT_MODEL", "HOME | PWD"]) == []


def test_one_secret_of_several_is_enough_and_one_that_nobody_may_see_counts() -> None:
    wanted = ["OPENAI_API_KEY | DEEPSEEK_API_KEY"]
    assert found(secrets=wanted) == [
        "OPENAI_API_KEY or DEEPSEEK_API_KEY is missing; set it by secret_environment, credentials or environment_file"
    ]
    assert found({"DEEPSEEK_API_KEY": "x"}, secrets=wanted) == found(secrets=wanted, given=["OPENAI_API_KEY"]) == []


@pytest.mark.parametrize("value", [" sk-0123", "sk-0123\n", '"sk-0123"', "'sk-0123'", "sk-01\n23"])
def test_what_belongs_to_no_key_is_told_without_the_key(value: str) -> None:
    told = found({"OPENAI_API_KEY": value}, secrets=["OPENAI_API_KEY"])
    assert told == ["OPENAI_API_KEY has blanks or quotes round it, which belong to no key; take them out"]


def test_a_key_of_another_shape_is_told() -> None:
    shapes = {"ANTHROPIC_API_KEY": "sk-ant-*"}
    assert found({"ANTHROPIC_API_KEY": "sk-ant-1"}, keys=shapes) == found({}, keys=shapes) == []
    told = found({"ANTHROPIC_API_KEY": "sk-proj-secret"}, keys=shapes)
    assert told == ["ANTHROPIC_API_KEY does not look like sk-ant-*; see whether it was copied whole"]


def test_default_passwords_are_refused_where_passwords_stand() -> None:
    told = found({"MONGODB_PASSWORD": "admin", "ADMIN_NAME": "admin", "JWT_SECRET": "own"})
    assert told == ["MONGODB_PASSWORD is a default that everybody knows; choose another"]


# --- programs ---------------------------------------------------------------------------------------------------------


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_program_that_is_missing_or_too_old_is_told(tmp_path: Path) -> None:
    script(tmp_path / "old", "#!/bin/sh\necho old, version 1.9.12 of today\n")
    script(tmp_path / "mute", "#!/bin/sh\nexit 3\n")
    path = {"PATH": str(tmp_path)}
    assert found(path, programs={"old": "1.9.2", "mute": ""}) == []
    assert found(path, programs={"old": "1.10", "mute": "1", "none": "", "/no/where": ""}) == [
        "there is no program /no/where; install it",
        f"{tmp_path}/mute does not tell its version, and 1 or later is needed",
        f"there is no program none on its PATH ({tmp_path}); install it",
        f"{tmp_path}/old is version 1.9.12, and 1.10 or later is needed",
    ]


def test_the_version_of_a_python_program_is_read_and_the_program_not_started(tmp_path: Path) -> None:
    """RD-Agent takes 14 s to say anything, and leaves a directory behind."""
    program = script(tmp_path / "bin" / "agent", f"#!{tmp_path}/bin/python\nraise SystemExit('was started')\n")
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, entry in (("other-9.9", "agent2 = a:b"), ("the_agent-1.2.3", "agent = a:b")):
        (packages / f"{name}.dist-info").mkdir(parents=True)
        entries = f"[gui_scripts]\nagent = no:no\n\n[console_scripts]\n{entry}\n"
        (packages / f"{name}.dist-info" / "entry_points.txt").write_text(entries)
    assert version_of(str(program)) == "1.2.3"
    assert found({"PATH": str(tmp_path / "bin")}, programs={"agent": "1.2"}) == []


def test_the_same_version_written_longer_is_no_older(tmp_path: Path) -> None:
    program = script(tmp_path / "p", "#!/bin/sh\necho 1.0\n")
    assert found({"PATH": ""}, programs={str(program): "1.0.0"}) == []


# --- the host ---------------------------------------------------------------------------------------------------------


def test_a_port_on_which_somebody_listens_is_told() -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert found(ports=[port]) == [f"port {port} is taken; free it, or choose another"]
    assert found(ports=[port]) == []


def test_a_disk_and_a_memory_that_are_too_small_are_told(tmp_path: Path) -> None:
    told = found(disk=1 << 60, memory=1 << 60, directory=str(tmp_path / "not" / "yet"))
    assert told[0].startswith(f"{tmp_path} has ") and told[0].endswith(" free, and 1048576 TiB are needed")
    assert told[1].startswith("the host has ") and "of memory available" in told[1]
    assert found(disk=1, memory=1, directory=str(tmp_path)) == []


# --- the program ------------------------------------------------------------------------------------------------------


def test_it_reads_environment_files_as_a_run_does_and_tells_all_at_once(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b", tmp_path / "not-there"]
    files[0].write_text("API_KEY='admin'\nFIXED=other\n")
    files[1].write_text("no line of a file\n")
    wanted = {
        **NOTHING,
        "environment": ["API_KEY", "FIXED", "GONE"],
        "files": list(map(str, files)),
        "fixed": ["FIXED"],
    }
    command = [sys.executable, "-I", "-m", "rdagentd.look", "preflight", json.dumps(wanted)]
    told = subprocess.run(command, capture_output=True, check=True, env={"FIXED": "1", "PATH": os.environ["PATH"]})
    assert json.loads(told.stdout) == [
        f"cannot read {files[1]}: line 1 is not KEY=value",
        f"cannot read {files[2]}: No such file or directory",
        "GONE is missing in its environment; set it by environment or environment_file",
        "API_KEY is a default that everybody knows; choose another",
    ]
