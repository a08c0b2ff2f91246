"""How it looks and reads: themes, a phone, contrast, roles, nothing that jumps, nothing from elsewhere; the pictures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.gateway.browser import Browser
from tests.gateway.client import LiveGateway
from tests.gateway.page.conftest import Show
from tests.gateway.page.crowd import Crowd, many, row

IMAGES = Path(__file__).parents[3] / "docs" / "images"
WRITE = os.environ.get("RDAGENTD_WRITE_IMAGES") == "1"
POINTS = 60 if WRITE else 3
"""Points in a plot before a picture is taken; there are two seconds between two."""

PLACES = ("#/", "#/worker/rd-agent-kaggle", "#/worker/rd-agent-kaggle/log", "#/worker/ralph-api/story",
          "#/worker/tradingagents-aapl/runs", "#/worker/rd-agent-kaggle/spec", "#/host")  # fmt: skip

CONTRASTS = """
(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const part = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = `${element.tagName}.${element.className} ${node.data.trim().slice(0, 20)}`;
    if (ratio < 4.5) found[name] = ratio.toFixed(2);
  }
  return found;
})()
"""
"""Texts with less contrast than WCAG 2.2, 1.4.3 (AA) wants."""

NAMELESS = """
[...document.querySelectorAll("button, input, select, section, [role=grid], [role=tabpanel], [role=log], [role=tablist]")]
  .filter((e) => e.checkVisibility())
  .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.title
    || document.getElementById(e.getAttribute("aria-labelledby"))?.textContent))
  .map((e) => e.outerHTML.slice(0, 120))
