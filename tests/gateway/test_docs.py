"""The examples of docs/http.md, run as they stand there."""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rdagentd.gateway import api
from rdagentd.gateway.link import OWN
from tests.gateway.client import LiveGateway
from tests.harness import LiveDaemon, eventually

PAGE = Path(__file__).parents[2] / "docs" / "http.md"

ADDRESS = "http://localhost:19899/"


def examples() -> list[tuple[str, str]]:
    """Commands and what they print, in the order of the page."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    found = []
    for block in blocks:
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = example.splitlines()
            last = next(number for number, line in enumerate(lines) if not line.endswith("\\"))
            command = "\n".join(line.removeprefix("> ") for line in lines[: last + 1])
            found.append((command, "\n".join(lines[last + 1 :]) + "\n"))
    return found


def test_the_examples_of_the_page_do_what_it_says(host: LiveDaemon, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.fail("curl is missing: install it (apt install curl)")
    gateway, client = LiveGateway(tmp_path, host.socket), host.client()
    try:
        gateway.start()
        token = (gateway.state / "token").read_text().strip()
        for command, wanted in examples():
            assert ADDRESS in command
            if "/logs" in command:
                eventually(lambda: client.log("train"), "the worker's output")
            for _ in range(5 if "--max-time" in command else 1):  # curl may have given up before it was answered
                ran = subprocess.run(
                    ["/bin/bash", "-c", command.replace(ADDRESS, gateway.url)], check=False, stdout=subprocess.PIPE,
                    text=True, timeout=60, env={"PATH": "/usr/bin:/bin", "TOKEN": token},
                )  # fmt: skip
                printed = ran.stdout if ran.stdout.endswith("\n") else ran.stdout + "\n"
                matches = doctest.OutputChecker().check_output(wanted, printed, doctest.ELLIPSIS)
                if matches:
                    break
            assert matches, f"$ {command}\n{printed}\ninstead of\n{wanted}"
    finally:
        gateway.close()


def test_there_are_examples_of_each_kind() -> None:
    commands = " ".join(command for command, _ in examples())
    for path in ("whoami", "submit", "wait", "workers", "why", "events", "logs", "live"):
        assert f"/api/v1/{path}" in commands
    assert f"At most {OWN - api.SPARE} requests" in PAGE.read_text().replace("\n", " ")
