"""The real program in a terminal, beside a real daemon."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.harness import Client, LiveDaemon
from tests.rdagentctl.top.conftest import Top
from tests.terminal import Terminal

DOWN, UP, END, ESCAPE = "\x1b[B", "\x1b[A", "\x1b[F", "\x1b"


@pytest.fixture
def workers(client: Client) -> Client:
    """One of each sort."""
    client.submit("bad", "sh", "-c", "exit 3")
    client.submit("busy", "sh", "-c", "while :; do :; done", nice=10)
    client.submit("idle", "sleep", "1000", labels={"team": "a"})
    client.submit(
        "ticker", "sh", "-c", r'i=0; while :; do i=$((i+1)); printf "\033[32mtick $i\033[0m\n"; sleep 0.05; done'
    )
    client.wait("busy", "idle", "ticker", until="running")
    client.wait("bad")
    return client


def cells(seen: Terminal, name: str) -> list[str]:
    return seen.line(name).split()


def until(seen: Terminal, name: str, cell: int, holds: Callable[[str], bool]) -> None:
    """Waits until a cell of a worker's line is so."""
    seen.until(lambda: holds((cells(seen, name) + [""] * 9)[cell]), f"cell {cell} of {name}")


def test_rates_are_live_and_the_busiest_comes_first(workers: Client, top: Top) -> None:
    seen = top("--sort", "cpu")
    seen.see("workers  4   1 failed   3 running", "NAME", "? keys")
    until(seen, "busy", 2, lambda cpu: cpu not in ("-", "") and float(cpu) > 5)
    until(seen, "ticker", 7, lambda rate: rate not in ("-", "0", ""))
    seen.until(lambda: seen.lines[5].startswith(" " * 0 + "busy"), "the busiest on top")
    seen.until(lambda: cells(seen, "bad")[1:4] == ["failed", "-", "-"], "what is known of one at rest")
    seen.type("N")
    names = ["bad", "busy", "idle", "ticker"]
    seen.until(lambda: [line.partition(" ")[0] for line in seen.lines[5:9]] == names, "the names")
    seen.type("q")
    assert seen.end() == 0


def test_a_filter_as_it_is_typed(workers: Client, top: Top) -> None:
    seen = top()
    seen.see("busy", "idle")
    seen.type("/id")
    seen.until(lambda: "idle" in seen.text and "busy" not in seen.text, "the filter")
    seen.type("\x7f\x7fteam=a\r")
    seen.see("/team=a  1 of 4")
    seen.type(ESCAPE)
    seen.see("busy", "idle")


def test_a_worker_is_stopped_and_started_from_within(workers: Client, top: Top) -> None:
    seen = top("--sort", "name")
    seen.see("idle")
    seen.type("s")
    seen.see("choose a worker first")
    seen.type(DOWN * 3)
    seen.see("s stop")
    seen.type("s")
    seen.see("stop idle? y: yes, any other key: no")
    seen.type("n")
    seen.see("nothing was done")
    assert workers.worker("idle")["state"] == "running"
    seen.type("s")
    seen.see("stop idle?")
    seen.type("y")
    assert workers.wait("idle")[0]["state"] == "stopped"
    until(seen, "idle", 1, lambda state: state == "stopped")
    seen.type("s")
    seen.see("start idle?")
    seen.type("y")
    until(seen, "idle", 1, lambda state: state == "running")


@pytest.mark.parametrize(("key", "verb", "state"), [("p", "pause", "paused"), ("k", "kill", "stopped")])
def test_other_verbs_do_what_they_say(workers: Client, top: Top, key: str, verb: str, state: str) -> None:
    seen = top("--sort", "name")
    seen.see("idle")
    seen.type(DOWN * 3 + key)
    seen.see(f"{verb} idle?")
    seen.type("y")
    until(seen, "idle", 1, lambda shown: shown == state)
    if state == "paused":
        seen.type("p")
        seen.see("resume idle?")
        seen.type("y")
        until(seen, "idle", 1, lambda shown: shown == "running")


def test_what_is_pasted_does_not_answer_its_own_question(workers: Client, top: Top) -> None:
    seen = top("--sort", "name")
    seen.see("idle")
    seen.type(DOWN * 3)
    seen.see("s stop")
    seen.type("sy")
    seen.see("stop idle?")
    assert workers.worker("idle")["state"] == "running"


def test_what_may_not_be_done_is_told(workers: Client, top: Top) -> None:
    seen = top("--sort", "name")
    seen.see("bad")
    seen.type(DOWN)
    seen.see("s start")
    seen.type("p")
    seen.see("pause bad?")
    seen.type("y")
    seen.see("cannot pause bad: it is failed")


def test_output_is_followed_scrolled_and_left(workers: Client, top: Top) -> None:
    seen = top("--sort", "name")
    seen.see("ticker")
    seen.type(DOWN * 4 + "l")
    seen.see("logs ticker  running", "tick 1")
    last = seen.until(lambda: [line for line in seen.lines if line.startswith("tick ")], "ticks")[-1]
    seen.until(lambda: last not in seen.text and "tick" in seen.text, "more ticks")
    seen.type("\x1b[5~")
    seen.see("lines below; End")
    held = [line for line in seen.lines if line.startswith("tick ")]
    seen.until(
        lambda: (below := re.search(r"back\s+(\d+) lines", seen.lines[-1])) and int(below[1]) > len(held) + 5,
        "more below",
    )
    assert [line for line in seen.lines if line.startswith("tick ")] == held
    seen.type(END)
    seen.see("the end")
    workers.verb("stop", "ticker")
    seen.see("[ticker is stopped]")
    workers.verb("start", "ticker")
    seen.until(lambda: "[ticker is stopped]" not in seen.text and "tick 2" in seen.text, "the next run's output")
    seen.type("w")
    seen.see("why ticker", "ticker is running")
    seen.type(ESCAPE)
    seen.see("NAME", "busy")


