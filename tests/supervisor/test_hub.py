"""Who listens."""

from __future__ import annotations

import asyncio

from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.supervisor import hub as hubs
from rdagentd.supervisor.hub import Hub

WORKER = Worker("w", Spec("w", ("true",)), 0)


def test_a_subscriber_gets_what_is_told_until_it_leaves() -> None:
    hub = Hub()
    assert not hub.listened
    subscription = hub.subscribe()
    assert hub.listened
    hub.told({"seq": 1})
    hub.unsubscribe(subscription)
    hub.told({"seq": 2})
    assert subscription.items.get_nowait() == {"seq": 1}
    assert subscription.items.empty()
    assert not hub.listened


def test_a_subscriber_that_is_too_slow_is_cut_off_and_costs_no_more() -> None:
    hub = Hub()
    slow, quick = hub.subscribe(), hub.subscribe()
    for seq in range(hubs._BACKLOG + 5):
        hub.told({"seq": seq})
        quick.items.get_nowait()
    assert slow.overrun and not quick.overrun
    assert slow.items.qsize() == hubs._BACKLOG


def test_a_watcher_is_told_of_its_worker_only() -> None:
    hub, told = Hub(), []
    hub.watch("w", lambda name, worker: told.append((name, worker)))
    hub.changed("w", WORKER)
    hub.changed("v", WORKER)
    hub.changed("w", None)
    assert told == [("w", WORKER), ("w", None)]


def test_a_watcher_may_leave_while_it_is_told() -> None:
    hub, told = Hub(), []

    def once(name: str, worker: Worker | None) -> None:
        told.append(name)
        hub.unwatch(name, once)

    hub.watch("w", once)
    hub.watch("w", lambda name, worker: told.append("other"))
    hub.changed("w", WORKER)
    hub.changed("w", WORKER)
    hub.unwatch("w", once)
    hub.unwatch("nobody", once)
    assert sorted(told) == ["other", "other", "w"]


def test_growth_wakes_all_who_wait_for_that_stream() -> None:
    async def test() -> None:
        hub = Hub()
        first, second, other = hub.growth("w", "out"), hub.growth("w", "out"), hub.growth("w", "err")
        gone = hub.growth("w", "out")
        gone.cancel()
        hub.grew("w", "out")
        assert first.done() and second.done() and not other.done()
        hub.all_grew()
        assert other.done()

    asyncio.run(test())


def test_nothing_is_kept_of_those_who_no_longer_wait() -> None:
    async def test() -> None:
        hub = Hub()
        futures = [hub.growth("w", "out") for _ in range(3)]
        for future in futures:
            hub.no_growth("w", "out", future)
        hub.no_growth("w", "out", futures[0])
        assert hub._growth == {}

    asyncio.run(test())
