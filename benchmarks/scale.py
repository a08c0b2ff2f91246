"""How much is measured: the full run, and a quick one that only proves that every measure works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Counts, seconds and bytes. crowd: running workers in the measures of many; few: in the list of some.

    pairs: how often two ways are measured in turn; tree: processes of a run; big_bytes, log_bytes: of a container.
    """

    crowd: int = 1000
    few: int = 100
    commands: int = 15
    requests: int = 2000
    runs: int = 1000
    rounds: int = 3
    starts: int = 60
    kills: int = 100
    ticking_kills: int = 7
    settle: float = 5.0
    idle: float = 25.0
    block_bytes: int = 1 << 30
    line_bytes: int = 200_000_000
    left_behind: int = 20
    pairs: int = 21
    tree: int = 100
    big_bytes: int = 128 << 20
    log_bytes: int = 10_000_000


FULL = Scale()
QUICK = Scale(
    crowd=20,
    few=10,
    commands=3,
    requests=50,
    runs=20,
    rounds=1,
    starts=5,
    kills=5,
    ticking_kills=1,
    settle=0.5,
    idle=1.0,
    block_bytes=16 << 20,
    line_bytes=2_000_000,
    left_behind=3,
    pairs=3,
    tree=20,
    big_bytes=8 << 20,
    log_bytes=1_000_000,
)
