"""The list of workers: what it shows, filter, order, keyboard, the address."""

from __future__ import annotations

from typing import Any

from tests.gateway.browser import Browser
from tests.gateway.client import LiveGateway
from tests.gateway.page.conftest import Show
from tests.gateway.page.crowd import Crowd, many, row
from tests.gateway.page.scene import AT_LAST
from tests.harness import Client

NAMES = ".rows .row .name .label"
FEW = [
    row("alpha"),
    row("beta", "failed"),
    row("gamma", "paused", group="gpu"),
    row("delta", "stopped", labels={"team": "docs"}),
]


def names(browser: Browser) -> list[str]:
    return browser.texts(NAMES)


def shows(browser: Browser, *expected: str) -> None:
    """Waits until these are there, in this order; of those out of sight one knows nothing."""
    by_place = "(a, b) => a.getBoundingClientRect().y - b.getBoundingClientRect().y"
    seen = f"[...document.querySelectorAll('{NAMES}')].sort({by_place})"
    browser.until(f"{seen}.map((e) => e.textContent).join(' ') === '{' '.join(expected)}'")


def test_every_worker_of_a_real_host_is_there_with_its_state_and_why(browser: Browser, scene: LiveGateway) -> None:
    browser.open(scene.url)
    browser.until(f"document.querySelectorAll('.rows .row').length === {len(AT_LAST)}")
    shown = dict(zip(names(browser), browser.texts(".rows .row .state span"), strict=True))
    assert shown == AT_LAST
    details = dict(zip(names(browser), browser.texts(".rows .row .detail"), strict=True))
    assert "exited with code 3" in details["tradingagents-aapl"]
    assert "waits for a slot of group gpu (1 of 1 taken" in details["finetune-qwen"]
    assert details["astron-api"] == "astron serve --port 17870 9000"
    browser.until("/[0-9]%/.test(document.querySelector('#row-astron-api .cpu .number').textContent)")
    assert browser.eval("document.querySelector('#row-astron-api .memory .number').textContent").endswith("M")
    assert browser.eval("document.querySelector('#row-astron-api .plot.memory .line').getAttribute('d').length") > 0
    browser.until("document.querySelector('.tile b').textContent.endsWith('%')")
    assert browser.eval("document.querySelector('.tile.queue b').textContent") == "2"
    assert browser.errors == []


def test_a_change_of_a_worker_is_seen_at_once(browser: Browser, scene: LiveGateway, daemon_client: Client) -> None:
    browser.open(scene.url)
    browser.until("document.querySelector('#row-astron-console')?.dataset.state === 'running'")
    daemon_client.verb("pause", "astron-console")
    browser.until("document.querySelector('#row-astron-console')?.dataset.state === 'paused'")
    daemon_client.verb("resume", "astron-console")
    browser.until("document.querySelector('#row-astron-console')?.dataset.state === 'running'")


def test_workers_that_come_and_go_come_and_go(browser: Browser, show: Show) -> None:
    crowd = Crowd(FEW)
    show(crowd)
    shows(browser, "beta", "gamma", "alpha", "delta")
    crowd.put(row("omega", "failed"))
    shows(browser, "beta", "omega", "gamma", "alpha", "delta")
    crowd.drop("beta")
    shows(browser, "omega", "gamma", "alpha", "delta")


def test_words_states_group_and_label_filter_and_stand_in_the_address(browser: Browser, show: Show) -> None:
    show(Crowd(FEW))
    browser.press("/")
    browser.type("AGENT.py alp")  # words in any order, in the command too
    shows(browser, "alpha")
    assert browser.eval("location.hash") == "#/?q=AGENT.py+alp"
    browser.eval("location.hash = '#/'")
    shows(browser, "beta", "gamma", "alpha", "delta")
    browser.click(".chip.failed")
    browser.click(".chip.paused")
    shows(browser, "beta", "gamma")
    assert browser.eval("document.querySelector('.chip.paused').getAttribute('aria-pressed')") == "true"
    browser.click(".chip.failed")
    shows(browser, "gamma")
    browser.eval("location.hash = '#/?group=gpu'")
    shows(browser, "gamma")
    browser.eval("location.hash = '#/?label=team%3Ddocs'")
    shows(browser, "delta")
    assert browser.eval("document.querySelector('select.label').value") == "team=docs"
    browser.eval("location.hash = '#/?q=nothing+like+it'")
    browser.until("document.querySelector('.empty').textContent === 'No worker is like that.'")
    assert browser.errors == []


def test_an_address_opens_what_it_says(browser: Browser, show: Show) -> None:
    show(Crowd(FEW), "#/worker/gamma/story?state=paused,stopped&sort=-name")
    shows(browser, "gamma", "delta")
    assert browser.eval("document.querySelector('#worker h2').textContent") == "gamma"
    assert browser.eval("document.querySelector('[role=tab][aria-selected=true]').textContent") == "Story"


def test_a_column_sorts_and_again_turns_round(browser: Browser, show: Show) -> None:
    rows = [row("a", restarts=3), row("b", "failed", restarts=11), row("c", restarts=1)]
    show(Crowd(rows))
    shows(browser, "b", "a", "c")
    browser.click(".head .restarts button")
    browser.until("document.querySelector('.head .restarts').getAttribute('aria-sort') === 'descending'")
    shows(browser, "b", "a", "c")
    browser.click(".head .restarts button")
    shows(browser, "c", "a", "b")
    browser.click(".head .name button")
    shows(browser, "a", "b", "c")
    browser.click(".head .name button")
    shows(browser, "c", "b", "a")
    assert browser.eval("location.hash") == "#/?sort=-name"


