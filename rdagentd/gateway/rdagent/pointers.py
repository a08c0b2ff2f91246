"""How far each client has read each trace, as RD-Agent's server counts it."""

from __future__ import annotations

from collections import OrderedDict

MOST_CLIENTS = 64
"""Of one trace; who has not asked for longest is forgotten, and begins anew."""


class Pointers:
    """Those of one trace: by client, the number of the message that it gets next."""

    def __init__(self, most: int = MOST_CLIENTS) -> None:
        self._most = most
        self._next: OrderedDict[str, int] = OrderedDict()

    def take(self, client: str, there: range, *, reset: bool, count: int | None) -> range:
        """The numbers that the client is given, and has read then. there: those that are; count: at most so many, None: all."""
        at = 0 if reset else self._next.get(client, 0)
        start = min(max(at, there.start), there.stop)
        stop = there.stop if count is None else min(start + count, there.stop)
        self._next[client] = stop
        self._next.move_to_end(client)
        if len(self._next) > self._most:
            self._next.popitem(last=False)
        return range(start, stop)

    def told(self) -> dict[str, int]:
        """All of them."""
        return dict(self._next)