def test_the_keys_are_told(workers: Client, top: Top) -> None:
    seen = top()
    seen.see("busy")
    seen.type("?")
    seen.see("kill it and all its processes", "Esc back")
    seen.type("q")
    seen.see("NAME")


@pytest.mark.parametrize(("columns", "rows"), [(60, 12), (140, 40), (20, 5), (1, 1), (100, 24)])
def test_a_resized_window_is_drawn_anew(workers: Client, top: Top, columns: int, rows: int) -> None:
    seen = top()
    seen.see("busy")
    seen.resize(columns, rows)
    if columns < 20:
        seen.resize(100, 24)
        columns, rows = 100, 24

    def whole() -> bool:  # what was drawn for the window that was may still come
        headings = [line for line in seen.lines if line.startswith("NAME")]
        fits = len(headings) == 1 and ("DETAIL" in seen.text) == (columns >= 60)
        return fits and "busy" in seen.text and seen.lines[-1].startswith("↑ ↓")

    seen.until(whole, "the picture for this window, with the last line in its place")
    assert len(seen.lines) == rows


def test_wide_characters_are_cut_at_the_edge_and_not_wrapped(client: Client, top: Top) -> None:
    client.submit("after", "sleep", "1000")
    client.submit("wide", "sh", "-c", "sleep 1000", "e\u0301 日本語" + "のエージェント" * 9)
    client.wait("*", until="running")
    for columns in (140, 141):
        seen = top("--sort", "name", columns=columns)
        seen.see("after", "wide", "日本語")
        seen.until(lambda seen=seen: _cut_at_the_edge(seen.lines), "all of the line, and nothing below it")


def _cut_at_the_edge(lines: list[str]) -> bool:
    line = next((at for at, line in enumerate(lines) if line.startswith("wide")), 0)
    return lines[line].endswith("…") and lines[line - 1].startswith("after") and lines[line + 1] == ""


def test_no_colours_and_no_utf8_where_they_are_not_wanted(workers: Client, top: Top) -> None:
    seen = top(NO_COLOR="1", LC_ALL="C")
    seen.see("cpu ", "idle")
    assert seen.text.isascii()
    assert {char.fg for line in seen.screen.buffer.values() for char in line.values()} == {"default"}
    coloured = top()
    coloured.see("idle", "█")
    assert {"green", "red"} <= {char.fg for line in coloured.screen.buffer.values() for char in line.values()}


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_without_a_screen_is_told_what_to_do(workers: Client, top: Top, term: str) -> None:
    seen = top(TERM=term)
    assert seen.end() == 2
    assert "--once prints one picture" in seen.text.replace("\n", "")
    assert seen.modes() == seen.modes_before


def test_the_daemon_goes_and_comes_back(workers: Client, top: Top, daemon: LiveDaemon) -> None:
    seen = top("--sort", "name")
    seen.see("idle")
    seen.type(DOWN * 4 + "l")
    seen.see("tick")
    seen.type("q")
    seen.see("s stop")
    daemon.kill()
    seen.see("rdagentd does not answer since", "connection refused", "idle")
    seen.type("s")
    seen.see("rdagentd does not answer")
    seen.resize(90, 20)
    seen.until(lambda: len(seen.lines[-1]) and "does not answer" in seen.lines[-1], "the last line in its place")
    daemon.start()
    seen.see("rdagentd 0.1.0", "4   1 failed   3 running")
    seen.until(lambda: "does not answer" not in seen.text, "the daemon to be back")
    until(seen, "busy", 2, lambda cpu: cpu not in ("-", "") and float(cpu) > 5)


def test_output_goes_on_when_the_daemon_is_back(workers: Client, top: Top, daemon: LiveDaemon) -> None:
    seen = top("--sort", "name", rows=60)
    seen.see("ticker")
    seen.type(DOWN * 4 + "l")
    seen.see("tick 1")
    daemon.kill()
    seen.see("does not answer since")
    again = daemon.start()
    assert again is not None
    seen.until(lambda: "does not answer" not in seen.text, "the daemon to be back")
    seen.until(lambda: _ticks(seen)[-1:] > [100], "ticks of later")
    again.verb("stop", "ticker")
    seen.see("[ticker is stopped]")  # below them: all of them are drawn
    ticks = _ticks(seen)
    assert ticks == list(range(ticks[0], ticks[-1] + 1))  # none is missing and none there twice


def _ticks(seen: Terminal) -> list[int]:
    return [int(found[1]) for line in seen.lines if (found := re.fullmatch(r"tick (\d+)", line))]


def test_a_flood_of_output_does_not_hold_up_the_keys(client: Client, top: Top) -> None:
    client.submit("flood", "yes", "0123456789", nice=19)
    client.wait("flood", until="running")
    seen = top()
    seen.see("flood")
    seen.type(DOWN + "l")
    seen.see("logs flood", "0123456789")
    seen.type("q")
    seen.see("NAME")
    seen.type("s")
    seen.see("stop flood?")
    seen.type("y")
    until(seen, "flood", 1, lambda state: state == "stopped")
