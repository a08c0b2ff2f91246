"""What runs use is asked when somebody looks, and waited for once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from rdagentd.model.run import Run, log_bytes
from rdagentd.supervisor import used
from rdagentd.supervisor.used import KEPT, PATIENCE, Found, LastFound


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the loop goes on, whatever the one of the test says."""
    monkeypatch.setattr(used, "PATIENCE", 600.0)


class Asked:
    """A driver that answers when it is told to, and a clock."""

    def __init__(self) -> None:
        self.questions: list[tuple[list[str], asyncio.Future[Found]]] = []
        self.now = 1000.0
        self.last = LastFound(self.ask, lambda: self.now)

    async def ask(self, runs: Sequence[str]) -> Found:
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self.questions.append((list(runs), answer))
        return await answer

    async def look(self, *runs: str) -> asyncio.Task[Found]:
        """A look that is under way."""
        task = asyncio.ensure_future(self.last.look(runs))
        await self.turns()
        return task

    async def turns(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def found(value: float) -> Found:
    return Found({"r": {"user": value}})


def looked(test: Callable[[Asked], Awaitable[None]]) -> None:
    async def run() -> None:
        await test(Asked())

    asyncio.run(run())


def test_the_first_look_waits_and_the_next_one_does_not() -> None:
    async def test(asked: Asked) -> None:
        first = await asked.look("r")
        second = await asked.look("r")
        assert not first.done() and not second.done() and len(asked.questions) == 1, "one question for both"
        asked.questions[0][1].set_result(found(1))
        assert await first == await second == found(1)
        asked.now += 15
        assert await (await asked.look("r", "s")) == found(1), "what was found before"
        assert asked.questions[1][0] == ["r", "s"]
        asked.questions[1][1].set_result(found(2))
        await asked.turns()
        asked.now += 15
        assert await (await asked.look("r")) == found(2)
        asked.questions[2][1].set_result(found(3))

    looked(test)


def test_nobody_asks_while_nobody_looks() -> None:
    async def test(asked: Asked) -> None:
        first = await asked.look("r")
        asked.questions[0][1].set_result(found(1))
        await first
        asked.now += 10 * KEPT
        await asked.turns()
        assert len(asked.questions) == 1

    looked(test)


def test_what_is_too_old_is_not_told() -> None:
    async def test(asked: Asked) -> None:
        first = await asked.look("r")
        asked.questions[0][1].set_result(found(1))
        await first
        asked.now += KEPT + 1
        late = await asked.look("r")
        assert not late.done()
        asked.questions[1][1].set_result(found(2))
        assert await late == found(2)

    looked(test)


def test_who_does_not_answer_is_waited_for_once(monkeypatch) -> None:
    monkeypatch.setattr(used, "PATIENCE", 0.01)

    async def test(asked: Asked) -> None:
        assert await asked.last.look(["r"]) == Found()
        asked.now += PATIENCE
        again = await asked.look("r")
        assert again.done() and await again == Found() and len(asked.questions) == 1
        asked.questions[0][1].set_result(found(1))
        await asked.turns()
        assert await (await asked.look("r")) == found(1), "it was late, but it came"

    looked(test)


def test_a_driver_that_fails_is_asked_again(caplog) -> None:
    async def test(asked: Asked) -> None:
        first = await asked.look("r")
        asked.questions[0][1].set_exception(RuntimeError("broken"))
        assert await first == Found()
        second = await asked.look("r")
        asked.questions[1][1].set_result(found(2))
        assert await second == found(2)

    looked(test)
    assert "cannot ask what runs use" in caplog.text


def test_bytes_of_output_are_counted_from_where_the_run_began() -> None:
    run = Run("r", "w", 1, log_start={"out": 100, "err": 7})
    assert log_bytes(run, {"out": 150, "err": 7}) == 50
    assert log_bytes(run, {"out": 150, "new": 9}) == 50, "of a stream whose beginning is not known nothing is"
