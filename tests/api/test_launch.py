"""launch: a spec from the configuration, whoever asks; refusals in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rdagentd.api.args import decode
from rdagentd.api.launch import worker_document
from rdagentd.api.table import OPERATIONS
from rdagentd.config.rd_agent import RD_AGENT
from rdagentd.config.spec import decode_spec
from rdagentd.protocol.errors import ProtocolError
from tests.harness import CallError, Client, LiveDaemon

ASKED = {"scenario": "Data Science", "trace": "c-brave-otter", "port": 19899, "competition": "c"}


def document(
    rd_agent: dict[str, Any], workers: str | None = "/w", one_user: bool = False, **asked: Any
) -> dict[str, Any]:
    arguments = decode("launch", OPERATIONS["launch"].args, {**ASKED, **asked})
    return worker_document(RD_AGENT.parse(rd_agent), arguments, workers, one_user)


def refusal(*given: Any, **asked: Any) -> tuple[str, str]:
    with pytest.raises(ProtocolError) as caught:
        document(*given, **asked)
    return caught.value.code, caught.value.message


def test_the_spec_is_the_scenario_with_what_all_of_them_have() -> None:
    worker = {
        "limits": {"memory": "8G"},
        "environment": {"CHAT_MODEL": "m", "LOG_TRACE_PATH": "/x"},
        "labels": {"a": "b"},
    }
    spec = decode_spec(document({"program": "rdagent", "user": "alice", "worker": worker}, loops=3, hours=1.5))
    assert spec.command == ("rdagent", "data_science", "--competition", "c", "--loop-n", "3", "--timeout", "1.5h")
    assert spec.name == "c-brave-otter" and spec.user == "alice" and spec.limits.memory == 8 << 30
    trace = "/w/c-brave-otter/state/trace"
    assert spec.environment == {"CHAT_MODEL": "m", "LOG_TRACE_PATH": trace, "LOG_UI_SERVER_PORT": "19899"}
    assert spec.labels == {
        "a": "b",
        "trace": trace,
        "scenario": "Data Science",
        "rd-agent-id": "Data Science/c-brave-otter",
    }
    assert spec.directory == "/w/c-brave-otter/state" and spec.state is not None
    assert (spec.stop.signals, spec.stop.interval, spec.stop.grace) == (("SIGINT", "SIGINT"), 2.0, 20.0)


def test_what_the_configuration_says_of_the_worker_wins_over_what_is_built_in() -> None:
    spec = decode_spec(
        document({"program": "r", "user": "a", "worker": {"stop": {"grace": "1m"}, "state": {"quota": "1G"}}})
    )
    assert spec.stop.grace == 60 and spec.state is not None and spec.state.quota == 1 << 30


def test_files_are_fetched_by_the_run_itself() -> None:
    made = document(
        {"program": "rdagent", "user": "alice"}, scenario="General Model Implementation", files=["a.pdf"], ticket="t"
    )
    kept = "/w/c-brave-otter/state/uploads"
    assert made["command"] == [
        sys.executable, "-I", "-m", "rdagentd", "fetch", kept, "a.pdf", "--", "rdagent", "general_model", f"{kept}/a.pdf",
    ]  # fmt: skip
    assert made["environment"]["RDAGENTD_UPLOAD"] == "http://localhost:19899/rd-agent/uploads/c-brave-otter/"
    assert made["environment"]["RDAGENTD_UPLOAD_TOKEN"] == "t"


def test_a_command_with_a_slash_is_no_word_of_the_program() -> None:
    scenarios = {"Finance Data Building": ["/py", "-m", "factor", ["--base", "{files}"]]}
    made = document({"program": "r", "user": "a", "scenarios": scenarios}, scenario="Finance Data Building")
    assert made["command"] == ["/py", "-m", "factor"]


def test_a_long_trace_keeps_the_end_of_its_name() -> None:
    made = document({"program": "r", "user": "a"}, trace="a" * 80 + "-brave-otter-3f9a1c")
    assert len(made["name"]) <= 64 and made["name"].endswith("a-brave-otter-3f9a1c")
    assert decode_spec(made).labels["rd-agent-id"].endswith("a" * 80 + "-brave-otter-3f9a1c")


def test_what_cannot_be_launched_is_refused_in_words() -> None:
    named = {"program": "r", "user": "a"}
    assert refusal({}) == (
        "forbidden",
        "cannot launch: no program is named for RD-Agent; set rd_agent.program in rdagentd.toml",
    )
    code, text = refusal({"program": "r"})
    assert code == "forbidden" and "set rd_agent.user" in text
    assert "user" not in document({"program": "r"}, one_user=True)
    assert refusal(named, None)[0] == "unavailable"
    assert refusal(named, scenario="x")[1].startswith("cannot launch: there is no scenario 'x'; known are Finance")
    assert refusal(named, competition=None) == ("invalid", "cannot launch: Data Science needs competition")
    assert (
        refusal(named, scenario="General Model Implementation")[1]
        == "cannot launch: General Model Implementation needs file"
    )
    assert "takes no files" in refusal(named, files=["a.pdf"])[1]
    for wrong in (
        {"trace": "A"}, {"trace": "a/b"}, {"competition": "../x"}, {"loops": 0}, {"hours": 0}, {"hours": float("nan")},
        {"port": 0}, {"files": ["../x"]}, {"files": ["--"]}, {"files": [".x"]}, {"files": "x"},
    ):  # fmt: skip
        assert refusal(named, **wrong)[0] == "invalid", wrong


# --- with a daemon ----------------------------------------------------------------------------------------------------


@pytest.fixture
def launcher(daemon: LiveDaemon, tmp_path: Path) -> Iterator[Client]:
    config = tmp_path / "rdagentd.toml"
    config.write_text('[rd_agent]\nprogram = "/bin/echo"\nuser = "0"\n')
    client = daemon.start("--config", str(config))
    assert client is not None
    yield client


def test_it_runs_and_belongs_to_who_launched_it(launcher: Client) -> None:
    told = launcher.call("launch", **ASKED)
    assert told["id"] == "Data Science/c-brave-otter" and told["trace"].endswith("/c-brave-otter/state/trace")
    row = launcher.wait(told["name"])[0]
    assert row["state"] == "completed" and row["labels"]["trace"] == told["trace"]
    assert launcher.log(told["name"]).split()[:3] == [b"data_science", b"--competition", b"c"]
    with pytest.raises(CallError, match="conflict"):
        launcher.call("launch", **ASKED)


def test_a_profile_stands_under_what_is_launched(launcher: Client, tmp_path: Path) -> None:
    given = 'set = { memory = "unlimited", cpu = "unlimited", nofile = 512, docker = false }'
    more = f'[rd_agent.worker]\nprofile = "rd-agent"\n{given}\npreflight = {{ environment = [], secrets = [] }}\n'
    config = tmp_path / "rdagentd.toml"
    config.write_text(config.read_text() + more)
    launcher.call("reload")
    told = launcher.call("launch", **ASKED, loops=3)
    launcher.wait(told["name"])
    assert launcher.log(told["name"]).split() == [b"data_science", b"--competition", b"c", b"--loop-n", b"3"]
    spec = launcher.call("show", select={"names": [told["name"]]})[0]["spec"]
    assert spec["labels"]["profile"] == "rd-agent" and spec["labels"]["rd-agent-id"] == told["id"]
    assert spec["environment"]["LOG_TRACE_PATH"] == told["trace"] and spec["state"]["quota"] == 20 << 30
    assert spec["preflight"]["programs"] == {"/bin/echo": "0.8", "git": ""}


def test_the_configuration_counts_as_it_is_now(launcher: Client, tmp_path: Path) -> None:
    (tmp_path / "rdagentd.toml").write_text("")
    launcher.call("reload")
    with pytest.raises(CallError, match="no program is named"):
        launcher.call("launch", **ASKED)
