"""The part of Prometheus' configuration that is shipped, as promtool sees it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.gateway.client import LiveGateway
from tests.harness import eventually
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.rules import ETC, RULES

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool on this host: apt install prometheus"
)

COMMENTED = ("#alerting", "#  alertmanagers", "#    - static_configs", "#        - targets", "#- targets", "#  labels")
"""Lines that are there to be switched on."""


def _uncommented(text: str) -> str:
    lines = (line.replace("#", "", 1) if line.startswith(COMMENTED) else line for line in text.splitlines())
    return "\n".join(line.replace("    #authorization", "    authorization") for line in lines)


@pytest.mark.parametrize("switched_on", [False, True])
def test_promtool_finds_no_mistake(switched_on: bool, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    places = {
        "/usr/share/rdagentd/prometheus/rdagentd.rules.yml": str(RULES),
        "/etc/prometheus/rdagentd/*.yml": str(tmp_path / "*.targets.yml"),
        "/etc/prometheus/rdagentd.token": str(token),
    }
    for name in ("prometheus.yml", "rdagentd.targets.yml"):
        text = (ETC / "prometheus" / name).read_text()
        changed = _uncommented(text) if switched_on else text
        assert (changed != text) is switched_on
        for shipped, here in places.items():
            changed = changed.replace(shipped, here)
        (tmp_path / name).write_text(changed)
    done = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {tmp_path}/prometheus.yml is valid" in done.stdout
    assert "rules found" in done.stdout


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this host: apt install openssl")
def test_a_host_that_wants_a_token_by_https_is_scraped(tmp_path: Path) -> None:
    certificate, key, token = tmp_path / "gateway.pem", tmp_path / "gateway.key", tmp_path / "token"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(made, capture_output=True, check=True)
    token.write_text("0123456789abcdef\n")
    gateway, prometheus = LiveGateway(tmp_path, tmp_path / "no.sock"), Prometheus(tmp_path)
    try:
        gateway.start(
            f'anonymous = "none"\ntoken_file = "{token}"\ncertificate = "{certificate}"\nkey = "{key}"\n'
            'addresses = ["127.0.0.1"]\n'
        )
        port = gateway.url.rstrip("/").rpartition(":")[2]
        with_token = {"authorization": {"credentials_file": str(token)}, "tls_config": {"ca_file": str(certificate)}}
        prometheus.start(f"localhost:{port}", "https", **with_token)
        eventually(lambda: prometheus.query("rdagentd_up == 0"), "it to be told that there is no daemon")
    finally:
        prometheus.close()
        gateway.close()
