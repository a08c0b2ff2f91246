"""rdagentctl budget: a table of what is used, and raising."""

from __future__ import annotations

from typing import Any

from tests.rdagentctl.conftest import Ctl
from tests.rdagentctl.fake import FakeDaemon

USED = [
    {"of": "worker", "measure": "cost_usd", "used": 0.45, "budget": 0.5},
    {"of": "run", "measure": "log_bytes", "used": 1 << 20, "budget": 1 << 30},
    {"of": "group.g", "measure": "run_time", "used": 3660.0, "budget": 7200.0},
    {"of": "worker", "measure": "tokens", "used": 0, "budget": 0},
]


def rows(args: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "w", "budgets": USED}, {"name": "free", "budgets": []}]


def test_it_shows_what_is_used_of_each(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"status": rows}
    assert [line.split() for line in ctl("budget").stdout.splitlines()] == [
        ["NAME", "BUDGET", "USED", "OF", "PART"],
        ["w", "worker", "cost_usd", "0.45", "0.5", "90%"],
        ["w", "run", "log_bytes", "1.0M", "1.0G", "0%"],
        ["w", "group.g", "run_time", "1h01m", "2h00m", "51%"],
        ["w", "worker", "tokens", "0", "0", "-"],
    ]


def test_without_any_it_says_where_to_read_about_them(fake: FakeDaemon, ctl: Ctl) -> None:
    fake.answers = {"status": lambda args: [{"name": "free", "budgets": []}]}
    assert ctl("budget").stdout.startswith("no budgets")


def test_raising_asks_for_what_was_given(fake: FakeDaemon, ctl: Ctl) -> None:
    told = {"name": "w", "state": "queued", "want": "up", "reason": None, "changed": True, "error": None}
    fake.answers = {"budget": lambda args: {"workers": [told]}}
    assert ctl("budget", "w", "--raise", "cost_usd=2", "--raise", "run.tokens=50000").returncode == 0
    (asked,) = [args for op, args in fake.requests if op == "budget"]
    assert (asked["select"]["names"], asked["raise"]) == (["w"], {"cost_usd": "2", "run.tokens": "50000"})
