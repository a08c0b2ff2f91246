"""Which traces there are, whose they are, and what goes when there is no room for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from rdagentd.gateway.rdagent import traces as module
from rdagentd.gateway.rdagent.traces import Traces


def row(
    name: str, state: str = "running", trace: str | None = None, ended_at: float | None = None, **labels: str
) -> dict[str, Any]:
    """A worker's row as far as it is looked at."""
    ended = {"kind": "code", "code": 0, "signal": None, "reason": "exited with code 0"} if ended_at else None
    return {
        "name": name, "state": state, "due_in": None, "labels": {"trace": trace or f"/t/{name}", **labels},
        "reason": {"code": state, "text": ""}, "run": {"ended_at": ended_at}, "exit": ended,
    }  # fmt: skip


def looped(test: Callable[[Traces], Coroutine[Any, Any, None]], directory: Path) -> Traces:
    """Runs a test of loaded traces in a loop, and has them closed."""

    async def run() -> Traces:
        traces = Traces(directory)
        traces.load()
        await test(traces)
        await traces.close()
        return traces

    return asyncio.run(run())


def say(traces: Traces, called: str, text: str) -> None:
    trace = traces.find(called)
    assert trace is not None, called
    traces.append(trace, {"tag": "said", "timestamp": "", "content": text})


def tags(traces: Traces) -> dict[str, list[str]]:
    return {trace.id: trace.journal.tags for trace in traces}


def test_a_worker_is_found_by_its_id_and_its_path_however_they_are_written(tmp_path: Path) -> None:
    async def test(traces: Traces) -> None:
        traces.saw(row("a", scenario="Data Science"))
        traces.saw(row("b", **{"rd-agent-id": "Data Science/brave-otter"}))
        traces.saw({**row("c"), "labels": {}})
        for called in ("Data Science/a", "Data Science//a/", "/t/a", "/t//a/"):
            assert traces.find(called) is traces.of_worker("a"), called
        assert traces.find("Data Science/brave-otter") is traces.of_worker("b")
        for called in ("a", "/t", "", "Workers/c", None, 1, ["x"], "/t/../t/a"):
            assert traces.find(called) is None, called

    looped(test, tmp_path)
    assert list(tmp_path.iterdir()) == []  # nothing is kept before there is something


def test_of_two_workers_with_one_path_or_id_the_first_has_it(tmp_path: Path) -> None:
    async def test(traces: Traces) -> None:
        traces.saw(row("a", trace="/t", **{"rd-agent-id": "x/y"}))
        traces.saw(row("b", trace="/t"))
        traces.saw(row("c", trace="/u", **{"rd-agent-id": "x/y"}))
        assert [trace.worker for trace in traces] == ["a"]
        traces.gone("a")
        traces.saw(row("b", trace="/t"))
        assert traces.find("/t").worker == "b"  # type: ignore[union-attr]

    looped(test, tmp_path)


def test_messages_and_ends_are_there_after_a_restart_and_ends_are_not_said_twice(tmp_path: Path) -> None:
    async def first(traces: Traces) -> None:
        traces.all_seen([row("a"), row("b"), row("c")])
        say(traces, "Workers/a", "hello")
        say(traces, "Workers/b", "hello")
        say(traces, "Workers/c", "hello")
        traces.saw(row("a", "completed", ended_at=1000.5))

    async def again(traces: Traces) -> None:
        for _ in range(2):
            traces.all_seen([row("a", "completed", ended_at=1000.5), row("b", "failed", ended_at=2000.25)])
            assert tags(traces) == {name: ["said", "END"] for name in ("Workers/a", "Workers/b", "Workers/c")}

    looped(first, tmp_path)
    looped(again, tmp_path)
    looped(again, tmp_path)


def test_a_second_run_of_a_worker_has_a_second_end(tmp_path: Path) -> None:
    async def test(traces: Traces) -> None:
        traces.saw(row("a"))
        for at in (1000.0, 2000.0, 2000.0):
            traces.saw(row("a", "completed", ended_at=at))
        assert tags(traces) == {"Workers/a": ["END", "END"]}

    looped(test, tmp_path)


def test_the_oldest_that_has_ended_goes_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_TRACES", 3)

    async def test(traces: Traces) -> None:
        for number, name in enumerate("abcde"):
            traces.saw(row(name))
            say(traces, f"/t/{name}", "x")
            if name != "a":
                traces.saw(row(name, "completed", ended_at=1000.0 + number))
        assert {trace.worker for trace in traces if trace.journal.end} == {"a", "d", "e"}
        assert len(list(tmp_path.iterdir())) == 3
        traces.saw(row("b"))  # it is started again
        say(traces, "/t/b", "y")
        assert {trace.worker for trace in traces if trace.journal.end} == {"a", "b", "e"}
        traces.saw(row("b", "completed", ended_at=9000.0))
        assert traces.find("/t/b").journal.tags == ["said", "END"]  # type: ignore[union-attr]
        traces.all_seen([row("a"), *(row(f"old-{n}", "completed", ended_at=1.0) for n in range(9))])
        kept = {trace.worker for trace in traces if trace.journal.end}
        assert kept == {"a", "b", "e"}  # nothing goes for what never said a word

    looped(test, tmp_path)


def test_the_oldest_that_has_ended_goes_when_there_are_too_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 3000)

    async def test(traces: Traces) -> None:
        for number, name in enumerate("abcde"):
            traces.saw(row(name))
            say(traces, f"/t/{name}", "x" * 1500)
            traces.saw(row(name, "completed", ended_at=1000.0 + number))
        assert {trace.worker for trace in traces if trace.journal.end} == {"d", "e"}

    looped(test, tmp_path)


def test_an_end_that_could_not_be_kept_is_said_when_somebody_asks(tmp_path: Path) -> None:
    async def test(traces: Traces) -> None:
        traces.saw(row("a"))
        say(traces, "/t/a", "x")
        (place,) = tmp_path.iterdir()
        place.rename(tmp_path / "away")
        traces.saw(row("a", "completed", ended_at=1000.0))
        (tmp_path / "away").rename(place)
        trace = traces.find("/t/a")
        assert trace is not None and trace.journal.tags == ["said"]
        for _ in range(2):
            traces.settle(trace)
            assert trace.journal.tags == ["said", "END"]

    looped(test, tmp_path)


def test_what_the_daemon_has_not_told_of_is_not_said_to_be_over(tmp_path: Path) -> None:
    async def first(traces: Traces) -> None:
        traces.saw(row("a"))
        say(traces, "/t/a", "x")

    async def again(traces: Traces) -> None:
        trace = traces.find("/t/a")
        assert trace is not None and not traces.knows(trace)
        traces.settle(trace)
        assert trace.journal.tags == ["said"]
        traces.all_seen([])
        assert traces.knows(trace) and trace.journal.tags == ["said", "END"]

    looped(first, tmp_path)
    looped(again, tmp_path)


def test_what_cannot_be_read_is_left_there_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(traces: Traces) -> None:
        traces.saw(row("a"))
        say(traces, "/t/a", "x")

    looped(test, tmp_path)
    (place,) = tmp_path.iterdir()
    (place / "trace.json").write_text("{")

    async def again(traces: Traces) -> None:
        assert list(traces) == []

    looped(again, tmp_path)
    assert str(place) in caplog.text and (place / "trace.json").read_text() == "{"
