"""The drop-ins that let the daemon's log out of its sandbox: understood by systemd, and opening no more than they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "packaging/systemd"
DROP_INS = sorted(path.name for path in (UNITS / "rdagentd.service.d").iterdir())


def analyse(tmp_path: Path, verb: str, *options: str, drop_ins: list[str], text: str = "") -> str:
    """What systemd-analyze says of the unit with these drop-ins, and `text` in one more."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    place = tmp_path / "units"
    shutil.rmtree(place, ignore_errors=True)
    (place / "rdagentd.service.d").mkdir(parents=True)
    unit = (UNITS / "rdagentd.service").read_text()
    (place / "rdagentd.service").write_text(
        re.sub(r"(?m)^(Exec\w+=\S*?)(/\S+).*$", r"\1/bin/true", unit).replace("\\\n", "\n")
    )
    for name in drop_ins:
        shutil.copy(UNITS / "rdagentd.service.d" / name, place / "rdagentd.service.d")
    (place / "rdagentd.service.d" / "more.conf").write_text(f"[Service]\n{text}\n")
    done = subprocess.run(
        ["systemd-analyze", verb, *options, place / "rdagentd.service"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{place}:"}, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_systemd_understands_them(tmp_path: Path) -> None:
    assert DROP_INS == ["log-file.conf"]
    said = analyse(tmp_path, "verify", "--man=no", drop_ins=DROP_INS, text="LogsDirectry=x")
    assert "LogsDirectry" in said, "it was looked at"
    assert not [line for line in said.splitlines() if any(name in line for name in DROP_INS)]


def test_the_network_of_the_unit_is_the_loopback_of_this_host_alone() -> None:
    unit = (UNITS / "rdagentd.service").read_text()
    said = [line for line in unit.splitlines() if line.startswith(("IPAddress", "RestrictAddress", "PrivateNetwork"))]
    assert said == [
        "IPAddressAllow=localhost",
        "IPAddressDeny=any",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    ]


def test_the_unit_itself_writes_to_its_state_alone() -> None:
    unit = (UNITS / "rdagentd.service").read_text()
    assert "\nProtectSystem=strict\n" in unit
    assert "LogsDirectory" not in unit and "ReadWritePaths" not in unit
