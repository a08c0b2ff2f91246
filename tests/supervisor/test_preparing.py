"""What comes before a start, and what becomes of a run if it cannot be done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attrs import evolve

from rdagentd.core import events as ev
from rdagentd.drivers.base import Assisted, Errand
from rdagentd.model.checkpoints import Checkpoint, Checkpoints, Found, Snapshot
from rdagentd.model.run import ExitKind, Run
from rdagentd.model.spec import Spec
from rdagentd.model.worker import State, Worker
from rdagentd.supervisor.preparing import Preparing

SPEC = Spec("w", ("x",), directory="/srv/w", checkpoints=Checkpoints("*", resume=("x", "{checkpoint}")))
WORKER = Worker("w", SPEC, 0, state=State.STARTING, run=Run("r1", "w", 1, prepared=False), life=5.0)
FOUND = {"found": [{"path": "b", "at": 6 * 10**9, "size": 1, "problem": ""},
                   {"path": "a", "at": 4 * 10**9, "size": 1, "problem": ""}], "count": 2}  # fmt: skip


class Driver:
    """Answers as it is told; `asked` are the looks."""

    def __init__(self, answer: Callable[[str], Assisted], away: bool = False) -> None:
        self.answer = answer
        self.away = away
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def facts(self) -> Mapping[str, Any] | None:
        return None if self.away else {"pid": 1}

    async def assist(self, worker: Worker, errand: Errand) -> Assisted:
        what, wanted = errand.command[-2:]
        self.asked.append((what, json.loads(wanted)))
        await asyncio.sleep(0)
        return self.answer(what)


def told(seen: object) -> Assisted:
    return Assisted(code=0, output=json.dumps(seen).encode())


async def prepared(
    driver: Driver, worker: Worker, do: Callable[[Preparing], object] = lambda made: None
) -> list[ev.Event]:
    events: list[ev.Event] = []
    made = Preparing(lambda: driver, events.append)  # type: ignore[arg-type,return-value]
    made.begin(worker)
    do(made)
    for _ in range(20):
        await asyncio.sleep(0)
    return events


def test_what_was_written_in_its_present_life_is_told() -> None:
    driver = Driver(lambda what: told(FOUND))
    assert asyncio.run(prepared(driver, WORKER)) == [
        ev.Prepared("w", "r1", (Found(Checkpoint("b", 6 * 10**9, 1), ""),))
    ]
    ((what, wanted),) = driver.asked
    assert (what, wanted["since"], wanted["whole"], wanted["one"]) == ("checkpoints", 5 * 10**9, 1, None)


def test_the_work_tree_is_kept_first_and_alone_if_there_is_nothing_to_go_on_with() -> None:
    spec = evolve(SPEC, snapshot=Snapshot(True))
    driver = Driver(lambda what: told(FOUND))
    asyncio.run(prepared(driver, evolve(WORKER, spec=spec)))
    assert [what for what, _ in driver.asked] == ["bundle", "checkpoints"]
    driver = Driver(lambda what: told(FOUND))
    assert asyncio.run(prepared(driver, evolve(WORKER, spec=spec, life=None))) == [ev.Prepared("w", "r1", None)]
    assert [what for what, _ in driver.asked] == ["bundle"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Assisted(reason="it did not end within 600 s"), "checkpoints: it did not end within 600 s"),
        (Assisted(code=1, output=b"Traceback\n[Errno 2] No such"), "checkpoints: [Errno 2] No such"),
        (Assisted(code=2), "checkpoints: what looked ended with code 2"),
        (Assisted(signal="SIGKILL"), "checkpoints: what looked was killed by SIGKILL"),
        (Assisted(code=0, output=b"nonsense"), "checkpoints: what looked said 'nonsense'"),
        (told({"found": "nonsense"}), "prepare: a defect in the daemon; its log tells more"),
    ],
)
def test_who_cannot_be_prepared_does_not_start(answer: Assisted, reason: str) -> None:
    (event,) = asyncio.run(prepared(Driver(lambda what: answer), WORKER))
    assert isinstance(event, ev.RunExited) and event.exit.kind is ExitKind.COULD_NOT_START
    assert event.exit.reason == f"could not start: {reason}"


@pytest.mark.parametrize(("seen", "why"), [([], "no such checkpoint"), (FOUND["found"][:1], "is cut off")])  # type: ignore[index]
def test_the_one_that_a_person_chose_or_none(seen: list[dict[str, Any]], why: str) -> None:
    answer = told({"found": [{**one, "problem": "is cut off"} for one in seen]})
    (event,) = asyncio.run(prepared(Driver(lambda what: answer), evolve(WORKER, chosen="b")))
    assert isinstance(event, ev.RunExited) and event.exit.reason == f"could not start: checkpoints: b: {why}"


def test_one_that_was_written_before_its_life_can_be_chosen() -> None:
    answer = told({"found": FOUND["found"][1:]})  # type: ignore[index]
    (event,) = asyncio.run(prepared(Driver(lambda what: answer), evolve(WORKER, chosen="a")))
    assert event == ev.Prepared("w", "r1", (Found(Checkpoint("a", 4 * 10**9, 1), ""),))


def test_without_an_executor_nothing_is_told_for_it_is_asked_for_again() -> None:
    driver = Driver(lambda what: Assisted(reason="the executor cannot be reached"), away=True)
    assert asyncio.run(prepared(driver, WORKER)) == []


def test_a_run_that_is_not_wanted_any_more_ends_at_once_and_only_once() -> None:
    (event,) = asyncio.run(prepared(Driver(lambda what: told(FOUND)), WORKER, lambda made: made.stop("r1")))
    assert isinstance(event, ev.RunExited) and event.exit.kind is ExitKind.LOST
    made = Preparing(lambda: None, print)  # type: ignore[arg-type,return-value]
    assert not made.stop("r1")


def test_asked_for_again_it_is_told_once() -> None:
    driver = Driver(lambda what: told(FOUND))
    assert len(asyncio.run(prepared(driver, WORKER, lambda made: made.begin(WORKER)))) == 1
