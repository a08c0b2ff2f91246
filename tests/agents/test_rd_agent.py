"""RD-Agent 1.0.0 itself as a worker: its messages come to /receive, it is paused, resumed and stopped, and leaves nothing."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agents.conftest import PATIENCE, Lab, programs
from tests.cgroups import is_frozen
from tests.harness import alive, eventually, marked
from tests.rdagentctl.conftest import CTL, environment

pytestmark = [pytest.mark.agents, pytest.mark.timeout(3000)]

SHAPES: dict[str, set[str]] = {
    "research.hypothesis": {"hypothesis", "reason", "component", "concise_reason", "concise_justification",
                            "concise_observation", "concise_knowledge", "name_map"},
    "research.tasks": {"name", "description"},
    "evolving.codes": {"evo_id", "target_task_name", "workspace"},
    "evolving.feedbacks": {"evo_id", "final_decision", "execution", "code", "return_checking"},
    "feedback.metric": {"result"},
    "feedback.hypothesis_feedback": {"decision", "reason", "exception", "observations", "hypothesis_evaluation",
                                     "new_hypothesis"},
    "END": {"error_msg", "end_code"},
}  # fmt: skip
"""Keys of the content (of each, where it is a list) of what its data_science loop sends: rdagent/log/server/README.md."""


def of_shape(message: dict[str, Any]) -> bool:
    """Whether a message is as RD-Agent's front end expects it."""
    content = message["content"]
    keys = SHAPES[message["tag"]]
    return {"tag", "timestamp", "content"} <= message.keys() and all(
        set(one) <= keys and one for one in (content if isinstance(content, list) else [content])
    )


def test_an_upload_runs_a_loop_and_all_its_messages_are_told(lab: Lab) -> None:
    lab.model.seconds = 0
    fields = {"scenario": "Data Science", "competition": "MLE-Bench:tiny", "loops": "1"}
    called = lab.site.upload(fields).json["id"]
    end = lab.site.ended(called, PATIENCE)
    assert end == {"error_msg": "RD-Agent process has completed.", "end_code": 0}, lab.site.stdout(called).text[-3000:]
    messages = lab.site.trace(called)
    assert [message["tag"] for message in messages][-1] == "END"
    assert sorted(message["tag"] for message in messages) == sorted(SHAPES), messages
    assert all(of_shape(message) for message in messages), messages
    assert {message["loop_id"] for message in messages[:-1]} == {"0"}
    codes = next(message["content"] for message in messages if message["tag"] == "evolving.codes")
    assert "import csv" in codes[0]["workspace"]["main.py"]
    output = lab.site.stdout(called).text
    assert "Accumulated Cost" in output and "sk-of-nobody" not in output
    assert not marked(f"RDAGENTD_WORKER={lab.site.row(called)['name']}")


def test_one_that_a_person_runs_is_paused_resumed_and_stopped_in_the_middle_of_a_step(lab: Lab, tmp_path: Path) -> None:
    lab.model.seconds = 3000
    trace = str(tmp_path / "trace")
    port = lab.site.url.rpartition(":")[2].strip("/")
    said = {**lab.variables, "LOG_TRACE_PATH": trace, "LOG_UI_SERVER_PORT": port}
    words = [
        *CTL, "--socket", str(lab.site.daemon.socket), "run", "--name", "by-hand", "--directory", str(tmp_path),
        *(word for item in said.items() for word in ("--env", "=".join(item))),
        "--label", f"trace={trace}", "--label", "scenario=Data Science",
        *("--stop-signal", "SIGINT", "--stop-signal", "SIGINT", "--stop-interval", "2s", "--grace", "20s"),
        "--", str(lab.program), "data_science", "--competition", "tiny",
    ]  # fmt: skip
    run = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    try:
        called = "Data Science/by-hand"
        eventually(lambda: programs("by-hand"), "RD-Agent to run a program", PATIENCE)
        assert lab.site.tags(trace) == ["research.hypothesis", "research.tasks"]
        assert lab.site.control(called, "pause").json == {"status": "paused"}
        ours = partial(marked, "RDAGENTD_WORKER=by-hand")  # one or the other may have ended by itself before
        eventually(lambda: all(is_frozen(pid) for pid in ours()), "all of them to stand still")
        pids = ours()
        assert pids
        assert lab.site.control(called, "resume").json == {"status": "resumed"}
        eventually(lambda: not any(is_frozen(pid) for pid in pids), "all of them to go on")
        assert lab.site.control(called, "stop").json == {"status": "stopped"}
        assert not any(alive(pid) for pid in pids) and not marked("RDAGENTD_WORKER=by-hand") and not programs("by-hand")
        assert lab.site.ended(called) == {"error_msg": "RD-Agent process was stopped by user.", "end_code": -1}
        assert lab.site.tags(called) == ["research.hypothesis", "research.tasks", "END"]
        assert run.wait(60) == 130
    finally:
        run.kill()
        run.wait()
