"""Secrets as files for one run alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.executor.conftest import SYSTEM_PYTHON, Executor, lines_of, needs_root
from tests.executor.test_handover import replace

LOOK = """
import os, stat
place = os.environ["CREDENTIALS_DIRECTORY"]
for name in sorted(os.listdir(place)):
    file = open(os.path.join(place, name))
    found = os.fstat(file.fileno())
    print(name, oct(stat.S_IMODE(found.st_mode)), found.st_uid == os.getuid(), file.read(), flush=True)
"""


@pytest.fixture
def vault(idle: Executor, tmp_path: Path) -> Iterator[Executor]:
    """An executor that systemd has given two secrets."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, path.stat().st_mode | 0o111)
    (tmp_path / "given").mkdir(mode=0o700)
    (tmp_path / "given" / "openai").write_text("sk-1")
    (tmp_path / "given" / "bytes").write_bytes(b"\0\xff")
    (tmp_path / "run").mkdir(mode=0o711)
    idle.environment = {"CREDENTIALS_DIRECTORY": str(tmp_path / "given"), "RUNTIME_DIRECTORY": str(tmp_path / "run")}
    yield idle.start()


def left(executor: Executor) -> list[str]:
    home = executor.directory / "run" / "credentials"
    return sorted(path.name for path in home.iterdir()) if home.exists() else []


def test_a_run_has_its_files_until_it_ends(vault: Executor) -> None:
    ended = vault.run(SYSTEM_PYTHON, "-c", LOOK, credentials={"key": "openai", "again": "openai"})
    assert ended["code"] == 0, vault.log()
    assert vault.log() == b"again 0o400 True sk-1\nkey 0o400 True sk-1\n"
    assert left(vault) == []


@needs_root
def test_nobody_else_can_read_them(vault: Executor) -> None:
    who = {"uid": 65534, "gid": 65534, "groups": [65534]}
    run = vault.spawn(SYSTEM_PYTHON, "-c", LOOK + "import time; time.sleep(1000)", credentials={"key": "openai"}, **who)
    assert lines_of(vault, 1) == ["key 0o400 True sk-1"]
    place = vault.directory / "run" / "credentials" / run
    assert (stat.S_IMODE(place.stat().st_mode), place.stat().st_uid, place.stat().st_gid) == (0o750, 0, 65534)
    read = f"open({str(place / 'key')!r})"
    assert vault.run(SYSTEM_PYTHON, "-c", read, worker="b", uid=54321, gid=54321, groups=[])["code"] == 1
    assert b"PermissionError" in vault.log("b")
    write = f"open({str(place / 'more')!r}, 'w')"
    ended = vault.run(SYSTEM_PYTHON, "-c", write, worker="c", **who)
    assert ended["code"] == 1 and b"PermissionError" in vault.log("c")
    assert vault.client is not None
    vault.client.send("kill", run=run)
    vault.client.wait("exited", run=run)
    assert left(vault) == []


def test_one_that_is_missing(vault: Executor) -> None:
    ended = vault.run("true", credentials={"key": "openai", "token": "github"})
    assert (ended["kind"], ended["stage"]) == ("could_not_start", "credential token")
    assert ended["reason"] == "cannot start: credential token: no such file or directory"
    assert left(vault) == []


def test_as_variables_if_asked_for(vault: Executor) -> None:
    """They win over a file's variables; a newline at the end of the file is none of the secret."""
    (vault.directory / "given" / "openai").write_text("sk-1\n\n")
    (vault.directory / "env").write_text("KEY=other\n")
    ended = vault.run(
        SYSTEM_PYTHON, "-c", "import os; print([os.environ['KEY'], os.environ.get('CREDENTIALS_DIRECTORY')])",
        secret_environment={"KEY": "openai"}, env_files=[str(vault.directory / "env")],
    )  # fmt: skip
    assert ended["code"] == 0 and vault.log() == b"['sk-1\\n', None]\n"
    ended = vault.run("true", secret_environment={"KEY": "bytes"})
    assert ended["reason"] == "cannot start: secret variable KEY, for there is a NUL in it: invalid argument"
    assert vault.run("true", secret_environment={"KEY": "github"})["stage"] == "secret variable KEY"


def test_an_executor_without_credentials(executor: Executor) -> None:
    assert executor.run("true", credentials={"key": "openai"})["stage"] == "credential key"


@pytest.mark.parametrize(
    "credentials", [{"../x": "openai"}, {"x": "../../etc/shadow"}, {".": "x"}, {"x": ""}, ["x"], {"x": 1}]
)
def test_names_are_no_paths(vault: Executor, credentials: object) -> None:
    vault.spawn("true", credentials=credentials)
    assert vault.client is not None
    assert "credentials is wrong" in vault.client.wait("refused")["reason"]


def test_they_are_not_in_the_journal_and_stay_over_a_replacement(vault: Executor) -> None:
    run = vault.spawn(
        "sh", "-c", 'echo x; read y; cat "$CREDENTIALS_DIRECTORY/key"; sleep 1000', credentials={"key": "openai"}
    )
    lines_of(vault, 1)
    replace(vault)
    assert left(vault) == [run]
    for path in vault.state.rglob("*"):
        assert path.is_dir() or b"sk-1" not in path.read_bytes()
    vault.kill()
    vault.start()
    assert left(vault) == [], "nor after a crash"