"""

WIDER = "document.documentElement.scrollWidth > innerWidth"


def settled(browser: Browser) -> None:
    browser.until(
        "document.querySelectorAll('.rows .row').length > 5 && /%/.test(document.querySelector('.tile b').textContent)"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_contrast_and_every_control_a_name(browser: Browser, scene: LiveGateway, dark: bool) -> None:
    browser.media("dark" if dark else "light")
    browser.open(scene.url)
    settled(browser)
    for place in PLACES:
        browser.eval(f"location.hash = '{place}'")
        browser.until("[...document.querySelectorAll('.panel')].every((e) => e.hidden || e.textContent.length > 40)")
        assert browser.eval(CONTRASTS) == {}, place
        assert browser.eval(NAMELESS) == [], place
        assert not browser.eval(WIDER), place
    browser.eval("location.hash = '#/worker/rd-agent-kaggle'")
    browser.click("[data-op=kill]")
    browser.until("document.querySelector('#confirm').open")
    assert browser.eval(CONTRASTS) == {}


def test_roles_of_a_grid_are_complete(browser: Browser, show: Show) -> None:
    show(Crowd(many(40)))
    roles = "[...document.querySelectorAll('%s')].every((e) => e.getAttribute('role') === '%s')"
    assert browser.eval(roles % ("#list .row", "row")) and browser.eval(roles % (".rows .row > *", "gridcell"))
    assert browser.eval(roles % (".head > *", "columnheader"))
    tree = browser.send("Accessibility.getFullAXTree")["nodes"]
    told = {node["role"]["value"] for node in tree if not node.get("ignored")}
    assert {"grid", "row", "gridcell", "columnheader", "searchbox", "heading", "main", "banner", "search"} <= told


def test_the_switch_is_kept_and_the_system_followed_until_then(browser: Browser, show: Show) -> None:
    url = show(Crowd([row("a")]))
    theme = "document.documentElement.dataset.theme"
    assert browser.eval(theme) == "light"
    browser.media("dark")
    browser.until(f"{theme} === 'dark'")
    browser.click("#theme")
    assert browser.eval(theme) == "light"
    browser.open("about:blank")
    browser.open(url)
    assert browser.eval(theme) == "light", "against the system, by choice"
    browser.click("#theme")
    browser.media("light")
    browser.until(f"{theme} === 'light'")


def test_nothing_moves_for_who_does_not_want_it(browser: Browser, show: Show) -> None:
    browser.media(motion="reduce")
    show(Crowd([row("a", "starting"), row("b", "stopping")]))
    assert browser.eval("document.getAnimations().length") == 0
    browser.media(motion="no-preference")
    browser.until("document.getAnimations().length > 0")


def test_nothing_jumps_while_it_loads_and_lives(browser: Browser, show: Show) -> None:
    note = "(list) => window.shifts.push(...list.getEntries().map((e) => e.value))"
    watch = f"window.shifts = []; new PerformanceObserver({note}).observe({{ type: 'layout-shift', buffered: true }})"
    browser.send("Page.addScriptToEvaluateOnNewDocument", source=watch)
    crowd = Crowd(many(200))
    show(crowd)
    settled(browser)
    for number in range(0, 40, 8):
        crowd.put(row(f"agent-{number:04}", "failed"))
    browser.until("document.querySelector('.chip.failed .number').textContent === '30'")
    crowd.leave()
    browser.until("document.querySelector('#banner').checkVisibility()")
    crowd.gone = False
    browser.until("!document.querySelector('#banner').checkVisibility()")
    shifts = browser.eval("window.shifts")
    print(f"layout shifts: {shifts}")
    assert sum(shifts) < 0.02, "what good pages have is 0.1 (web.dev/cls)"


def test_it_fits_a_phone(browser: Browser, scene: LiveGateway) -> None:
    browser.resize(390, 844, phone=True)
    browser.open(scene.url)
    settled(browser)
    for place in PLACES:
        browser.eval(f"location.hash = '{place}'")
        browser.until("[...document.querySelectorAll('.panel')].every((e) => e.hidden || e.textContent.length > 40)")
        assert not browser.eval(WIDER), place
        small = browser.eval(
            "[...document.querySelectorAll('button, select, input')].filter((e) => e.checkVisibility() && !e.matches('.small'))"
            ".filter((e) => e.getBoundingClientRect().height < 34).map((e) => e.outerHTML.slice(0, 90))"
        )
        assert small == [], f"{place}: too small for a finger"
    browser.eval("location.hash = '#/worker/astron-api'")
    browser.until("!document.querySelector('main').checkVisibility()")
    browser.click("#worker .close")
    browser.until("document.querySelector('main').checkVisibility()")


def test_all_that_it_needs_comes_from_here(browser: Browser, scene: LiveGateway) -> None:
    browser.open(scene.url)
    settled(browser)
    for place in PLACES:
        browser.eval(f"location.hash = '{place}'")
    browser.until("performance.getEntriesByType('resource').some((r) => r.name.includes('/api/v1/show'))")
    assert browser.requests and all(url.startswith(scene.url) for url in browser.requests)
    assert browser.errors == []


@pytest.mark.timeout(600)
def test_pictures_of_it(browser: Browser, scene: LiveGateway) -> None:
    """With RDAGENTD_WRITE_IMAGES=1 they are those of the documents. They look best with fonts-inter installed."""
    browser.open(scene.url)
    settled(browser)
    points = "(document.querySelector('%s .line').getAttribute('d').match(/[ML]/g) ?? []).length"
    browser.until(f"{points % '#row-astron-api .plot.cpu'} >= {POINTS}", timeout=400)

    def picture(name: str) -> None:
        browser.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        browser.until("document.getAnimations().length === 0")
        if WRITE:
            browser.screenshot(IMAGES / f"page-{name}.png")

    picture("light")
    browser.media("dark")
    picture("dark")
    browser.media("light")
    browser.eval("location.hash = '#/worker/rd-agent-kaggle/log'")
    browser.until("document.querySelectorAll('.lines .block > div').length > 30")
    picture("log")
    browser.media("dark")
    browser.eval("location.hash = '#/worker/rd-agent-kaggle'")
    browser.until("document.querySelector('.meters .gauge') && document.querySelector('.why p')")
    picture("worker")
    browser.media("light")
    browser.resize(390, 844, phone=True)
    browser.eval("location.hash = '#/'")
    browser.until("document.querySelector('#row-astron-api')")
    picture("phone")
    assert browser.errors == []
