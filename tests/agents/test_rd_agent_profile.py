"""RD-Agent 1.0.0 itself by its profile: its loops, checkpoints, cost, files and end, and what goes wrong with it."""

from __future__ import annotations

import hmac
import os
import pwd
import re
import signal
import time
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

import pytest

from tests.agents.conftest import PATIENCE, Lab, programs
from tests.harness import Client, eventually, marked

pytestmark = [pytest.mark.agents, pytest.mark.timeout(3000)]

STEPS = range(5)


class Agent:
    """A worker of the profile."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.begun = time.time()
        self.state = lab.site.daemon.state / "workers" / name / "state"
        self.client: Client = lab.site.daemon.connect()
        self.client.socket.settimeout(PATIENCE)

    def submit(self, loops: int, given: dict[str, Any], **spec: Any) -> None:
        """As a person would by `rdagentctl submit --profile rd-agent`."""
        values = {
            "scenario": "data_science", "competition": "tiny", "loops": loops, "program": str(self.lab.program),
            "docker": False, "port": self.lab.site.url.rpartition(":")[2].strip("/"),
            "memory": "unlimited", "cpu": "unlimited", "nofile": 1024,
        }  # fmt: skip
        keys = Path(self.lab.variables["HOME"]) / "rd-agent.env"
        said = (
            f"{name}={value}\n" for name, value in self.lab.variables.items() if name != "HOME"
        )  # the profile says where
        keys.write_text("".join(said))
        raw = {
            "name": self.name, "profile": "rd-agent", "set": {**values, **given}, "environment_file": [str(keys)], **spec,
        }  # fmt: skip
        told = self.client.call("submit", spec=raw)
        assert not any("does not start" in warning for warning in told["warnings"]), told

    def rest(self) -> dict[str, Any]:
        """Its row, once it is at rest."""
        return self.client.wait(self.name)[0]

    def output(self) -> str:
        return self.client.log(self.name).decode()

    def steps(self) -> list[tuple[int, int]]:
        """Loop and step of each step that was begun, over all runs."""
        return [(int(loop), int(step)) for loop, step in re.findall(r"Start Loop (\d+), Step (\d+): ", self.output())]

    def checkpoints(self) -> list[str]:
        """LOOP/STEP_NAME, in order; unlike Path.glob, glob minds no directory that is removed meanwhile."""
        found = glob("*/*_*", root_dir=self.state / "trace" / "__session__")
        return sorted(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)[:2]])

    def leaves_nothing(self) -> None:
        """No process, no file outside its directory, and no key in what rdagentd keeps."""
        eventually(
            lambda: not marked(f"RDAGENTD_WORKER={self.name}"), "who looks after its checkpoints to have done so"
        )
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        outside = [home / name for name in (".cache/Microsoft", ".prefect", ".rdagent", "git_ignore_folder", "log")]
        outside += [Path("/tmp") / name for name in (".ses", "full", "sample")]
        assert not [path for path in outside if path.exists() and path.stat().st_mtime > self.begun]
        top, own = (
            self.lab.site.daemon.state,
            self.state.parents[1],
        )  # RD-Agent itself writes its key into its own files
        kept = (path for path in top.rglob("*") if path.is_file() and own not in path.parents)
        secret = self.lab.variables["OPENAI_API_KEY"].encode()
        assert not [path for path in kept if secret in path.read_bytes()]


@pytest.fixture
def agent(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Agent]:
    lab.model.seconds, lab.model.blanks, lab.model.thinks = 0, 0, 0
    made = Agent(lab, request.node.name.removeprefix("test_").replace("_", "-")[:40])
    yield made
    made.client.verb("kill", made.name)


def test_loops_are_a_total_and_its_checkpoints_are_signed(agent: Agent) -> None:
    agent.submit(1, {}, restart="never")
    row = agent.rest()
    output = agent.output()
    assert row["state"] == "completed", output[-3000:]
    assert agent.steps() == [(0, step) for step in STEPS]
    assert "Accumulated Cost: $" in output  # what its reporters look for
    kept = agent.checkpoints()
    assert kept and all(name.startswith(f"0/{number}_") for number, name in enumerate(kept)), kept
    newest = (agent.state / "trace" / "__session__" / kept[-1]).read_bytes()
    head, _, rest = newest.partition(b"\n")
    key = (agent.state / "artifact_signing.key").read_bytes()
    assert head == b"RDAGENT_SIGNED_PICKLE_V1"
    assert hmac.digest(key, rest[32:], "sha256") == rest[:32]
    agent.lab.site.ended(f"Data Science/{agent.name}")
    agent.leaves_nothing()


def test_killed_in_a_step_it_loses_that_step_and_a_damaged_checkpoint_one_more(agent: Agent) -> None:
    model = agent.lab.model
    model.seconds = 3000
    agent.submit(2, {})
    begun = [(0, 0), (0, 1)]
    for seconds in (3000, 0):
        orphans = eventually(lambda: programs(agent.name), "a program that it wrote to run", PATIENCE)
        eventually(lambda: agent.steps() == begun, "its log to tell so")
        model.seconds = seconds
        os.kill(agent.client.worker(agent.name)["run"]["pid"], signal.SIGKILL)
        begun.append((0, 1))
        eventually(lambda: agent.steps()[: len(begun)] == begun, "it to go on with that step", PATIENCE)
        assert not set(orphans) & set(programs(agent.name))

    eventually(lambda: "0/4_record" in agent.checkpoints(), "the first loop to be through", PATIENCE)
    model.thinks = 3000
    agent.client.verb("stop", agent.name)
    assert agent.rest()["state"] == "stopped"
    model.thinks = 0
    begun, newest = agent.steps(), agent.checkpoints()[-1]
    path = agent.state / "trace" / "__session__" / newest
    os.truncate(path, path.stat().st_size // 2)
    agent.client.verb("resume", agent.name)
    row = agent.rest()
    assert row["state"] == "completed", agent.output()[-3000:]
    again = (int(newest[0]), int(newest[2]))
    assert agent.steps() == [*begun, *((loop, step) for loop in range(2) for step in STEPS if (loop, step) >= again)]
    agent.leaves_nothing()


def test_a_runaway_stops_within_one_report_of_its_budget(agent: Agent) -> None:
    model = agent.lab.model
    model.blanks, model.thinks = 12_500, 6  # 12.5 cents each and a little, as slow as models are
    agent.submit(1000, {"cost_usd": 0.5})
    row = agent.rest()
    assert row["state"] == "failed" and row["exit"]["kind"] == "over_budget", row
    told = [float(cost) for cost in re.findall(r"Accumulated Cost: \$([0-9.]+)", agent.output())]
    over = [cost for cost in told if cost > 0.5]
    assert len(over) == 1, told
    assert row["cost_usd"] == pytest.approx(told[-1]) and told[-1] <= 0.5 + 0.15, row
    (event,) = agent.client.stream("events", select={"names": [agent.name]}, kinds=["over_budget"])
    assert re.fullmatch(r"it has used \$0\.\d+, the budget is \$0\.50", event["text"])
    agent.leaves_nothing()


def test_an_hours_loops_stay_below_the_quota(agent: Agent) -> None:
    agent.submit(20, {"disk": "200M"})
    row = agent.rest()
    assert row["state"] == "completed", agent.output()[-3000:]
    assert agent.steps() == [(loop, step) for loop in range(20) for step in STEPS]
    loops = lambda: {name.partition("/")[0] for name in agent.checkpoints()}  # noqa: E731
    eventually(lambda: loops() == {"17", "18", "19"}, "its old checkpoints to go")
    held = sum(path.stat().st_size for path in agent.state.rglob("*") if path.is_file())
    print(f"{held / 1e6:.0f} MB in {sum(1 for _ in agent.state.rglob('*'))} files after 20 loops")
    assert held < 200 << 20
    agent.leaves_nothing()
