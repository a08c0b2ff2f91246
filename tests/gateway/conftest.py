"""A real daemon with the real program before it, one for all tests of a file; and the application before a fake link."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.gateway.client import FakeLink, LiveGateway, Serve, fake_application, serving
from tests.harness import LiveDaemon


@pytest.fixture(scope="module")
def host() -> Iterator[LiveDaemon]:
    """A running daemon."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as directory:
        live = LiveDaemon(Path(directory))
        try:
            live.start()
            yield live
        finally:
            live.close()


@pytest.fixture(scope="module")
def gateway(host: LiveDaemon) -> Iterator[LiveGateway]:
    """The program, where a client without a token may do all that it may do itself."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as directory:
        live = LiveGateway(Path(directory), host.socket)
        try:
            live.start('anonymous = "operate"\n')
            yield live
        finally:
            live.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve(link, tokens=…, **config)` runs the application before a FakeLink and gives its URL."""
    with contextlib.ExitStack() as stack:

        def start(link: FakeLink, **settings: object) -> str:
            return stack.enter_context(serving(partial(fake_application, link, tmp_path, **settings)))  # type: ignore[arg-type]

        yield start
