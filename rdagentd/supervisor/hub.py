"""Who listens: to the story as it is told, and to workers as they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from rdagentd.model.worker import Worker

_BACKLOG = 10_000
"""Items that a subscriber may be behind before it is cut off."""


class Subscription:
    """A bounded queue of story items for one listener; `overrun` once it was too slow."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self.overrun = False

    def put(self, item: Mapping[str, Any]) -> None:
        """Adds an item, or notes that this listener lost some."""
        if self.items.qsize() >= _BACKLOG:
            self.overrun = True
        else:
            self.items.put_nowait(item)


class Hub:
    """Tells listeners. Costs nothing where nobody listens."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._watchers: dict[str, set[Callable[[str, Worker | None], None]]] = {}
        self._growth: dict[tuple[str, str], set[asyncio.Future[None]]] = {}

    # --- story --------------------------------------------------------------------------------------------------------

    def subscribe(self) -> Subscription:
        """From now on every story item is put into the subscription."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """No more."""
        self._subscriptions.discard(subscription)

    @property
    def listened(self) -> bool:
        """Whether anybody follows the story."""
        return bool(self._subscriptions)

    def told(self, item: Mapping[str, Any]) -> None:
        """A story item is on disk."""
        for subscription in self._subscriptions:
            subscription.put(item)

    # --- workers ------------------------------------------------------------------------------------------------------

    def watch(self, name: str, callback: Callable[[str, Worker | None], None]) -> None:
        """Calls back with each kept change of a worker, and with None when it is gone."""
        self._watchers.setdefault(name, set()).add(callback)

    def unwatch(self, name: str, callback: Callable[[str, Worker | None], None]) -> None:
        """No more."""
        watchers = self._watchers.get(name)
        if watchers:
            watchers.discard(callback)
            if not watchers:
                del self._watchers[name]

    def changed(self, name: str, worker: Worker | None) -> None:
        """A change of a worker is on disk."""
        for callback in tuple(self._watchers.get(name, ())):
            callback(name, worker)

    # --- logs ---------------------------------------------------------------------------------------------------------

    def growth(self, worker: str, stream: str) -> asyncio.Future[None]:
        """Done when the worker's log is next told to have grown, or the worker changed."""
        future = asyncio.get_running_loop().create_future()
        self._growth.setdefault((worker, stream), set()).add(future)
        return future

    def no_growth(self, worker: str, stream: str, future: asyncio.Future[None]) -> None:
        """Nobody waits for that future any more."""
        waiting = self._growth.get((worker, stream))
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._growth[worker, stream]

    def grew(self, worker: str, stream: str) -> None:
        """The log grew."""
        for future in self._growth.pop((worker, stream), ()):
            if not future.done():
                future.set_result(None)

    def all_grew(self) -> None:
        """Nobody knows what grew (the executor was away): all look again."""
        for worker, stream in list(self._growth):
            self.grew(worker, stream)
