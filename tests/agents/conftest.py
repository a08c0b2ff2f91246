"""What RD-Agent 1.0.0 needs to run offline: an OpenAI server of our own, and a `conda` that stands for its environments."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.agents.install import installed, needed
from tests.agents.openai import OpenAI
from tests.gateway.client import LiveGateway
from tests.gateway.rdagent.site import Site
from tests.harness import LiveDaemon, marked

PATIENCE = 1200.0
"""Seconds for a loop of RD-Agent: half a minute where nothing else wants the CPU."""

CONDA = """#!/bin/sh
# Stands for conda: each of its environments is the one venv.
case "$1 $2" in
    "env list") printf 'kaggle * {venv}\\nmlebench * {venv}\\n' ;;
    "run -n") shift 3; [ "$1" = --no-capture-output ] && shift; PATH={venv}/bin:$PATH exec "$@" ;;
    *) echo "conda: cannot $*" >&2; exit 1 ;;
esac
"""


@frozen
class Lab:
    """The site, the model, and what RD-Agent needs to know: the variables of its environment."""

    site: Site
    model: OpenAI
    program: Path
    variables: dict[str, str]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """RD-Agent installed, a competition to take part in, the model, daemon and gateway."""
    needed("strace")
    venv = installed("rdagent-1.0.0")
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as name, OpenAI() as model, contextlib.ExitStack() as stack:
        directory = Path(name)
        program = venv / "bin" / "rdagent"
        variables = _variables(directory, venv, model)
        live, config = LiveDaemon(directory), directory / "rdagentd.toml"
        stack.callback(live.close)
        user = f'user = "{os.getuid()}"\n' if os.getuid() == 0 else ""
        said = "".join(f"{name} = {json.dumps(value)}\n" for name, value in variables.items())
        config.write_text(f'[rd_agent]\nprogram = "{program}"\n{user}[rd_agent.worker.environment]\n{said}')
        live.start("--config", str(config))
        gateway = LiveGateway(directory, live.socket)
        stack.callback(gateway.close)
        gateway.start('anonymous = "operate"\n')
        yield Lab(Site(live, gateway), model, program, variables)


def _variables(directory: Path, venv: Path, model: OpenAI) -> dict[str, str]:
    conda, competition = directory / "bin" / "conda", directory / "data" / "tiny"
    conda.parent.mkdir()
    conda.write_text(CONDA.format(venv=venv))
    conda.chmod(0o755)
    for part in ("train", "test"):
        (competition / part).mkdir(parents=True)
    (competition / "description.md").write_text("# Tiny\nPredict target from x. Metric: accuracy, higher is better.\n")
    (competition / "train" / "train.csv").write_text("id,x,target\n1,0,0\n2,1,1\n")
    (competition / "test" / "test.csv").write_text("id,x\n1,0\n2,1\n")
    (competition / "sample_submission.csv").write_text("id,target\n1,0\n2,0\n")
    return {
        "PATH": f"{conda.parent}:{venv}/bin:/usr/bin:/bin",
        "HOME": str(directory),
        "OPENAI_API_KEY": "sk-of-nobody",
        "OPENAI_API_BASE": model.url,
        "CHAT_MODEL": "gpt-4o",
        "EMBEDDING_MODEL": "text-embedding-3-small",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONUNBUFFERED": "1",
        "DS_LOCAL_DATA_PATH": str(competition.parent),
        "DS_SCEN": "rdagent.scenarios.data_science.scen.DataScienceScen",
        "DS_CODER_COSTEER_ENV_TYPE": "conda",
    }


def programs(worker: str) -> list[int]:
    """Programs that RD-Agent wrote and runs: in sessions, groups and under a tracer of their own."""
    found = []
    for pid in marked(f"RDAGENTD_WORKER={worker}"):
        with contextlib.suppress(OSError):
            if b"main.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found
