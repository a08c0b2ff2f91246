"""top in a pseudo-terminal beside a real daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.harness import LiveDaemon
from tests.rdagentctl.conftest import CTL, environment
from tests.terminal import Terminal

Top = Callable[..., Terminal]


@pytest.fixture
def top(daemon: LiveDaemon) -> Iterator[Top]:
    """Starts `rdagentctl top` with these words in a terminal of this size, which ends with the test."""
    with ExitStack() as stack:

        def start(*words: str, columns: int = 100, rows: int = 24, **more: str) -> Terminal:
            command = [*CTL, "--socket", str(daemon.socket), "top", "--interval", "0.3", *words]
            return stack.enter_context(Terminal(command, columns, rows, **environment(**more)))

        yield start
