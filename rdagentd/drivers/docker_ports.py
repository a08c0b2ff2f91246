"""Ports of the host that containers have on lease. What is leased is read from the labels of the containers."""

from __future__ import annotations

from collections.abc import Mapping


class Ports:
    """A range of ports and who has them."""

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self._leases: dict[str, tuple[int, ...]] = {}
        self._refused: dict[str, set[int]] = {}

    def __str__(self) -> str:
        return f"{self._ports.start}-{self._ports.stop - 1}"

    def lease(self, run: str, count: int) -> tuple[int, ...]:
        """The lowest free ports for a run, fewer if there are not so many; replaces what it had."""
        self._leases.pop(run, None)
        used = {port for leased in self._leases.values() for port in leased} | self._refused.get(run, set())
        free = [port for port in self._ports if port not in used]
        self._leases[run] = tuple(free[:count])
        return self._leases[run]

    def refused(self, run: str) -> bool:
        """Somebody else listens on a port of this run: the next lease leaves out those that it has. Whether it has any."""
        leased = self._leases.get(run, ())
        self._refused.setdefault(run, set()).update(leased)
        return bool(leased)

    def taken(self, run: str, words: str) -> None:
        """A container was found with this label."""
        self._leases[run] = tuple(int(word) for word in words.split(",") if word.isdecimal())

    def free(self, run: str) -> None:
        """The container is gone."""
        self._leases.pop(run, None)
        self._refused.pop(run, None)

    def leases(self) -> Mapping[str, tuple[int, ...]]:
        """Who has what."""
        return self._leases


def is_conflict(said: str) -> bool:
    """Whether the engine could not start a container because a port is in use."""
    return "port is already allocated" in said or "address already in use" in said
