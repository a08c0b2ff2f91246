"""rdagentctl ping tells where the page is, if a gateway beside the socket says so and lives."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.rdagentctl.conftest import Ctl
from tests.rdagentctl.fake import FakeDaemon

PING = {"pid": 1, "version": "0.1.0", "uptime": 3.0, "problem": None, "draining": False}
URL = "http://127.0.0.1:19899/"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"urls": [URL, "http://[::1]:19899/"], "pid": None}, f"its page: {URL}\n"),
        ({"urls": [URL], "pid": 2**22 + 1}, ""),
        ({"urls": [], "pid": None}, ""),
        ("[]", ""),
        ("{", ""),
        (None, ""),
    ],
)
def test_the_page_is_told_while_somebody_serves_it(fake: FakeDaemon, ctl: Ctl, told: Any, shown: str) -> None:
    """pid None: one that lives."""
    fake.answers = {"ping": lambda args: PING}
    if isinstance(told, dict):
        told = json.dumps({**told, "pid": told["pid"] or os.getpid()})
    if told is not None:
        Path(fake.path).with_name("gateway.json").write_text(told)
    done = ctl("ping")
    assert (done.returncode, done.stdout.partition("\n")[2], done.stderr) == (0, shown, "")
