"""What happens to the Docker engine while the daemon is killed: a table, dealt like cards so that each comes up."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.between import Capricious
from tests.engine import Engine


@dataclass
class Bench:
    """The engine and what stands before it."""

    engine: Engine
    between: Capricious

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.engine.pid, number)

    def restart(self, number: signal.Signals) -> None:
        self.engine.stop(number)  # a second SIGTERM changes nothing
        self.engine.start()


@dataclass(frozen=True)
class Trouble:
    """How it begins and how it ends. keeps: whether containers outlive the engine (live-restore), None: as it is.
    lasts: from and to how many seconds. ends: whether the engine ends.
    """

    name: str
    begin: Callable[[Bench], None]
    end: Callable[[Bench], None]
    keeps: bool | None = None
    lasts: tuple[float, float] = (0.0, 1.0)
    ends: bool = False


def _nothing(_: Bench) -> None:
    pass


def _slow(slow: bool) -> Callable[[Bench], None]:
    def change(bench: Bench) -> None:
        bench.between.troubled = slow

    return change


def _send(number: signal.Signals) -> Callable[[Bench], None]:
    return lambda bench: bench.signal(number)


def _again(number: signal.Signals) -> Callable[[Bench], None]:
    return lambda bench: bench.restart(number)


# Without live-restore, Debian's default, an engine that leaves takes its containers along, and one that was killed ends those
# that it finds when it comes back. With it they live on. Operators have either, so both are here.
TROUBLES = (
    Trouble("none", _nothing, _nothing),
    *(
        Trouble(f"{name}, containers {fate}", _send(number), _again(number), keeps, ends=True)
        for name, number in (("killed", signal.SIGKILL), ("restarted", signal.SIGTERM))
        for fate, keeps in (("end", False), ("live on", True))
    ),
    Trouble("stopped", _send(signal.SIGSTOP), _send(signal.SIGCONT)),
    Trouble("slow", _slow(True), _slow(False), lasts=(2.0, 5.0)),
)
MINUTE = Trouble("stopped for a minute", _send(signal.SIGSTOP), _send(signal.SIGCONT), lasts=(60.0, 60.0))


def deal(rounds: int, minutes: int, rng: random.Random) -> Iterator[Trouble]:
    """One trouble for each round: decks in a shuffled order, the minutes among the rounds of the first ones."""
    cards: list[Trouble] = []
    while len(cards) < rounds:
        deck = [*TROUBLES, MINUTE] if minutes > 0 else list(TROUBLES)
        minutes -= 1
        rng.shuffle(deck)
        cards += deck
    yield from cards[:rounds]
