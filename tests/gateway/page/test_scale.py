"""A thousand workers: filter and scrolling are measured and printed; what must hold is that few rows exist, and right ones."""

from __future__ import annotations

import json

from tests.gateway.browser import Browser
from tests.gateway.page.conftest import Show
from tests.gateway.page.crowd import Crowd, many, row

COUNT = 1000

FILTER = """
(async () => {
  const input = document.querySelector("#search");
  const took = [];
  for (const words of ["a", "ag", "age", "agent-07", "agent-077", "", "quant running", "docs", "nothing", ""]) {
    const began = performance.now();
    input.value = words;
    input.dispatchEvent(new Event("input"));
    await new Promise((done) => requestAnimationFrame(() => { document.body.offsetHeight; done(); }));
    took.push(performance.now() - began);
  }
  return took;
})()
"""

SCROLL = """
(async () => {
  const list = document.querySelector("#list");
  const frames = [];
  let last = performance.now();
  let blank = 0;
  for (let n = 0; n < 120; n += 1) {
    list.scrollTop += 400;
    if (list.scrollTop + list.clientHeight >= list.scrollHeight - 1) list.scrollTop = 0;
    await new Promise(requestAnimationFrame);
    await new Promise((done) => setTimeout(done));  // after the frame was painted
    const now = performance.now();
    frames.push(now - last);
    last = now;
    const { left, top, bottom } = list.getBoundingClientRect();
    for (const y of [top + 60, (top + bottom) / 2, bottom - 20]) {
      if (!document.elementFromPoint(left + 200, y)?.closest(".row")) blank += 1;
    }
  }
  return { frames, blank };
})()
"""


def busy(browser: Browser) -> float:
    """Milliseconds of CPU that the page's main thread has taken so far, whoever else keeps this machine busy."""
    told = browser.send("Performance.getMetrics")["metrics"]
    return 1000 * float(next(one["value"] for one in told if one["name"] == "TaskDuration"))


def middle(numbers: list[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]


def test_a_thousand_workers_are_filtered_sorted_and_scrolled(browser: Browser, show: Show) -> None:
    crowd = Crowd(many(COUNT))
    show(crowd)
    browser.until(f"document.querySelector('.total').textContent === '{COUNT}'")
    browser.until(
        "document.querySelectorAll('.rows .number').length && [...document.querySelectorAll('.chip .number')].length"
    )
    browser.send("Performance.enable", timeDomain="threadTicks")
    began = busy(browser)
    took = browser.eval(FILTER)
    filtered = (busy(browser) - began) / len(took)
    browser.until(f"document.querySelector('.total').textContent === '{COUNT}'")
    began = busy(browser)
    scrolled = browser.eval(SCROLL)
    rows = browser.eval("document.querySelectorAll('.rows .row').length")
    frames = scrolled["frames"]
    drawn = (busy(browser) - began) / len(frames)
    print(f"the page's own CPU: {filtered:.1f} ms for a filter, {drawn:.1f} ms for a frame")
    print(f"{COUNT} workers, {rows} rows exist; filter to screen: {middle(took):.1f} ms, at most {max(took):.1f} ms")
    print(
        f"frames while scrolling: {middle(frames):.1f} ms at the median, {sorted(frames)[int(len(frames) * 0.95)]:.1f} ms P95"
    )
    assert rows < 70 and scrolled["blank"] == 0, "wherever one scrolls to, rows are there with the frame"
    assert browser.errors == []


def test_changes_of_a_thousand_workers_are_drawn_together(browser: Browser, show: Show) -> None:
    crowd = Crowd(many(COUNT))
    show(crowd, "#/?sort=name")
    browser.until(f"document.querySelector('.total').textContent === '{COUNT}'")
    note = "(list) => window.tasks.push(...list.getEntries().map((e) => e.duration))"
    browser.eval(f"window.tasks = []; new PerformanceObserver({note}).observe({{ type: 'longtask' }})")
    for number in range(COUNT):
        crowd.put(row(f"agent-{number:04}", "failed", restarts=number))
    browser.until(f"document.querySelector('.chip.failed .number').textContent === '{COUNT}'")
    browser.until("document.querySelector('#row-agent-0007 .restarts')?.textContent === '7'")
    print(f"{COUNT} changes: tasks longer than 50 ms: {json.dumps(browser.eval('window.tasks'))}")
    assert browser.errors == []
