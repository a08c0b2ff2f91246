"""A log is read once, whatever the pieces, the segments and the crashes; and nobody waits for it for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdagentd.core.events import Reported
from rdagentd.model.measures import UNTOLD, Measures, told
from rdagentd.model.pattern import LINE
from rdagentd.model.reporters import Reporter, Source
from rdagentd.model.run import Run
from rdagentd.protocol.segments import log_name
from rdagentd.supervisor import log_feed
from rdagentd.supervisor.hub import Hub
from rdagentd.supervisor.log_feed import Feed, LogFeed
from rdagentd.supervisor.told import LogRules

RULES = LogRules.of(
    [
        Reporter(Source.LOG, "cost_usd", "cost {number}", add=True),
        Reporter(Source.LOG, "iteration", "loop {int}"),
        Reporter(Source.LOG, "step", "step {word}"),
        Reporter(Source.LOG, "step", "phase {word}"),
    ]
)
RUN = Run("r1", "w", 1)


class Scene:
    """A log on disk, what is kept of it, and daemons that come and go."""

    def __init__(self, directory: Path, segment: int = 1 << 20) -> None:
        self.out = directory / "w" / "out"
        self.out.mkdir(parents=True)
        self.directory = directory
        self.segment = segment
        self.end = 0
        self.measures: Measures = UNTOLD
        self.offset = 0
        self.errors: list[str] = []
        self.watched: list[int] = []
        self.events = 0
        self.start()

    def start(self) -> None:
        """A daemon: what the one before it had not posted is gone."""
        self.hub = Hub()
        self.feeds = LogFeed(self.keep, lambda: self, self.hub)  # type: ignore[arg-type,return-value]
        self.feed: Feed = self.feeds.begin(RUN, self.directory / "w", "out", RULES, self.offset)

    def watch(self, worker: str, stream: str, offset: int) -> None:
        self.watched.append(offset)
        if self.end > offset:
            self.hub.grew("w", "out")

    def keep(self, event: Reported) -> None:
        """A commit."""
        self.events += 1
        assert event.log["out"] >= self.offset
        self.offset = event.log["out"]
        self.measures, wrong = told(self.measures, event.values, event.added)
        assert not wrong
        if event.errors:
            self.errors.append(event.trouble)

    def write(self, data: bytes) -> None:
        while data:
            base = self.end - self.end % self.segment
            part, data = data[: base + self.segment - self.end], data[base + self.segment - self.end :]
            with (self.out / log_name(base)).open("ab") as file:
                file.write(part)
            self.end += len(part)
        self.hub.grew("w", "out")

    async def finish(self) -> Measures:
        await asyncio.wait_for(self.feeds.finish(self.feed, self.end), 60)
        return self.measures


def in_scene(test: Callable[[Scene], Awaitable[None]], segment: int = 1 << 20) -> None:
    async def run() -> None:
        with TemporaryDirectory() as directory:
            await test(Scene(Path(directory), segment))

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "PAUSE", 0.0)


LINES = st.lists(
    st.sampled_from(
        [b"cost 0.1\n", b"cost 0.25\r", b"loop 7\r\n", b"step a\n", b"phase b\n", b"\n", b"noise", b"x" * 30 + b"\n"]
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(5, 60), st.lists(st.integers(0, 400), max_size=5), st.data())
def test_each_line_counts_once_however_it_was_written_and_whenever_the_daemon_died(
    lines: list[bytes], segment: int, cuts: list[int], data: Any
) -> None:
    text = b"".join(lines)
    whole = [line for line in text.replace(b"\r", b"\n").split(b"\n") if line]
    costs = [float(line.split(b"cost ")[1]) for line in whole if b"cost " in line]
    steps = [line for line in whole if b"step " in line or b"phase " in line]

    async def test(scene: Scene) -> None:
        last = 0
        for cut in sorted(cuts):
            scene.write(text[last:cut])
            last = max(last, min(cut, len(text)))
            for _ in range(data.draw(st.integers(0, 6))):
                await asyncio.sleep(0.001)
            if data.draw(st.booleans()):
                scene.feeds.drop(scene.feed)
                scene.start()
        scene.write(text[last:])
        found = await scene.finish()
        assert found.cost_usd == (round(sum(costs), 9) if costs else None)
        assert found.iteration == (7 if any(b"loop 7" in line for line in whole) else None)
        assert found.step == (steps[-1].split(b"step ")[-1].split(b"phase ")[-1].decode() if steps else None)
        assert scene.offset == len(text) and not scene.errors

    in_scene(test, segment)


def test_a_line_that_is_not_whole_waits_for_its_end() -> None:
    async def test(scene: Scene) -> None:
        scene.write(b"cost 1\ncost 2")
        while not scene.events:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert (scene.measures.cost_usd, scene.offset) == (1.0, 7)
        scene.write(b"0\n")
        assert (await scene.finish()).cost_usd == 21.0

    in_scene(test)


def test_nothing_is_asked_while_a_log_does_not_grow() -> None:
    async def test(scene: Scene) -> None:
        scene.write(b"cost 1\n")
        while not scene.watched:
            await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        assert scene.watched == [7]
        assert scene.feeds._task is None and scene.feed.timer is None

    in_scene(test)


def test_what_went_before_it_was_read_is_told_and_half_a_line_counts_nothing() -> None:
    async def test(scene: Scene) -> None:
        scene.feeds.drop(scene.feed)
        scene.write(b"cost 1\n" * 3 + b"cost 123\ncost 4\n")
        (scene.out / log_name(0)).unlink()  # 24 bytes: up to "cost 123" without its first three
        scene.start()
        assert (await scene.finish()).cost_usd == 4.0
        assert scene.errors == ["24 bytes of its output were dropped before they could be read"]

    in_scene(test, 24)


def test_a_log_that_is_gone_altogether_stops_nothing() -> None:
    async def test(scene: Scene) -> None:
        scene.feeds.drop(scene.feed)
        scene.write(b"cost 1\n")
        (scene.out / log_name(0)).unlink()
        scene.start()
        assert (await scene.finish()).cost_usd is None
        assert scene.errors == ["7 bytes of its output were dropped before they could be read"]

    in_scene(test)


def test_output_that_a_full_disk_took_away_is_told() -> None:
    async def test(scene: Scene) -> None:
        scene.write(b"cost 1\n[rdagentd: 4096 bytes dropped: No space left on device]\ncost 2\n")
        assert (await scene.finish()).cost_usd == 3.0
        assert scene.errors == ["4096 bytes of its output were lost before they could be read"]

    in_scene(test)


def test_an_end_that_comes_while_a_log_is_looked_at_loses_nothing() -> None:
    """What is written and ended after the look seems missing to who compares that look with the end."""

    async def test(scene: Scene) -> None:
        scene.write(b"cost 1\n")
        look, looked = scene.feed.reader.read, []

        def read(start: int, most: int) -> tuple[int, bytes]:
            found = look(start, most)
            if not found[1] and not looked:
                scene.write(b"cost 2\n")
                scene.feed.end = scene.end
                looked.append(start)
            return found

        scene.feed.reader.read = read  # type: ignore[method-assign]
        while not looked:
            await asyncio.sleep(0.001)
        assert (await scene.finish()).cost_usd == 3.0
        assert not scene.errors

    in_scene(test)


def test_a_line_without_end_is_taken_in_pieces() -> None:
    async def test(scene: Scene) -> None:
        scene.write(b"cost 1 " + b"x" * (3 * LINE))
        while not scene.events:
            await asyncio.sleep(0)
        assert scene.measures.cost_usd == 1.0
        scene.write(b"x" * 10 * LINE + b" cost 2\n")
        assert (await scene.finish()).cost_usd == 3.0

    in_scene(test)


def test_others_have_their_turn_while_much_is_read() -> None:
    """Each line is a moment to pause, so the loop goes round many times for each piece of the log."""

    async def test(scene: Scene) -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        scene.write(b"cost 0.001\n" * 100_000)
        assert (await scene.finish()).cost_usd == 100.0
        counting.cancel()
        assert turns > 20

    in_scene(test)


def test_much_output_makes_few_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "PAUSE", 3600.0)

    async def test(scene: Scene) -> None:
        for _ in range(50):
            scene.write(b"cost 0.001\n" * 1000)
            await asyncio.sleep(0)
        assert (await scene.finish()).cost_usd == 50.0
        assert scene.events <= 2

    in_scene(test)
