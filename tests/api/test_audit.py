"""The lines about who asked for what: one each, and few of a flood."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rdagentd.api import audit as module
from rdagentd.api.audit import Audit
from rdagentd.api.peer import Access, Peer
from rdagentd.core import events as ev


class Supervisor:
    """Keeps what is asked for; `broken`: as with a full disk."""

    def __init__(self, broken: bool = False) -> None:
        self.engine = self
        self.workers = {"known": None}
        self.told: list[ev.Noted] = []
        self.broken = broken

    def ask(self, event: ev.Noted) -> asyncio.Future[None]:
        self.told.append(event)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.broken:
            answer.set_exception(OSError("disk full"))
        return answer


def peer(uid: int = 1000, pid: int = 7) -> Peer:
    return Peer(pid, uid, uid, Access.OPERATE)


def run(test: Any, broken: bool = False) -> Supervisor:
    async def main() -> Supervisor:
        supervisor = Supervisor(broken)
        await test(Audit(supervisor))  # type: ignore[arg-type]
        return supervisor

    return asyncio.run(main())


def test_who_what_and_with_which_process() -> None:
    async def test(audit: Audit) -> None:
        audit.asked(peer(), "signal", ["a", "b"], signal="SIGHUP")
        audit.asked(peer(), "stop", [f"w{number}" for number in range(10)])
        audit.refused(peer(), "stop", "cannot stop known: no", "known")
        audit.refused(peer(), "submit", "cannot submit other: no", "other")

    assert run(test).told == [
        ev.Noted(None, "asked", "asked by process 7: signal a b", 1000, {"pid": 7, "op": "signal", "signal": "SIGHUP"}),
        ev.Noted(None, "asked", "asked by process 7: stop w0 w1 w2 w3 w4 w5 w6 w7 and 2 more", 1000, {"pid": 7, "op": "stop"}),
        ev.Noted("known", "refused", "refused to process 7: cannot stop known: no", 1000, {"pid": 7, "op": "stop"}),
        ev.Noted(None, "refused", "refused to process 7: cannot submit other: no", 1000, {"pid": 7, "op": "submit"}),
    ]  # fmt: skip


def test_what_repeats_is_counted_and_told_once_the_window_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 0.05)

    async def test(audit: Audit) -> None:
        for pid in range(100):
            audit.refused(peer(pid=pid), "stop", "no")
            audit.asked(peer(pid=1), "start", ["w"])
        audit.asked(peer(pid=2), "start", ["w"])
        audit.refused(peer(uid=1001), "stop", "no")
        assert len(audit._windows) == 2
        for _ in range(1000):
            if not audit._windows:
                break
            await asyncio.sleep(0.01)
        audit.refused(peer(pid=200), "stop", "no")

    told = run(test).told
    assert [(event.kind, event.by, event.data.get("pid")) for event in told] == [
        ("refused", 1000, 0), ("asked", 1000, 1), ("asked", 1000, 2), ("refused", 1001, 7), ("asked", 1000, None),
        ("refused", 1000, 200),
    ]  # fmt: skip
    assert told[4].text.startswith("198 more requests of uid 1000") and told[4].data == {"dropped": 198}


def test_a_flood_is_bounded() -> None:
    async def test(audit: Audit) -> None:
        for number in range(3 * module.MOST_LINES):
            audit.refused(peer(), "stop", f"no {number}")
        for uid in range(3 * module.MOST_UIDS):
            audit.refused(peer(uid=uid + 5000), "stop", "no")
        assert len(audit._windows) == module.MOST_UIDS

    told = run(test).told
    assert len(told) == module.MOST_LINES + 3 * module.MOST_UIDS + 1
    assert sum(event.data.get("dropped", 0) for event in told) == 2 * module.MOST_LINES


def test_what_cannot_be_kept_troubles_nobody() -> None:
    async def test(audit: Audit) -> None:
        loop, trouble = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda loop, context: trouble.append(context))
        audit.asked(peer(), "stop", ["a"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not trouble

    assert len(run(test, broken=True).told) == 1
