"""One worker: its views, its buttons, what they say came of it."""

from __future__ import annotations

import threading

import pytest

from tests.gateway.browser import Browser
from tests.gateway.client import LiveGateway
from tests.gateway.page.conftest import Show
from tests.gateway.page.crowd import BEGAN, Crowd, row
from tests.harness import Client, eventually

OPS = "[...document.querySelectorAll('.actions button')].map((e) => e.dataset.op).join(' ')"


def buttons(browser: Browser, expected: str) -> None:
    browser.until(f"{OPS} === '{expected}'")


def test_its_story_runs_spec_and_why_are_told(browser: Browser, scene: LiveGateway) -> None:
    browser.open(f"{scene.url}#/worker/tradingagents-aapl")
    browser.until("document.querySelector('.why p')?.textContent.includes('has failed: exited with code 3')")
    assert "rdagentctl start tradingagents-aapl" in browser.texts(".why code")
    assert browser.eval("document.querySelector('.facts code').textContent") == "tradingagents --ticker AAPL"
    browser.click("#tab-story")
    browser.until("document.querySelectorAll('.story li').length >= 4")
    told = browser.texts(".story li .text")
    assert "exited with code 3" in told[0] and told[-1].startswith("submitted")
    browser.click("#tab-runs")
    browser.until("document.querySelectorAll('.runs tbody tr').length === 1")
    assert browser.texts(".runs tbody th") == ["exited with code 3"]
    browser.click(".runs button")
    browser.until("document.querySelector('.lines')?.textContent.includes('KeyError: ')")
    browser.click("#tab-spec")
    browser.until("document.querySelector('.spec pre')?.textContent.includes('labels.team = \"quant\"')")
    assert browser.errors == []


