"""Resource limits: the ways to write them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.model.spec import Rlimit

from .reading import decode, refusal


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"nofile": "4096:1024"}, "nofile: the soft limit 4096 is above the hard limit 1024"),
        ({"nofile": "unlimited:1024"}, "nofile: the soft limit unlimited is above the hard limit 1024"),
        ({"nofile": {"soft": 1}}, "nofile.hard: missing (write one value, \"soft:hard\", or {soft = …, hard = …})"),
        ({"nofile": {"soft": 1, "hard": "x"}}, f"nofile.hard: 'x' is not a whole number (0 to {2**63 - 1})"),
        ({"nofile": {"soft": 1, "hard": 1, "max": 1}}, "nofile.max: unknown key (soft and hard)"),
        ({"nofile": True}, "nofile: expected a whole number, not true or false"),
        ({"stack": "4Q"}, 'stack: \'4Q\' is not a size (write bytes, or "64K", "4G", "1.5T")'),
        ({"stack": "1M:2M:3M"}, 'stack: \'2M:3M\' is not a size (write bytes, or "64K", "4G", "1.5T")'),
        ({"cpu_time": "500ms"}, "cpu_time: '500ms' is not whole (the kernel counts this limit in seconds)"),
        ({"rtprio": 100}, "rtprio: 100 is out of range (0 to 99)"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_limit(limits: dict[str, Any], told: str) -> None:
    assert refusal(limits=limits) == [f"limits.{told}"]


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        (1024, Rlimit(1024, 1024)), ("1024", Rlimit(1024, 1024)), ("1:2", Rlimit(1, 2)), ("1 : 2", Rlimit(1, 2)),
        ("unlimited", Rlimit(None, None)), ("5:unlimited", Rlimit(5, None)), ({"soft": 1, "hard": 2}, Rlimit(1, 2)),
        ({"soft": 1, "hard": None}, Rlimit(1, None)), (None, None),
    ],
)  # fmt: skip
def test_ways_to_write_a_limit(written: Any, limit: Rlimit | None) -> None:
    assert decode(limits={"nofile": written}).limits.nofile == limit
    assert decode(limits={"rttime": written}).limits.rttime == limit
