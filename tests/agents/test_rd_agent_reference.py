"""What the page says that RD-Agent 1.0.0's own server answers is what it answers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.install import installed
from tests.gateway.rdagent.cases import CASES, Case, Traces
from tests.gateway.rdagent.site import Api
from tests.harness import eventually

pytestmark = [pytest.mark.agents, pytest.mark.timeout(3000)]

TOKEN = "of-the-reference"


class Reference(Api):
    """The server. root: where it has its traces."""

    def __init__(self, url: str, root: Path) -> None:
        super().__init__(url, {"Authorization": f"Bearer {TOKEN}"})
        self._root = root

    def path(self, called: str) -> str:
        return str(self._root / called)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    venv, directory = installed("rdagent-1.0.0"), tmp_path_factory.mktemp("reference")
    variables = {
        "HOME": str(directory),
        "PATH": os.environ["PATH"],
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "UI_SERVER_AUTH_TOKEN": TOKEN,
        "UI_TRACE_FOLDER": "traces",
        "UI_UPLOAD_FOLDER": "uploads",
    }
    command = [venv / "bin" / "python", Path(__file__).parent / "reference.py"]
    with (directory / "errors").open("wb") as errors:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=variables, cwd=directory)
    try:
        assert server.stdout is not None
        said = b""
        while not said.strip().isdigit():
            said = server.stdout.readline()
            assert said, (directory / "errors").read_text()
        url = f"http://127.0.0.1:{int(said)}"
        there = Reference(url, directory.resolve() / "traces")

        def answers() -> bool:
            try:
                return there.get("/traces").status == 200
            except OSError:
                return False

        eventually(answers, "the reference to listen")
        yield there
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def traces(reference: Reference) -> Traces:
    running, ended = reference.launched("waits"), reference.launched("quick")
    reference.began(running)
    reference.ended(ended)
    return Traces(running, ended)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.route} {case.what}")
def test_it_answers_as_the_table_says(reference: Reference, traces: Traces, case: Case) -> None:
    assert case.run(reference, traces) == case.c