def test_cpu_sorts_by_what_is_used_now(browser: Browser, show: Show) -> None:
    show(Crowd([row(name) for name in "abcd"]), "#/?sort=cpu")
    shows(browser, "d", "c", "b", "a")  # the crowd's usage grows with the place


def test_the_keyboard_is_enough(browser: Browser, show: Show) -> None:
    show(Crowd(FEW))
    browser.press("j")
    browser.press("j")
    browser.press("k")
    browser.press("j")
    browser.until("document.querySelector('.row.active')?.dataset.name === 'gamma'")
    browser.click("#list .head")  # the list has the focus: a screen reader is told which row is meant
    browser.until("document.querySelector('#list').getAttribute('aria-activedescendant') === 'row-gamma'")
    browser.press("Enter")
    browser.until("document.querySelector('#worker h2')?.textContent === 'gamma'")
    browser.press("j")
    browser.until("document.querySelector('#worker h2')?.textContent === 'alpha'")
    browser.press("Escape")
    browser.until("document.querySelector('#worker').hidden && location.hash === '#/'")
    browser.press("?", shift=True)
    browser.until("document.querySelector('#keys').open")
    browser.press("Escape")
    browser.until("!document.querySelector('#keys').open")
    browser.press("/")
    browser.until("document.activeElement.id === 'search'")
    browser.type("j?/")  # letters are letters where somebody types
    assert browser.eval("document.querySelector('#search').value") == "j?/"
    browser.press("Escape")
    browser.until("document.activeElement.id === 'list'")
    assert browser.errors == []


def test_back_goes_where_one_was(browser: Browser, show: Show) -> None:
    show(Crowd(FEW), "#/?q=a")
    browser.click("#row-alpha")
    browser.until("location.hash === '#/worker/alpha?q=a'")
    browser.click("#tab-spec")
    browser.until("location.hash === '#/worker/alpha/spec?q=a'")
    browser.eval("history.back()")
    browser.until("document.querySelector('[role=tab][aria-selected=true]').textContent === 'Overview'")
    browser.eval("history.back()")
    browser.until("document.querySelector('#worker').hidden && document.querySelector('#search').value === 'a'")


def test_columns_stay_away_while_nobody_has_them(browser: Browser, show: Show) -> None:
    crowd = Crowd(FEW)
    show(crowd)
    headings = browser.texts(".head .cell")
    assert headings == ["State", "Name", "Reason", "CPU", "Memory", "Restarts", "Time"]
    crowd.put(row("rich", health="healthy", progress=0.42, cost_usd=12.5))
    browser.until(
        "document.querySelectorAll('.head .cell').length === 10 && document.querySelector('#row-rich .cell.cost')"
    )
    assert browser.texts(".head .cell")[3:6] == ["Health", "Progress", "Cost"]
    cells = [browser.texts(f"#row-rich .{key}") for key in ("cell.health", "cell.progress", "cell.cost")]
    assert cells == [["healthy"], ["42%"], ["$12.50"]]


def test_an_empty_host_says_how_to_begin(browser: Browser, show: Show) -> None:
    show(Crowd([]))
    browser.until("document.querySelector('.empty').textContent.includes('rdagentctl submit')")


def test_the_host_tells_what_holds_the_queue(browser: Browser, show: Show) -> None:
    waits: dict[str, Any] = {"reason": {"code": "pressure", "text": "waits: programs of this host wait for memory"}}
    show(Crowd([row("a", "queued", **waits), row("b", "queued", **waits), row("c", group="gpu")]))
    browser.until("document.querySelector('.tile .note').textContent === 'held: memory'")
    tiles = browser.texts(".tile b")
    assert tiles == ["42%", "95%", "12%", "2"]
    browser.click("button.host")
    browser.until("document.querySelectorAll('.groups tbody tr').length === 2")
    assert browser.texts(".groups tbody tr") == ["default0unlimited2", "gpu120"]
    assert browser.texts(".waits li") == ["2 workers · a waits: programs of this host wait for memory"]
    assert browser.eval("location.hash") == "#/host"
    browser.press("Escape")
    browser.until("document.querySelector('#hostview').hidden")


def test_what_is_out_of_sight_does_not_exist_and_is_there_when_one_scrolls(browser: Browser, show: Show) -> None:
    show(Crowd(many(500)), "#/?sort=name")
    browser.until("document.querySelector('#row-agent-0000')")
    assert browser.eval("document.querySelectorAll('.rows .row').length") < 60
    assert browser.eval("document.querySelector('#list').getAttribute('aria-rowcount')") == "501"
    browser.eval("document.querySelector('#list').scrollTop = 1e9")
    browser.until("document.querySelector('#row-agent-0499')?.getAttribute('aria-rowindex') === '501'")
    order = "[...document.querySelectorAll('.rows .row')].map((e) => e.dataset.name).join()"
    browser.until(f"{order} === {order}.split(',').sort().join()")  # so it is read aloud
