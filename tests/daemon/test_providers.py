"""A provider that goes out under twenty agents, with real processes: what it costs with its breaker, and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness import Client, LiveDaemon, eventually

AGENTS = 20
REPORTERS = [
    {"source": "log", "measure": "provider_errors", "pattern": "HTTP 429", "add": True},
    {"source": "log", "measure": "tokens", "pattern": "tokens {int}"},
]


@pytest.fixture
def up(tmp_path: Path) -> Path:
    """While this file is there the provider answers."""
    return tmp_path / "up"


def configured(directory: Path, errors: int) -> str:
    config = directory / "rdagentd.toml"
    config.write_text(f"[providers.openai]\nerrors = {errors}\nwindow = '10m'\ncooldown = '500ms'\n")
    return str(config)


def begin(client: Client, up: Path, **restart: Any) -> list[str]:
    """Agents that call their provider three times, and give up if it does not answer."""
    call = f"test -e {up} && echo tokens 100 || echo HTTP 429"
    script = f"for i in 1 2 3; do {call}; done; test -e {up} || exit 1; exec sleep 1000"
    names = [f"agent-{number:02}" for number in range(AGENTS)]
    for name in names:
        spec = {
            "name": name, "command": ["/bin/sh", "-c", script], "providers": ["openai"], "reporters": REPORTERS,
            "restart": {"policy": "on-failure", "delay": "20ms", **restart},
        }  # fmt: skip
        client.call("submit", spec=spec, start=False)
    client.verb("start", *names)  # all at once: the first has not given up before the others have tried
    return names


def told(client: Client, *kinds: str, since: int = 0) -> list[int]:
    """Numbers of the lines of these kinds."""
    return [item["seq"] for item in client.stream("events", kinds=list(kinds), since=since)]


def provider(client: Client) -> dict[str, Any]:
    (row,) = client.call("providers")
    return row


def held(client: Client) -> bool:
    """Whether all wait for it but the one that tries: none is left that was asked for before and has not begun yet."""
    rows = [row for row in client.status() if row["state"] == "queued" and row["reason"]["code"] == "provider"]
    return len({row["name"] for row in rows} | {provider(client)["probe"]} - {None}) == AGENTS


def test_with_the_breaker_one_tries_at_a_time_and_nobody_gives_up(daemon: LiveDaemon, tmp_path: Path, up: Path) -> None:
    client = daemon.start("--config", configured(tmp_path, 20))
    assert client is not None
    names = begin(client, up, retries=3)
    eventually(lambda: held(client), "all to be held back")
    since = told(client, "provider_open")[-1]
    eventually(lambda: len(told(client, "provider_tried", since=since)) >= 5, "five tries")
    seen = list(client.stream("events", kinds=["provider_tried", "started"], since=since))
    tries, starts = ([one["seq"] for one in seen if one["kind"] == kind] for kind in ("provider_tried", "started"))
    assert len(tries) - 1 <= len([seq for seq in starts if seq > tries[0]]) <= len(tries)
    assert told(client, "failed") == []
    up.touch()
    client.wait(*names, until="running")
    eventually(lambda: provider(client)["phase"] == "closed", "the breaker to be closed")
    rows = client.status()
    assert {row["state"] for row in rows} == {"running"}
    assert {row["attempt"] for row in rows} == {1}  # none of what failed counts


def test_without_it_all_have_used_up_their_attempts_in_no_time(daemon: LiveDaemon, tmp_path: Path, up: Path) -> None:
    client = daemon.start("--config", configured(tmp_path, 100_000))
    assert client is not None
    names = begin(client, up, retries=3)
    assert {row["state"] for row in client.wait(*names)} == {"failed"}
    assert len(told(client, "started")) == AGENTS * 4


def test_it_stays_open_over_a_crash_of_the_daemon(daemon: LiveDaemon, tmp_path: Path, up: Path) -> None:
    config = tmp_path / "rdagentd.toml"
    config.write_text("[providers.openai]\nerrors = 3\ncooldown = '1h'\n")
    client = daemon.start("--config", str(config))
    assert client is not None
    client.submit("a", "/bin/sh", "-c", "echo HTTP 429; echo HTTP 429; echo HTTP 429; exec sleep 1000",
                  providers=["openai"], reporters=REPORTERS)  # fmt: skip
    eventually(lambda: provider(client)["phase"] == "open", "the breaker to be open")
    client.submit("b", "/bin/true", providers=["openai"])
    daemon.kill()
    again = daemon.start("--config", str(config))
    assert again is not None
    row = provider(again)
    assert (row["phase"], row["why"], row["workers"], row["waiting"]) == ("open", "3 errors within 60 s", 2, 1)
    assert 0 < row["due_in"] <= 3600
    text = "waits for provider openai: 3 errors within 60 s; one worker tries it after the cool-down of 3600 s"
    assert again.worker("b")["reason"] == {"code": "provider", "text": text}
    family = next(one for one in again.call("metrics")["families"] if one["name"] == "rdagentd_provider_open")
    assert family["samples"] == [[["openai"], 1]]
