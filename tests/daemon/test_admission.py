"""Requests, leases of GPUs and pressure on the host through the whole daemon."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.busy import busy
from tests.harness import CallError, Client, LiveDaemon, eventually

HOST = '[host]\nmemory = "14G"\ncpu = 4\n[host.reserve]\nmemory = 0\n'
OFF = '[pressure]\nmemory_10s = "off"\nmemory_60s = "off"\n'
NVIDIA = """#!/bin/sh
echo 'GPU 0: A100 (UUID: GPU-aaaa0000-1111-2222-3333-444444444444)'
echo 'GPU 1: A100 (UUID: GPU-bbbb0000-1111-2222-3333-444444444444)'
"""
LONELY = """
import os, subprocess, sys
ignore = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(1000)"
subprocess.Popen([sys.executable, "-c", ignore], start_new_session=True, stdout=subprocess.PIPE).stdout.readline()
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
"""
"""Ends at once, and leaves a child in a session of its own that does not."""


class Host:
    """A daemon on a host of 14 GiB, 4 CPUs and two GPUs, as its configuration says."""

    def __init__(self, daemon: LiveDaemon, directory: Path) -> None:
        self.daemon = daemon
        self.config = directory / "rdagentd.toml"
        self.bin = directory / "bin"
        self.bin.mkdir()
        (self.bin / "nvidia-smi").write_text(NVIDIA)
        (self.bin / "nvidia-smi").chmod(0o755)

    def start(self, text: str = HOST + OFF) -> Client:
        self.config.write_text(text)
        path = {"PATH": f"{self.bin}:{os.environ['PATH']}"}
        client = self.daemon.start("--config", str(self.config), env=path)
        assert client is not None
        return client


@pytest.fixture
def host(daemon: LiveDaemon, tmp_path: Path) -> Host:
    return Host(daemon, tmp_path)


def why(client: Client, name: str) -> str:
    return " ".join(client.call("why", select={"names": [name]})[0]["sentences"])


def told(client: Client, *kinds: str) -> list[dict[str, Any]]:
    """The events of these kinds."""
    return [item for item in list(client.stream("events")) if item["kind"] in kinds]


def test_who_does_not_fit_waits_and_says_for_what(host: Host) -> None:
    client = host.start()
    client.submit("train", "sleep", "1000", requests={"memory": "8G", "cpu": 2})
    client.submit("next", "sleep", "1000", requests={"memory": "8G"})
    client.submit("light", "true")
    client.wait("train", until="running")
    client.wait("light")
    reason = client.worker("next")["reason"]
    assert reason == {"code": "memory", "text": "waits for 8 GiB of memory: 6 GiB of 14 GiB are free"}
    assert "are free; held by train (8 GiB of memory)." in why(client, "next")
    assert "It holds 8 GiB of memory, 2 CPUs." in why(client, "train")
    client.verb("stop", "train")
    client.wait("next", until="running")
    (run,) = client.call("show", select={"names": ["next"]})[0]["runs"]
    assert run["holds"] == {"memory": 8 << 30, "cpu": 0.0, "disk": 0, "gpus": 0}


def test_what_could_never_run_is_refused_and_after_a_change_of_the_host_told(host: Host) -> None:
    client = host.start()
    with pytest.raises(CallError) as refused:
        client.submit("huge", "true", requests={"memory": "15G", "gpus": 3})
    assert refused.value.code == "over_capacity" and refused.value.message == (
        "cannot submit huge: this host cannot give away 15 GiB of memory (of 14 GiB) and 3 GPUs (of 2: 0, 1); "
        "ask for less, or see [host] in rdagentd.toml"
    )
    document = {"name": "huge", "command": ["true"], "requests": {"disk": "9000T"}}
    with pytest.raises(CallError, match="cannot apply huge: this host cannot give away 9000 TiB of disk"):
        client.call("apply", documents=[{"where": "a test", "base": None, "document": document}])
    assert client.status() == []
    client.call("submit", spec={"name": "big", "command": ["true"], "requests": {"memory": "12G"}}, start=False)
    host.config.write_text('[host]\nmemory = "10G"\n')
    client.call("reload")
    client.verb("start", "big")
    client.submit("small", "true", requests={"memory": "8G"})
    client.wait("small")
    assert "it cannot ever start: this host cannot give away 12 GiB of memory (of 9.5 GiB)." in why(client, "big")
    assert client.worker("big")["reason"]["code"] == "never"
    host.config.write_text('[host]\nmemory = "16G"\n')
    client.call("reload")
    client.wait("big")


def test_a_file_that_asks_for_too_much_keeps_no_other_from_its_place(host: Host, tmp_path: Path) -> None:
    (tmp_path / "workers.d").mkdir()
    (tmp_path / "workers.d" / "a.toml").write_text('command = "sleep 1000"\nrequests = { memory = "1T" }\n')
    (tmp_path / "workers.d" / "b.toml").write_text('command = "true"\nrequests = { memory = "1G" }\n')
    client = host.start()
    client.wait("b")
    assert client.worker("a")["reason"]["code"] == "never"


def test_no_two_runs_have_the_same_gpu_and_a_crash_forgets_no_lease(host: Host) -> None:
    script = "echo $CUDA_DEVICE_ORDER $CUDA_VISIBLE_DEVICES; exec sleep 1000"
    client = host.start()
    client.submit("one", "sh", "-c", script, requests={"gpus": 1})
    client.submit("named", "sh", "-c", script, requests={"gpus": ["GPU-bbbb0000-1111-2222-3333-444444444444"]})
    client.submit("third", "sh", "-c", script, requests={"gpus": 1})
    client.wait("one", "named", until="running")
    eventually(lambda: client.log("one") and client.log("named"), "both to say what they have")
    assert (client.log("one"), client.log("named")) == (b"PCI_BUS_ID 0\n", b"PCI_BUS_ID 1\n")
    assert client.worker("third")["reason"]["text"] == "waits for 1 GPU: 0 of 2 are free"
    host.daemon.kill()
    client = host.start()
    assert "held by named (GPU 1), one (GPU 0)." in why(client, "third")
    client.verb("stop", "named")
    client.wait("third", until="running")
    eventually(lambda: client.log("third") == b"PCI_BUS_ID 1\n", "the third to have what was given back")


def test_a_gpu_is_given_back_when_nothing_of_the_tree_is_left(host: Host) -> None:
    client = host.start()
    stop = {"grace": "1h"}
    client.submit("first", sys.executable, "-c", LONELY, requests={"gpus": 2}, stop=stop)
    eventually(lambda: client.log("first") == b"0,1\n", "the main process to end, or nearly")
    client.submit("second", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES", requests={"gpus": ["1"]})
    assert client.worker("second")["reason"]["code"] == "gpus"
    client.verb("kill", "first")
    client.wait("second")
    assert client.log("second") == b"1\n"
    assert [(item["worker"], item["kind"]) for item in told(client, "exited", "started")] == [
        ("first", "started"), ("first", "exited"), ("second", "started"), ("second", "exited"),
    ]  # fmt: skip


def test_pressure_holds_the_queue_and_lets_it_go(host: Host) -> None:
    """Nothing new starts, restarts by policy neither; what runs, runs on."""
    client = host.start()
    for name in ("again", "other"):
        client.submit(name, "sleep", "1000", restart={"policy": "always", "delay": 0})
    client.wait("again", "other", until="running")
    host.config.write_text(f"{HOST}{OFF}cpu_10s = 1\n")
    client.call("reload")
    with busy():
        (first,) = eventually(lambda: told(client, "held", "unseen"), "the kernel to call")
        if first["kind"] == "unseen":
            pytest.skip(first["text"])
        assert first["text"].startswith("the queue waits for CPU pressure to fall: ")
        client.submit("new", "true")
        client.verb("signal", "again", signal="SIGKILL", scope="main")
        eventually(lambda: client.worker("again")["state"] == "queued", "it to have ended")
        reasons = [client.worker(name)["reason"]["code"] for name in ("new", "again")]
        assert reasons == ["pressure", "pressure"] and client.worker("other")["state"] == "running"
        eventually(lambda: re.search(r"fall: [0-9.]+ % over 10 s, more than 1 %\.", why(client, "new")), "the figures")
    host.config.write_text(HOST + OFF)  # whatever else keeps this host busy
    client.call("reload")
    client.wait("new")
    client.wait("again", until="running")
    assert [item["kind"] for item in told(client, "held", "released")] == ["held", "released"]


def test_pressure_that_cannot_be_seen_is_told(host: Host) -> None:
    hide = 'mount -t tmpfs none /proc/pressure 2>/dev/null || [ ! -e /proc/pressure ]; exec "$@"'
    if os.geteuid() != 0:
        pytest.skip("needs root: hides the pressure of this host from the daemon")
    host.daemon.prefix = ["unshare", "--mount", "sh", "-c", hide, "sh"]
    client = host.start(HOST)
    (first,) = eventually(lambda: told(client, "unseen"), "the problem")
    assert first["text"].startswith("pressure on this host is not seen: cannot read /proc/pressure/memory: ")
    client.submit("a", "sleep", "1000", requests={"cpu": 4})
    client.submit("b", "true", requests={"cpu": 1})
    assert "Pressure on this host is not seen: " in why(client, "b")
    assert client.worker("a")["state"] in ("starting", "running"), "and holds up nobody"
