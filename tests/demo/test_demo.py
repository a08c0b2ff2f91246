"""The demo's parts, and the demo itself where Ralph is installed already."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.gateway.client import ask
from tests.harness import eventually

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"


def load(name: str) -> ModuleType:
    path = str(DEMO / name)
    loader = importlib.machinery.SourceFileLoader(f"demo_{Path(name).stem}", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


ralph = load("ralph.py")


def calls(witness: Path, directory: Path, count: int) -> list[str]:
    environment = {"PATH": os.environ["PATH"], "DEMO_WITNESS": str(witness), "DEMO_PAUSE": "0"}
    command = [DEMO / "agent", "chat", "--no-interactive", "a prompt"]
    return [
        subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(count)
    ]


def test_agent_notes_what_it_prints_and_ends_its_task(tmp_path: Path) -> None:
    outputs = calls(tmp_path / "witness", tmp_path, 5)
    assert "".join(outputs) == (tmp_path / "witness").read_text() + "LOOP_COMPLETE\n"
    assert "15 primes" in outputs[3]
    assert "the largest is 47" in outputs[3]
    assert len(set(outputs)) == 5


def test_workspace_is_a_repository_in_which_no_other_agent_is_enabled(tmp_path: Path) -> None:
    work = ralph.make_workspace(tmp_path)
    log = subprocess.check_output(["git", "log", "--format=%s"], cwd=work.directory, text=True)
    assert log == "Begin\n"
    assert (
        "{claude: false, kiro: false, gemini: false, acp: false, qchat: true}"
        in (work.directory / "ralph.yml").read_text()
    )
    assert work.environment["HOME"] == str(tmp_path)


def test_a_venv_without_ralph_is_not_taken_for_one_with_it(tmp_path: Path) -> None:
    assert not ralph.installed(tmp_path / "nowhere")
    assert not ralph.installed(Path(sys.prefix))


def test_a_lost_or_doubled_line_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DEMO))
    demo = load("run")
    written = ["agent 1: a", "agent 1: b", "agent 2: c"]
    demo.compare(written, ["=== RALPH ITERATION 1 ===", *written, "agent 2: c"])
    with pytest.raises(demo.BrokenError, match="agent 1: b"):
        demo.compare(written, ["agent 1: a", "agent 2: c", "agent 2: c"])
    with pytest.raises(demo.BrokenError, match="once each"):
        demo.compare(written, ["agent 1: a", *written, "agent 2: c"])


def test_the_page_that_is_printed_lets_a_browser_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(DEMO))
    demo = load("run")
    host = demo.Host(tmp_path, Path(sys.executable).parent)
    try:
        host.up()
        base, _, query = host.page().partition("?")
        assert ask(base, f"/?{query}").status == 303
        assert host.end() == 0
        eventually(lambda: host.leftovers() == [], "the executor, which has hung up, to be gone")
    finally:
        host.clean()


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a fresh machine Ralph is installed first: half a gigabyte
@pytest.mark.skipif(
    "CI" not in os.environ and not ralph.installed(ROOT / ".venv-ralph"),
    reason="Ralph is not installed yet: run `make demo` once",
)
def test_the_demo_keeps_its_promises() -> None:
    done = subprocess.run([DEMO / "run"], capture_output=True, text=True, timeout=590, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none is lost or doubled" in done.stdout
