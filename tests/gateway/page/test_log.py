"""The log: last lines, live, search, follow until one scrolls up; whatever an agent prints is text."""

from __future__ import annotations

from tests.gateway.browser import Browser
from tests.gateway.client import LiveGateway
from tests.gateway.page.conftest import Show
from tests.gateway.page.crowd import Crowd, row
from tests.gateway.page.scene import HOSTILE
from tests.harness import Client, eventually

LINES = "[...document.querySelectorAll('.lines .block > div')].map((e) => e.textContent)"
AT_END = (
    "(() => { const l = document.querySelector('.log'); return l.scrollHeight - l.scrollTop - l.clientHeight < 3; })()"
)


def piece(offset: int, text: str) -> dict[str, object]:
    return {"offset": offset, "time": None, "data": text.encode()}


def test_a_real_log_comes_live_and_follows_until_one_scrolls_up(browser: Browser, scene: LiveGateway) -> None:
    browser.open(f"{scene.url}#/worker/rd-agent-kaggle/log")
    browser.until(f"{LINES}.length > 60 && {AT_END}")
    assert browser.eval("getComputedStyle(document.querySelector('.lines .ansi-2')).color") == "rgb(21, 112, 63)"
    last = browser.eval(f"{LINES}.length")
    browser.until(f"{LINES}.length > {last} && {AT_END}")  # new lines came, and it is still at the end
    browser.eval("document.querySelector('.log').scrollTop = 40")
    browser.until("!document.querySelector('.jump').hidden")
    last = browser.eval(f"{LINES}.length")
    browser.until(f"{LINES}.length > {last}")
    assert browser.eval("document.querySelector('.log').scrollTop") == 40
    browser.click(".jump")
    browser.until(f"{AT_END} && document.querySelector('.jump').hidden")
    assert browser.errors == []


def test_a_log_that_has_ended_says_so(browser: Browser, scene: LiveGateway) -> None:
    browser.open(f"{scene.url}#/worker/tradingagents-nvda/log")
    browser.until("document.querySelector('.logbar .told').textContent === 'ended'")
    browser.until(f"{LINES}.length")  # drawn in the next frame
    assert browser.eval(LINES) == ["BUY"]


