"""schemathesis over the OpenAPI document, against the real program before a real daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rdagentd.gateway.openapi import BASE
from tests.gateway.client import LiveGateway
from tests.harness import LiveDaemon, alive

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")

NOT_ASKED = {
    "drain": "ends the daemon",
    "live": "never ends",
    "openapi.json": "is what it goes by, so it leaves that out by itself",
}
"""They have tests of their own."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_operation_takes_what_it_says_and_answers_as_it_says(
    gateway: LiveGateway, host: LiveDaemon, tmp_path: Path
) -> None:
    client = host.client()
    client.submit("one", "/bin/true", labels={"team": "a"})
    client.submit("two", "/bin/false")
    report = tmp_path / "report.json"
    command = [
        *(str(Path(sys.executable).with_name("st")), "--config-file", str(CONFIG), "run"),
        *(
            f"{gateway.url}api/v1/openapi.json",
            "--checks",
            "all",
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "5",
        ),
        *("--seed", os.environ.get("RDAGENTD_SEED", "5"), "--no-color", "--report-json-path", str(report)),
        *(word for op in NOT_ASKED for word in ("--exclude-path", f"/api/v1/{op}")),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1100
    )
    said = "\n".join(line[:500] for line in (ran.stdout + ran.stderr).splitlines())
    assert ran.returncode == 0, said
    paths = gateway.ask("/api/v1/openapi.json").json["paths"]
    asked = sum(len(item) for path, item in paths.items() if path.removeprefix(BASE) not in NOT_ASKED)
    assert f"Tested: {asked}\n" in said, said
    assert host.process is not None and alive(host.process.pid)
    assert gateway.ask("/api/v1/ping").json["problem"] is None
    for errors in (host.said(), gateway.said()):
        assert "Traceback" not in errors and "defect" not in errors, errors
