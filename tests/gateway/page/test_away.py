"""Daemon or gateway are away: that is told, what was known stays, and it goes on by itself."""

from __future__ import annotations

from tests.gateway.browser import Browser
from tests.gateway.client import LiveGateway
from tests.gateway.page.conftest import Show
from tests.gateway.page.crowd import Crowd, row
from tests.harness import LiveDaemon

BANNER = "document.querySelector('#banner').checkVisibility() && document.querySelector('#banner').textContent"


def test_a_daemon_that_is_killed_is_told_and_its_return_needs_nobody(
    browser: Browser, scene: LiveGateway, scene_daemon: LiveDaemon
) -> None:
    browser.open(f"{scene.url}#/worker/astron-api")
    browser.until("document.querySelector('#row-astron-api .number').textContent")
    scene_daemon.kill()
    browser.until(f"({BANNER} || '').startsWith('rdagentd does not answer')")
    assert browser.eval("document.querySelectorAll('.rows .row').length") > 5, "what was known stays"
    client = scene_daemon.start("--config", str(scene_daemon.state.parent / "rdagentd.toml"))
    assert client is not None
    browser.until("!document.querySelector('#banner').checkVisibility()")
    client.verb("pause", "astron-api")
    browser.until("document.querySelector('#row-astron-api').dataset.state === 'paused'")
    client.verb("resume", "astron-api")
    browser.until("document.querySelector('#row-astron-api').dataset.state === 'running'")
    assert browser.eval("performance.getEntriesByType('navigation').length") == 1, "nobody has loaded it again"


def test_a_gateway_that_is_restarted_likewise(browser: Browser, scene: LiveGateway) -> None:
    port = scene.url.rstrip("/").rpartition(":")[2]
    browser.open(scene.url)
    browser.until("document.querySelectorAll('.rows .row').length > 5")
    browser.eval("window.same = true")
    scene.close()
    browser.until(f"({BANNER} || '').startsWith('The gateway cannot be reached')")
    scene.start(f'anonymous = "operate"\nport = {port}\n')
    browser.until("!document.querySelector('#banner').checkVisibility()")
    assert browser.eval("window.same") is True


def test_a_page_that_is_opened_while_the_daemon_is_away_comes_to_life_with_it(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    url = show(crowd)
    crowd.leave()
    browser.open("about:blank")
    browser.open(url)
    browser.until(f"({BANNER} || '').startsWith('rdagentd does not answer')")
    crowd.gone = False
    browser.until("document.querySelector('#row-a') && !document.querySelector('#banner').checkVisibility()")
