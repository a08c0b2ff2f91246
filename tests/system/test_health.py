"""Health checks under systemd: what the daemon's sandbox lets it ask."""

import json

from .machine import Machine

INSTALLED = True

SPEC = """
[worker.web]
command = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "8123"]
user = "asked"
health = { http = "http://127.0.0.1:8123/", ready = { exec = ["test", "-d", "/"] } }
"""


def test_a_server_on_the_loopback_and_a_program_are_asked(machine: Machine) -> None:
    machine.check("useradd --create-home asked", timeout=120)
    machine.put("/root/web.toml", SPEC.encode())
    machine.check("rdagentctl apply /root/web.toml", timeout=120)
    machine.check("rdagentctl wait web --until healthy --timeout 8m", timeout=240)
    machine.check("rdagentctl wait web --until ready --timeout 8m", timeout=240)
    (row,) = json.loads(machine.check("rdagentctl status web --json", timeout=120))
    assert (row["health"], row["ready"]) == ("healthy", True)
