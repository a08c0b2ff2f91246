"""A browser, and pages in it: of a host as one may meet it, and before a daemon that is not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.browser import Browser, unavailable
from tests.gateway.client import LiveGateway, fake_application, serving
from tests.gateway.page.crowd import Crowd
from tests.gateway.page.scene import CONFIG, play
from tests.harness import Client, LiveDaemon, free_port

Show = Callable[..., str]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One for all tests."""
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="rdagentd-", ignore_cleanup_errors=True) as directory:
        browser = Browser(Path(directory) / "profile")
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Browser, request: pytest.FixtureRequest) -> Browser:
    """A fresh page."""
    chromium.new()
    return chromium


@pytest.fixture(scope="module")
def scene_daemon() -> Iterator[LiveDaemon]:
    """A daemon with the workers of the scene."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as directory:
        (Path(directory) / "rdagentd.toml").write_text(CONFIG)
        live = LiveDaemon(Path(directory))
        try:
            client = live.start("--config", f"{directory}/rdagentd.toml")
            assert client is not None
            programs = Path(directory) / "bin"
            programs.mkdir()
            play(client, programs)
            yield live
        finally:
            live.close()


@pytest.fixture(scope="module")
def scene(scene_daemon: LiveDaemon) -> Iterator[LiveGateway]:
    """The gateway before it."""
    with tempfile.TemporaryDirectory(prefix="rdagentd-") as directory:
        live = LiveGateway(Path(directory), scene_daemon.socket)
        try:
            live.start(f'anonymous = "operate"\nport = {free_port()}\n')  # a test starts it again, on the same one
            yield live
        finally:
            live.close()


@pytest.fixture
def daemon_client(scene_daemon: LiveDaemon) -> Iterator[Client]:
    """A client of the scene's daemon."""
    client = Client(scene_daemon.socket)
    yield client
    client.close()


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """`show(crowd, "#/…")` opens the page before these workers; returns its URL once the list is there."""
    with contextlib.ExitStack() as stack:

        def start(crowd: Crowd, place: str = "", anonymous: str = "operate", **config: Any) -> str:
            app = partial(fake_application, crowd, tmp_path, anonymous=anonymous, **config)  # type: ignore[arg-type]
            url = stack.enter_context(serving(app))
            browser.open(f"{url}{place}")
            browser.until("document.querySelector('.rows .row, .empty:not([hidden])')")
            return url

        yield start
        browser.send("Page.navigate", url="about:blank")  # hangs up before the server ends