def test_search_counts_paints_and_steps(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    crowd.log = [
        piece(0, "".join(f"line {number} {'Error' if number % 50 == 7 else 'fine'}\n" for number in range(400)))
    ]
    show(crowd, "#/worker/a/log")
    browser.until(f"{LINES}.length === 400")
    browser.click(".logbar input")
    browser.type("error")
    browser.until("document.querySelector('.found').textContent === '8 lines'")
    assert browser.eval("CSS.highlights.get('found').size") == 8
    browser.press("Enter")
    browser.until("document.querySelector('.found').textContent === '8 of 8'")
    browser.press("Enter")
    browser.until("document.querySelector('.found').textContent === '7 of 8'")
    assert browser.eval("[...CSS.highlights.get('current')].map(String)") == ["Error"]
    top = browser.eval("[...CSS.highlights.get('current')][0].getBoundingClientRect().top")
    assert 0 < top < 900 and not browser.eval(AT_END)
    browser.press("Enter", shift=True)
    browser.until("document.querySelector('.found').textContent === '8 of 8'")
    browser.eval("document.querySelector('.logbar input').select()")
    browser.type("nowhere")
    browser.until("document.querySelector('.found').textContent === 'none'")


def test_lines_come_whole_whatever_pieces_they_came_in(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    texts = ["one\ntw", "o\n\nfo\x1b[3", "1mur\nfive\x1b[0m six\n10%\r55%\r100%\nta\tb\x07\x00!\n"]
    texts += ["\x1b]0;title\x07seven\x1b[2K\n", "no end"]
    offset = 0
    for text in texts:
        crowd.log.append(piece(offset, text))
        offset += len(text.encode())
    show(crowd, "#/worker/a/log")
    browser.until(f"{LINES}.at(-1) === 'no end'")
    assert browser.eval(LINES) == ["one", "two", "", "four", "five six", "100%", "ta\tb!", "seven", "no end"]
    assert browser.texts(".lines .ansi-1") == ["ur", "five"], "a colour goes on over the end of a line"


def test_bytes_that_are_gone_are_told_where_they_were(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    crowd.log = [piece(0, "before\n"), {"offset": 5000, "dropped": 4993}, piece(5000, "after\n")]
    show(crowd, "#/worker/a/log")
    browser.until(f"{LINES}.length === 3")
    assert browser.eval(LINES) == ["before", "4.9K of output are not kept any more", "after"]


def test_hostile_output_names_and_reasons_are_text(browser: Browser, show: Show) -> None:
    evil = {"reason": {"code": "x", "text": HOSTILE}, "labels": {"<b>k</b>": HOSTILE}, "group": "<u>g</u>"}
    evil["command"] = ["sh", HOSTILE]
    crowd = Crowd([row("a"), row("<img src=x onerror=alert(3)>", "failed", **evil)])
    crowd.log = [piece(0, f"{HOSTILE}\n</div><script>alert(4)</script>\n")]
    crowd.sentences = [HOSTILE]
    crowd.story = [
        {"seq": 1, "worker": "a", "run": None, "at": 1.79e9, "kind": HOSTILE, "text": HOSTILE, "by": 0, "data": {}}
    ]
    crowd.spec |= {"labels": {HOSTILE: HOSTILE}}
    show(crowd, "#/worker/%3Cimg%20src%3Dx%20onerror%3Dalert(3)%3E/log")
    browser.until(f"{LINES}.length === 2")
    assert browser.eval(LINES)[1] == "</div><script>alert(4)</script>"
    assert "\u202e" not in browser.eval("document.querySelector('.row.active .detail').textContent")
    for tab in ("overview", "story", "runs", "spec"):
        browser.click(f"#tab-{tab}")
        browser.until("document.querySelector('.view:not([hidden])').textContent")
    made = "main img, main script, main b, main u, .panel img, .panel script"
    assert browser.eval(f"document.querySelectorAll('{made}').length") == 0
    assert browser.errors == []


def test_hostile_output_of_a_real_worker_is_text(browser: Browser, scene: LiveGateway, daemon_client: Client) -> None:
    daemon_client.submit("shouter", "printf", "%s\\n", HOSTILE)
    browser.open(f"{scene.url}#/worker/shouter/log")
    browser.until(f"{LINES}.length === 1")
    assert browser.eval(LINES) == [HOSTILE.replace("\x1b[31m", "").replace("\x1b[0m", "")]
    assert browser.eval("document.querySelectorAll('.lines img, .lines script').length") == 0
    daemon_client.verb("remove", "shouter", force=True)
    browser.until("!document.querySelector('#row-shouter')")


def test_a_page_nobody_sees_holds_no_connection_and_goes_on_where_it_was(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    crowd.log = [piece(0, "one\n"), piece(4, "two\n")]
    show(crowd, "#/worker/a/log")
    browser.until(f"{LINES}.length === 2 && document.querySelector('.logbar .told').textContent === 'live'")
    followers = crowd._followers
    hide = "Object.defineProperty(document, 'hidden', { value: %s, configurable: true })"
    hide += ", document.dispatchEvent(new Event('visibilitychange'))"
    browser.eval(hide % "true")
    eventually(lambda: len(followers) == 1, "the gateway to follow for itself alone, for RD-Agent's API")
    crowd.log.append(piece(8, "three\n"))
    browser.eval(hide % "false")
    browser.until(f"{LINES}.length === 3")
    assert browser.eval(LINES) == ["one", "two", "three"]


def test_a_hundred_thousand_lines_are_bounded(browser: Browser, show: Show) -> None:
    crowd = Crowd([row("a")])
    text = "".join(f"line {number}\n" for number in range(1000))
    crowd.log = [piece(number * len(text), text) for number in range(100)]
    show(crowd, "#/worker/a/log")
    browser.until(f"document.querySelectorAll('.lines .block > div').length >= 19900 && {LINES}.at(-1) === 'line 999'")
    assert browser.eval("document.querySelectorAll('.lines .block > div').length") <= 20_000
