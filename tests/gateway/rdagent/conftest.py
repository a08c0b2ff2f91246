"""A daemon whose configuration launches the stub, and the gateway before it."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.client import LiveGateway
from tests.gateway.rdagent.site import Site
from tests.harness import LiveDaemon

STUB = Path(__file__).parent / "stub.py"


def configure(directory: Path) -> Path:
    """The configuration of a daemon for which the stub is RD-Agent; the worker runs as whoever runs the tests."""
    program = directory / "rdagent"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    user = f'user = "{os.getuid()}"\n' if os.getuid() == 0 else ""
    config = directory / "rdagentd.toml"
    config.write_text(f'[rd_agent]\nprogram = "{program}"\n{user}')
    return config


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Daemon and gateway, one for all tests of a file."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as name:
        directory = Path(name)
        live = LiveDaemon(directory)
        gateway = LiveGateway(directory, live.socket)
        try:
            live.start("--config", str(configure(directory)))
            gateway.start('anonymous = "operate"\n')
            yield Site(live, gateway)
        finally:
            gateway.close()
            live.close()
