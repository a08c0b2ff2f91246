"""The client's diet: what `status` must not import, each with its reason. Times: where bare Python takes 9 ms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rdagentctl.conftest import ROOT, environment
from tests.rdagentctl.fake import FakeDaemon, row

FORBIDDEN = {
    "aiohttp": "more than 100 ms, and the client speaks no HTTP",
    "argparse": "6.5 ms; parse.py reads the command line",
    "asyncio": "36 ms; the client blocks",
    "attr": "the client has no classes that need it",
    "cattrs": "the daemon judges specs, not the client",
    "dataclasses": "13 ms, because it imports inspect",
    "docker": "91 ms, and only the daemon talks to it",
    "enum": "2.5 ms; words are words here",
    "importlib": "__import__ does",
    "inspect": "10 ms",
    "json": "6.6 ms; only with --json",
    "logging": "11 ms; the client prints",
    "pathlib": "4 ms; os.path does",
    "rdagentctl.link": "only for top, and for who waits at a terminal",
    "rdagentctl.progress": "only for who waits at a terminal",
    "rdagentctl.top": "only for top",
    "re": "5 ms; only for --grep and durations",
    "select": "only where something is followed",
    "selectors": "one socket needs none",
    "shutil": "5 ms; os.get_terminal_size does",
    "signal": "3 ms, because it imports enum; only for run",
    "socket": "5.6 ms; _socket does",
    "sqlite3": "the daemon's file is the daemon's",
    "subprocess": "7 ms; nothing is started",
    "termios": "only for top",
    "tomllib": "only for apply and --set",
    "traceback": "errors are sentences",
    "typing": "13 ms with what it imports; needed by mypy alone",
}

OURS = {"rdagentd", "rdagentd.protocol", "rdagentd.protocol.errors", "rdagentd.protocol.frames"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Modules that are there after `status`, in an interpreter without site."""
    path = str(tmp_path_factory.mktemp("diet") / "sock")
    places = [ROOT, *{str(Path(module).parents[1]) for module in [__import__("msgpack").__file__]}]
    code = (
        f"import sys; sys.path += {places!r}; from rdagentctl.cli import main; "
        f"code = main(['--socket', {path!r}, 'status']); print('\\n'.join(['--', *sys.modules])); sys.exit(code)"
    )
    with FakeDaemon(path, {"status": lambda args: [row("web"), row("bad", "failed")]}):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code],
            capture_output=True, text=True, timeout=50, check=True, env=environment(),
        )  # fmt: skip
    table, _, modules = done.stdout.partition("--\n")
    assert "web" in table
    return set(modules.split())


@pytest.mark.parametrize("module", sorted(FORBIDDEN))
def test_status_does_without(loaded: set[str], module: str) -> None:
    assert module not in loaded, FORBIDDEN[module]


def test_of_the_daemon_it_knows_the_protocol_alone(loaded: set[str]) -> None:
    assert {name for name in loaded if name.partition(".")[0] == "rdagentd"} == OURS


def test_one_command_does_not_import_another(loaded: set[str]) -> None:
    assert {name for name in loaded if name.startswith("rdagentctl.commands.")} == {"rdagentctl.commands.status"}


@pytest.mark.parametrize("module", ["asyncio", "curses", "inspect", "selectors", "socket", "subprocess", "threading"])
def test_top_does_without(module: str) -> None:
    code = (
        "import sys, rdagentctl.commands.top, rdagentctl.top.app, rdagentctl.top.batch, rdagentctl.top.screen, "
        f"rdagentctl.progress; sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=50, check=False, env=environment()).returncode == 0
