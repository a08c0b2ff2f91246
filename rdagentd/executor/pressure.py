"""Triggers that wake us when programs wait for a resource: Documentation/accounting/psi.rst. Before Linux 6.5 only root may."""

from __future__ import annotations

import os
import select

PLACE = "/proc/pressure"

WINDOW = 10_000_000
"""Microseconds that a trigger looks at: the most that the kernel allows. It fires once in each at most."""


class Pressure:
    """triggers: resource by descriptor, registered for EPOLLPRI."""

    def __init__(self, epoll: select.epoll) -> None:
        self.triggers: dict[int, str] = {}
        self._epoll = epoll

    def watch(self, stalls: dict[str, int]) -> None:
        """Sets triggers, in microseconds within WINDOW, in place of all that were. Raises OSError, and then there are none."""
        while self.triggers:
            os.close(self.triggers.popitem()[0])
        for resource, stall in stalls.items():
            path = f"{PLACE}/{resource}"
            try:
                fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
                self.triggers[fd] = resource
                os.write(fd, f"some {stall} {WINDOW}\0".encode())
            except OSError as error:
                self.watch({})
                raise OSError(error.errno, f"{path}: {os.strerror(error.errno or 0).lower()}") from None
            self._epoll.register(fd, select.EPOLLPRI)