def test_what_it_uses_is_shown_against_its_limits(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a"), row("b")])
    crowd.spec |= {"limits": {"memory": 64 << 20, "tasks": 3, "cpu": 2}, "state": {"quota": 64 << 20}}
    show(crowd, "#/worker/b")
    plotted = "document.querySelector('.plots .cpu .line').getAttribute('d')"
    browser.until(f"document.querySelectorAll('.meters .gauge').length === 4 && {plotted}")
    assert browser.eval("document.querySelector('.gauge .full').parentElement.getAttribute('aria-valuenow')") == "100"
    told = dict(zip(browser.texts(".meter .what"), browser.texts(".meter .told"), strict=True))
    assert told["State"] == "48M of 64M" and told["Tasks"] == "3 of 3" and told["Memory"].endswith("M of 64M")
    assert told["CPU"].endswith("of 2.00 CPUs") and told["Log"] == "100"


def test_values_of_the_environment_are_not_shown(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    crowd.spec |= {"environment": {"OPENAI_API_KEY": "sk-very-secret"}}
    show(crowd, "#/worker/a/spec")
    browser.until("document.querySelector('.spec pre')?.textContent.includes('environment.OPENAI_API_KEY = …')")
    assert "sk-very-secret" not in browser.eval("document.documentElement.outerHTML")


def test_buttons_do_what_they_say_on_a_real_worker_and_tell_it(
    browser: Browser, scene: LiveGateway, daemon_client: Client
) -> None:
    browser.open(f"{scene.url}#/worker/astron-console")
    buttons(browser, "pause restart stop kill")
    browser.click("[data-op=pause]")
    browser.until("document.querySelector('#notes').textContent.startsWith('astron-console is paused')")
    assert daemon_client.worker("astron-console")["state"] == "paused"
    buttons(browser, "resume restart stop kill")
    browser.click("[data-op=resume]")
    buttons(browser, "pause restart stop kill")
    before = daemon_client.worker("astron-console")["run"]["id"]
    browser.click("[data-op=restart]")
    after = eventually(lambda: running_after(daemon_client, before), "it to run anew")
    browser.until(f"document.querySelector('.facts')?.textContent.includes('{after}, process')")
    browser.until("document.querySelector('.facts').textContent.includes('Attempt1')")
    buttons(browser, "pause restart stop kill")
    browser.click("[data-op=stop]")
    browser.until("document.querySelector('#confirm').open")
    assert browser.eval("document.activeElement.textContent") == "Cancel", "Enter must not stop anything"
    browser.press("Escape")
    browser.until("!document.querySelector('#confirm').open")
    assert daemon_client.worker("astron-console")["want"] == "up"
    browser.click("[data-op=kill]")
    browser.until("document.querySelector('#confirm h2').textContent === 'Kill astron-console?'")
    browser.click("#confirm [value=yes]")
    buttons(browser, "start")
    assert daemon_client.worker("astron-console")["exit"]["signal"] == "SIGKILL"
    browser.click("[data-op=start]")
    buttons(browser, "pause restart stop kill")
    assert browser.errors == []


def running_after(client: Client, before: str) -> str | None:
    """Id of the run after that one, once it is running: what is pressed before is for a worker that waits."""
    row = client.worker("astron-console")
    return str(row["run"]["id"]) if row["state"] == "running" and row["run"]["id"] != before else None


def test_what_went_wrong_is_said_and_stays(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    show(crowd, "#/worker/a")
    buttons(browser, "pause restart stop kill")
    del crowd.rows["a"]  # without a word: the daemon says so when it is asked
    browser.click("[data-op=pause]")
    browser.until("document.querySelector('#errors').textContent.includes('cannot find worker')")
    browser.click("#errors button")
    browser.until("document.querySelector('#errors').textContent === ''")


@pytest.mark.parametrize(
    ("role", "owner", "anonymous", "expected"),
    [
        ("admin", 0, "operate", "pause restart stop kill"),
        ("operator", 1000, "operate", "pause restart stop kill"),  # we are uid 1000 there
        ("operator", 1001, "operate", ""),
        ("viewer", 1000, "operate", ""),
        ("admin", 0, "view", ""),  # the gateway may, who looks may not
    ],
)
def test_there_are_buttons_only_where_they_can_work(
    browser: Browser, show: Show, role: str, owner: int, anonymous: str, expected: str
) -> None:
    crowd = Crowd([row("a", owner=owner)], role)
    crowd.sentences = ["known"]
    show(crowd, "#/worker/a", anonymous)
    asked = "performance.getEntriesByType('resource').some((r) => r.name.endsWith('/whoami'))"
    browser.until(f"document.querySelector('.why')?.textContent === 'known' && {asked}")
    buttons(browser, expected)


def test_the_token_in_the_address_gives_the_buttons(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    url = show(crowd, "#/worker/a", "view", tokens=("a-token-of-enough-letters",))
    buttons(browser, "")
    browser.open(f"{url}?token=a-token-of-enough-letters")
    browser.click("#row-a")
    buttons(browser, "pause restart stop kill")
    assert "token" not in browser.eval("location.href")
    browser.click("[data-op=pause]")
    browser.until("document.querySelector('#notes').textContent.startsWith('a is')")
    assert crowd.calls == [("pause", "a")]


def test_a_worker_that_does_not_exist_is_told_as_such(browser: Browser, show: Show) -> None:
    show(Crowd([row("a")]), "#/worker/nobody")
    browser.until("document.querySelector('.panel .reason').textContent === 'there is no such worker'")
    buttons(browser, "")


def test_the_story_goes_on(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    asked = {"seq": 1, "worker": "a", "run": None, "at": BEGAN, "kind": "asked", "text": "<i>stop</i>", "by": 0}
    crowd.story = [asked]
    show(crowd, "#/worker/a/story")
    browser.until("document.querySelectorAll('.story li').length === 1")
    eventually(lambda: len(crowd._followers) == 3, "the story to be followed, beside the list and the traces")
    crowd.put(row("a", "paused"))
    browser.until("document.querySelectorAll('.story li').length === 2")
    assert browser.texts(".story .text") == ["changed", "<i>stop</i> by uid 0"]


def test_nothing_moves_away_from_under_the_mouse_when_it_is_known_who_we_are(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    crowd.held["whoami"] = threading.Event()
    show(crowd, "#/worker/a")
    browser.until("document.querySelector('.panel .state b').textContent === 'running'")
    tabs = "document.querySelector('.tabs').getBoundingClientRect().y"
    before = browser.eval(tabs)
    crowd.held["whoami"].set()
    buttons(browser, "pause restart stop kill")
    assert browser.eval(tabs) == before


def test_tabs_move_by_arrows_and_are_told_to_readers(browser: Browser, show: Show) -> None:
    show(Crowd([row("a")]), "#/worker/a")
    browser.click("#tab-overview")
    browser.press("ArrowRight")
    browser.until("document.activeElement.id === 'tab-log' && location.hash === '#/worker/a/log'")
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    browser.until("document.activeElement.id === 'tab-spec'")
    assert browser.eval("document.querySelector('#view-spec').checkVisibility()")
    assert browser.eval("document.querySelectorAll('[role=tab][tabindex=\"0\"]').length") == 1
